# Script: copies what BINARY needs at run time into FOLDER, but for the C library, which every system has and
# which must be its own.
cmake_minimum_required(VERSION 3.25)
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${BINARY}
  RESOLVED_DEPENDENCIES_VAR libraries
  UNRESOLVED_DEPENDENCIES_VAR missing
  PRE_EXCLUDE_REGEXES "^ld-linux" "^libc\\.so" "^libm\\.so" "^libdl\\.so" "^libpthread\\.so" "^librt\\.so"
                      "^libmvec\\.so" "^linux-vdso")
if(missing)
  message(FATAL_ERROR "${BINARY} needs libraries that are not here: ${missing}")
endif()
file(REMOVE_RECURSE ${FOLDER})
foreach(library IN LISTS libraries)
  file(COPY ${library} DESTINATION ${FOLDER} FOLLOW_SYMLINK_CHAIN)
endforeach()
