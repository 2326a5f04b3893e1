# One INTERFACE target carries warnings and sanitizers; every target of ours links it PRIVATE.
add_library(eyrie_options INTERFACE)
target_compile_options(eyrie_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual>
  $<$<AND:$<BOOL:${EYRIE_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)
target_include_directories(eyrie_options INTERFACE ${PROJECT_SOURCE_DIR})
if(EYRIE_SANITIZE)
  target_compile_options(eyrie_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${EYRIE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(eyrie_options INTERFACE -fsanitize=${EYRIE_SANITIZE})
endif()

find_program(CCACHE_PROGRAM ccache)
foreach(language CXX CUDA)
  if(CCACHE_PROGRAM AND NOT CMAKE_${language}_COMPILER_LAUNCHER)
    set(CMAKE_${language}_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
endforeach()
