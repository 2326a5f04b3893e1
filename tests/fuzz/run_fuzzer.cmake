# Copies the seeds into the work folder and runs the fuzzer there; fails when it finds anything.
file(MAKE_DIRECTORY ${WORK})
foreach(seed IN LISTS CORPUS)
  if(IS_DIRECTORY ${seed})
    file(GLOB files LIST_DIRECTORIES false ${seed}/*)
    file(COPY ${files} DESTINATION ${WORK})
  else()
    # Seeds of one name from several folders are told apart by their hash.
    file(MD5 ${seed} hash)
    get_filename_component(name ${seed} NAME)
    file(COPY_FILE ${seed} ${WORK}/${hash}-${name})
  endif()
endforeach()
execute_process(
  COMMAND ${TARGET} -max_total_time=${SECONDS} -rss_limit_mb=1024 -malloc_limit_mb=512 -timeout=10
          -max_len=${MAX_LEN} -print_final_stats=1 -artifact_prefix=${WORK}/found- ${WORK}
  RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${TARGET} ended with ${result}; see ${WORK}/found-*")
endif()
