# The runner's library exports mnistkit's own names and nothing of libtorch's or the C++ library's.
#   cmake -DNM=<nm> -DLIBRARY=<libmnistkit_runner.so> -P symbols_test.cmake

execute_process(COMMAND "${NM}" -DC --defined-only "${LIBRARY}"
  OUTPUT_VARIABLE symbols RESULT_VARIABLE result)
if(result)
  message(FATAL_ERROR "${NM} failed on ${LIBRARY}")
endif()
string(REGEX MATCHALL "[^\n]+" lines "${symbols}")
set(exported 0)
foreach(line IN LISTS lines)
  if(line MATCHES "^[0-9a-f]* [A-Za-z] (mnistkit_|mnistkit::|(typeinfo|typeinfo name|vtable) for mnistkit::)"
     AND NOT line MATCHES "mnistkit::detail|torch::|c10::|at::")
    math(EXPR exported "${exported} + 1")
  else()
    message("foreign symbol: ${line}")
    set(failed TRUE)
  endif()
endforeach()
if(failed OR exported LESS 30)
  message(FATAL_ERROR "${exported} symbols exported, and foreign ones or too few")
endif()
message("${exported} symbols, all of them mnistkit's")
