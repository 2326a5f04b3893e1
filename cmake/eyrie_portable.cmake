# eyrie_make_portable(TARGET): the build folder (and what is installed) runs on another machine: shared
# libraries that are not of every system are copied into lib/ beside bin/, models into share/eyrie/models.
function(eyrie_make_portable target)
  set_target_properties(${target} PROPERTIES
    BUILD_RPATH "$ORIGIN/../lib"
    INSTALL_RPATH "$ORIGIN/../lib"
    BUILD_WITH_INSTALL_RPATH ON)
  # RPATH, not RUNPATH: only that one also serves the libraries that our libraries need.
  target_link_options(${target} PRIVATE -Wl,--disable-new-dtags)
  add_custom_command(TARGET ${target} POST_BUILD
    COMMAND ${CMAKE_COMMAND} -DBINARY=$<TARGET_FILE:${target}> -DFOLDER=${CMAKE_BINARY_DIR}/lib
            -P ${PROJECT_SOURCE_DIR}/cmake/copy_libraries.cmake
    COMMAND ${CMAKE_COMMAND} -E copy_directory
            ${PROJECT_SOURCE_DIR}/assets/models ${CMAKE_BINARY_DIR}/share/eyrie/models
    COMMENT "Copying the libraries of ${target} beside it"
    VERBATIM)
  install(DIRECTORY ${CMAKE_BINARY_DIR}/lib/ DESTINATION lib FILES_MATCHING PATTERN "*.so*")
endfunction()
