# What every target of this project has in common.

function(mnistkit_target target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    C_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(${target} PRIVATE -Wall -Wextra
      $<$<BOOL:${MNISTKIT_WARNINGS_AS_ERRORS}>:-Werror>)
    if(MNISTKIT_SANITIZE)
      target_compile_options(${target} PRIVATE
        -fsanitize=${MNISTKIT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
      target_link_options(${target} PRIVATE -fsanitize=${MNISTKIT_SANITIZE})
    endif()
  endif()
endfunction()
