# eyrie_add_test(NAME SOURCES... [LIBS ...] [LABELS ...] [TIMEOUT s]): one Qt Test executable, one CTest entry.
# Tests get EYRIE_SOURCE_DIR and EYRIE_BINARY_DIR as definitions. Under sanitizers every time-out is six times as
# long, Qt Test's for one function (five minutes) too.
function(eyrie_add_test name)
  cmake_parse_arguments(ARG "GUI" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES AUTOMOC ON RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE eyrie_options Qt6::Core Qt6::Test ${ARG_LIBS})
  target_compile_definitions(${name} PRIVATE
    EYRIE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" EYRIE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(EYRIE_SANITIZE)
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 6")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  if(EYRIE_SANITIZE)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT
      QTEST_FUNCTION_TIMEOUT=1800000
      UBSAN_OPTIONS=print_stacktrace=1
      "TSAN_OPTIONS=halt_on_error=1:suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp")
  endif()
endfunction()
