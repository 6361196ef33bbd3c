# Writes the man page and the shells' completions, which the program makes from its option tables.
# usage: cmake -DPROGRAM=FILE -DOUT=FOLDER -P generate_help.cmake
foreach(kind man bash zsh fish)
  execute_process(COMMAND ${PROGRAM} --generate ${kind} OUTPUT_FILE ${OUT}/${kind} RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${PROGRAM} --generate ${kind} failed: ${failed}")
  endif()
endforeach()
