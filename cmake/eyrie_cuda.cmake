# CUDA is optional: without nvcc the build is the same, less the CUDA files.
include(CheckLanguage)
set(CMAKE_CUDA_ARCHITECTURES "75-real;80-real;86-real;89-real;90-real;100-real;120")
set(EYRIE_CUDA OFF)
if(NOT EYRIE_SANITIZE AND NOT EYRIE_FUZZ)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    # This CMake does not know C++20 for nvcc: CMAKE_CUDA_STANDARD 20 would silently mean 17.
    add_compile_options($<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
    set(EYRIE_CUDA ON)
  endif()
endif()
