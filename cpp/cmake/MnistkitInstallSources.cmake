# Into a wheel: the engine, compiled, which needs nothing;
if(TARGET mnistkit_engine)
  install(TARGETS mnistkit_engine LIBRARY DESTINATION mnistkit/lib)
endif()

# and the SDK as source, in the folders it has here, so that the runner compiles against
# the libtorch of whoever installs the wheel.
set(_sdk "mnistkit/_sdk")
install(FILES "${mnistkit_SOURCE_DIR}/CMakeLists.txt" DESTINATION "${_sdk}")
foreach(_folder IN ITEMS include core engine image torch apps bench cmake)
  if(EXISTS "${mnistkit_SOURCE_DIR}/cpp/${_folder}")
    install(DIRECTORY "${mnistkit_SOURCE_DIR}/cpp/${_folder}" DESTINATION "${_sdk}/cpp")
  endif()
endforeach()
