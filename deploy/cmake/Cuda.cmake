# Finds the CUDA Toolkit, 12 or later: ACCRUE_CUDA_FOUND, the language CUDA, and
# the library accrue_cudart.
#
# Which sources a folder compiles depends on ACCRUE_CUDA_FOUND; what they do does
# not show in any header.

set(ACCRUE_CUDA AUTO CACHE STRING
  "GPU backend: ON, OFF, or AUTO: where the CUDA Toolkit is found")
set_property(CACHE ACCRUE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(ACCRUE_CUDA_FOUND FALSE)
if(NOT ACCRUE_CUDA)
  return()
endif()

# Machine code for A100 (8.0; 8.6 and 8.9 run it too) and for H100 and H200
# (9.0), and the PTX of 8.0, which the driver compiles for everything newer.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80 90-real)
endif()
# A runtime in every shared library would be a GPU context in each.
if(BUILD_SHARED_LIBS)
  set(accrue_cuda_runtime cudart)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
else()
  set(accrue_cuda_runtime cudart_static)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
endif()
if(ACCRUE_CCACHE AND NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${ACCRUE_CCACHE})
endif()

include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
  # C++20 in device code begins with 12.
  find_package(CUDAToolkit 12.0)
endif()
if(CUDAToolkit_FOUND AND TARGET CUDA::${accrue_cuda_runtime})
  message(STATUS "CUDA: compiled with Toolkit ${CUDAToolkit_VERSION}")
  set(ACCRUE_CUDA_FOUND TRUE)
  add_library(accrue_cudart INTERFACE)
  target_link_libraries(accrue_cudart INTERFACE CUDA::${accrue_cuda_runtime})
elseif(ACCRUE_CUDA STREQUAL "ON")
  message(FATAL_ERROR "ACCRUE_CUDA is ON, but there is no CUDA Toolkit 12")
else()
  message(STATUS "CUDA: no Toolkit 12 is found: built for the CPU only")
endif()
