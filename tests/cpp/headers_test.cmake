# Each public header compiles alone, without a warning, with every compiler that is here: the C
# headers as C99, all of them as C++20.
#   cmake -DINCLUDE=<cpp/include> -P headers_test.cmake

file(GLOB headers RELATIVE "${INCLUDE}" "${INCLUDE}/mnistkit/*.h" "${INCLUDE}/mnistkit/*.hpp")
if(NOT headers)
  message(FATAL_ERROR "no headers in ${INCLUDE}")
endif()
set(failed 0)
set(compiled 0)
function(compile compiler header)
  execute_process(
    COMMAND "${compiler}" ${ARGN} -Wall -Wextra -Werror -fsyntax-only "-I${INCLUDE}"
            -include "${header}" -
    INPUT_FILE /dev/null ERROR_VARIABLE errors RESULT_VARIABLE result)
  math(EXPR count "${compiled} + 1")
  set(compiled ${count} PARENT_SCOPE)
  if(result)
    message("${compiler} ${ARGN} ${header}:\n${errors}")
    set(failed 1 PARENT_SCOPE)
  endif()
endfunction()

foreach(pair IN ITEMS "gcc:g++" "clang:clang++")
  string(REPLACE ":" ";" pair "${pair}")
  list(GET pair 0 c_name)
  list(GET pair 1 cxx_name)
  find_program(${c_name}_program ${c_name})
  find_program(${cxx_name}_program ${cxx_name})
  foreach(header IN LISTS headers)
    if(${c_name}_program AND header MATCHES "\\.h$")
      compile("${${c_name}_program}" "${header}" -x c -std=c99)
    endif()
    if(${cxx_name}_program)
      compile("${${cxx_name}_program}" "${header}" -x c++ -std=c++20)
    endif()
  endforeach()
endforeach()
if(failed OR compiled EQUAL 0)
  message(FATAL_ERROR "public headers do not compile alone (${compiled} tried)")
endif()
message("${compiled} compilations")
