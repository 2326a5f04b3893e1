# eyrie_add_fuzz_target(NAME SOURCES ... LIBS ... CORPUS FILES... [SECONDS s] [MAX_LEN bytes])
#
# One libFuzzer executable and one CTest entry that runs it for 20 seconds from the seeds in CORPUS (files or
# folders). What it finds is kept under the build folder: ${CMAKE_BINARY_DIR}/fuzz/NAME. Half an hour by hand:
#   build/fuzz/bin/NAME -max_total_time=1800 -rss_limit_mb=1024 build/fuzz/fuzz/NAME
# Whoever owns a parser calls this from the CMakeLists of that parser's tests or below in this folder.
function(eyrie_add_fuzz_target name)
  cmake_parse_arguments(ARG "" "SECONDS;MAX_LEN" "SOURCES;LIBS;CORPUS" ${ARGN})
  if(NOT ARG_SECONDS)
    set(ARG_SECONDS 20)
  endif()
  if(NOT ARG_MAX_LEN)
    set(ARG_MAX_LEN 65536)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE eyrie_options ${ARG_LIBS})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_compile_definitions(${name} PRIVATE EYRIE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set(work ${CMAKE_BINARY_DIR}/fuzz/${name})
  add_test(NAME ${name}
    COMMAND ${CMAKE_COMMAND} -DTARGET=$<TARGET_FILE:${name}> -DWORK=${work} "-DCORPUS=${ARG_CORPUS}"
            -DSECONDS=${ARG_SECONDS} -DMAX_LEN=${ARG_MAX_LEN} -P ${PROJECT_SOURCE_DIR}/tests/fuzz/run_fuzzer.cmake)
  math(EXPR timeout "${ARG_SECONDS} * 4 + 60")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} LABELS fuzz)
endfunction()

# The libraries under test need the coverage counters too; the engine's code is in its objects.
foreach(library eyrie_engine_objects eyrie_sessions)
  if(TARGET ${library})
    target_compile_options(${library} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endforeach()
