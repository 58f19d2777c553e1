# Accrue's targets: accrue_library, accrue_executable, accrue_test.
#
# All compiler options are set here, per target; nothing is set globally.
# Includes are spelled from the repository root ("server/rule/schedule.h").

set(ACCRUE_SANITIZE "" CACHE STRING
  "Sanitizers of every target: 'address,undefined', 'thread', or empty")

set(ACCRUE_FUZZ OFF CACHE BOOL
  "Compile everything so that libFuzzer sees what an input reaches; clang only")

# Folders below service/: free of gRPC, and so the ones that ThreadSanitizer can
# judge (Debian's gRPC and abseil are not instrumented).
set(ACCRUE_BELOW_SERVICE
  base rule device kernels model durability ingest)

set(ACCRUE_BIN_DIR ${PROJECT_BINARY_DIR}/bin)
set(ACCRUE_TEST_BIN_DIR ${PROJECT_BINARY_DIR}/test_bin)

# What the sanitizer presets build: the tests that they run, with what those
# tests start.
add_custom_target(sanitized)

# Folders whose speed a test waits for. Other tests are compiled unoptimized, and
# so is everything else under a sanitizer: that takes a third less time.
set(ACCRUE_HOT
  server/base server/rule server/device server/kernels server/model
  server/ingest tests/oracle tests/rule tests/kernels tests/conformance
  tests/bench)

# Options of the C++ compiler: for C++ sources, and for the host's part of CUDA
# sources. None may contain a comma, at which nvcc would split it.
function(accrue_host_options target)
  foreach(option IN LISTS ARGN)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:${option}>
      $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${option}>)
  endforeach()
endfunction()

function(accrue_configure_target target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    LINKER_LANGUAGE CXX
    POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  # CPU and GPU agree bit for bit only if no compiler fuses a multiply with an
  # add, or reorders either.
  accrue_host_options(${target} -ffp-contract=off -fno-fast-math
    -Wall -Wextra -Werror)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety>
    # CMake 3.25.1 does not know that nvcc has C++20.
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--fmad=false;-prec-div=true;\
-prec-sqrt=true;-ftz=false;-Werror=all-warnings>")
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR
    BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE folder)
  if(ACCRUE_FUZZ)
    # The preset's, everywhere: an input runs through all of it.
  elseif(ACCRUE_SANITIZE AND folder MATCHES "^client/examples/")
    accrue_host_options(${target} -O2)  # it trains
  elseif(ACCRUE_SANITIZE AND folder IN_LIST ACCRUE_HOT)
    accrue_host_options(${target} -O1)
  elseif(folder MATCHES "^tests/" AND NOT folder IN_LIST ACCRUE_HOT)
    accrue_host_options(${target} -O0)
  endif()
  if(ACCRUE_SANITIZE)
    string(REGEX REPLACE "([a-z]+),?" "-fsanitize=\\1;" sanitizers
      "${ACCRUE_SANITIZE}")
    accrue_host_options(${target} ${sanitizers} -fno-sanitize-recover=all
      -fno-omit-frame-pointer)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # It takes what the sanitizers add for uses of unset variables.
      accrue_host_options(${target} -Wno-maybe-uninitialized)
    endif()
    # Three of the instruction sets, the narrowest, a middling and the widest,
    # are enough where each takes half a minute to compile.
    target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS
      "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4|HWY_AVX3_DL)")
    target_link_options(${target} PRIVATE -fsanitize=${ACCRUE_SANITIZE})
  endif()
  if(ACCRUE_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# accrue_library(NAME accrue_base SRCS a.cc HDRS a.h DEPS absl::status
#                [PRIVATE_DEPS ...])
#
# One library a folder. DEPS pass on to whoever links it, since its headers name
# them; PRIVATE_DEPS appear in its sources only. Without SRCS it is header-only.
function(accrue_library)
  cmake_parse_arguments(arg "" "NAME" "SRCS;HDRS;DEPS;PRIVATE_DEPS" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${arg_NAME}: unknown: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_SRCS)
    add_library(${arg_NAME} INTERFACE)
    target_compile_features(${arg_NAME} INTERFACE cxx_std_20)
    target_include_directories(${arg_NAME}
      INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
    target_link_libraries(${arg_NAME} INTERFACE ${arg_DEPS})
    return()
  endif()
  add_library(${arg_NAME} ${arg_SRCS} ${arg_HDRS})
  accrue_configure_target(${arg_NAME})
  target_link_libraries(${arg_NAME}
    PUBLIC ${arg_DEPS}
    PRIVATE ${arg_PRIVATE_DEPS})
endfunction()

# accrue_executable(NAME accrued SRCS main.cc DEPS accrue_service [TCMALLOC])
#
# Lands in <build>/bin. TCMALLOC links the allocator that keeps its pages, which
# is what makes receiving fast; never under a sanitizer, which brings its own.
function(accrue_executable)
  cmake_parse_arguments(arg "TCMALLOC" "NAME" "SRCS;DEPS" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${arg_NAME}: unknown: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  add_executable(${arg_NAME} ${arg_SRCS})
  accrue_configure_target(${arg_NAME})
  set_target_properties(${arg_NAME} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${ACCRUE_BIN_DIR})
  target_link_libraries(${arg_NAME} PRIVATE ${arg_DEPS})
  if(arg_TCMALLOC AND NOT ACCRUE_SANITIZE)
    # No symbol of it is named, so the linker must be told to keep it: in one
    # argument, since CMake drops what stands on a line twice.
    target_link_libraries(${arg_NAME} PRIVATE
      -Wl,--push-state,--no-as-needed,${tcmalloc_LINK_LIBRARIES},--pop-state)
  endif()
endfunction()

# accrue_test(NAME byte_chain_test SRCS byte_chain_test.cc DEPS accrue_base
#             [LABELS unit] [TIMEOUT 120] [PROGRAMS accrued ...] [ENV A=b ...])
#
# One GoogleTest binary, one ctest entry. LABELS default to `unit`; tests of the
# folders below service/ get `below_service` as well. PROGRAMS are the targets
# that the test starts; it finds them in $ACCRUE_BIN_DIR. $ACCRUE_PYTHON is the
# interpreter with the packages of deploy/dependencies/python.txt.
function(accrue_test)
  cmake_parse_arguments(arg "" "NAME;TIMEOUT" "SRCS;DEPS;LABELS;PROGRAMS;ENV"
    ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${arg_NAME}: unknown: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  add_executable(${arg_NAME} ${arg_SRCS})
  accrue_configure_target(${arg_NAME})
  set_target_properties(${arg_NAME} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${ACCRUE_TEST_BIN_DIR})
  target_link_libraries(${arg_NAME} PRIVATE ${arg_DEPS} GTest::gmock_main)
  if(arg_PROGRAMS)
    add_dependencies(${arg_NAME} ${arg_PROGRAMS})
  endif()
  add_test(NAME ${arg_NAME} COMMAND ${arg_NAME})
  accrue_test_properties(${arg_NAME} LABELS ${arg_LABELS}
    TIMEOUT ${arg_TIMEOUT} ENV ${arg_ENV})
  get_test_property(${arg_NAME} LABELS labels)
  if(ACCRUE_SANITIZE MATCHES thread)
    set(wanted below_service)
  else()
    set(wanted unit conformance e2e)
  endif()
  foreach(label IN LISTS wanted)
    if(label IN_LIST labels)
      add_dependencies(sanitized ${arg_NAME})
    endif()
  endforeach()
endfunction()

# Labels, time limit and environment of a test that add_test() made.
function(accrue_test_properties name)
  cmake_parse_arguments(arg "" "TIMEOUT" "LABELS;ENV" ${ARGN})
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  cmake_path(GET CMAKE_CURRENT_SOURCE_DIR FILENAME folder)
  if(folder IN_LIST ACCRUE_BELOW_SERVICE)
    list(APPEND arg_LABELS below_service)
  endif()
  set(environment
    ACCRUE_BIN_DIR=${ACCRUE_BIN_DIR}
    ACCRUE_SOURCE_DIR=${PROJECT_SOURCE_DIR}
    ACCRUE_PYTHON=${PROJECT_SOURCE_DIR}/build/python/bin/python3
    ASAN_OPTIONS=protect_shadow_gap=0  # where CUDA maps memory of its own
    UBSAN_OPTIONS=print_stacktrace=1
    TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/deploy/cmake/tsan_suppressions.txt
    ${arg_ENV})
  set_tests_properties(${name} PROPERTIES
    LABELS "${arg_LABELS}"
    TIMEOUT ${arg_TIMEOUT}
    COST ${arg_TIMEOUT}  # what may take longest begins first
    ENVIRONMENT "${environment}")
endfunction()
