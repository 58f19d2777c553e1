# Finds every library that Accrue uses; deploy/dependencies/ says which Debian
# package brings each and installs them.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)

# Debian ships no CMake config for protobuf, and gRPC's config needs it found.
find_package(Protobuf REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)

find_package(hwy CONFIG REQUIRED)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(Eigen3 CONFIG REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET GLOBAL libxxhash)
# Not by its CMake config, which would need libcurl for its other half.
pkg_check_modules(prometheus REQUIRED IMPORTED_TARGET GLOBAL prometheus-cpp-pull)
pkg_check_modules(tcmalloc REQUIRED IMPORTED_TARGET GLOBAL libtcmalloc_minimal)

if(ACCRUE_TESTS)
  find_package(GTest CONFIG REQUIRED)
  find_package(benchmark CONFIG REQUIRED)
endif()

# Header-only spdlog over fmt as server/base/fmt_library.cc compiles it: Debian
# has neither as an archive, and the daemon shall need no shared library for its
# log lines.
add_library(accrue_spdlog INTERFACE)
target_compile_definitions(accrue_spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
target_link_libraries(accrue_spdlog
  INTERFACE Threads::Threads)
