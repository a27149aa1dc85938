# find_package(mnistkit CONFIG COMPONENTS runner) from the sources, as the Python package ships
# them: they are compiled as a part of the project that asks, against the libtorch that
# MnistkitTorch.cmake finds.
set(_mnistkit_known runner image)
get_filename_component(_mnistkit_root "${CMAKE_CURRENT_LIST_DIR}/../.." REALPATH)
if(EXISTS "${_mnistkit_root}/cpp/engine/CMakeLists.txt")
  list(APPEND _mnistkit_known engine core)
endif()
if(NOT mnistkit_FIND_COMPONENTS)
  set(mnistkit_FIND_COMPONENTS ${_mnistkit_known})
endif()

set(mnistkit_FOUND TRUE)
foreach(_mnistkit_component IN LISTS mnistkit_FIND_COMPONENTS)
  if(_mnistkit_component IN_LIST _mnistkit_known)
    set(mnistkit_${_mnistkit_component}_FOUND TRUE)
  elseif(mnistkit_FIND_REQUIRED_${_mnistkit_component})
    set(mnistkit_FOUND FALSE)
    set(mnistkit_NOT_FOUND_MESSAGE
      "mnistkit has no component '${_mnistkit_component}'; it has: ${_mnistkit_known}")
  endif()
endforeach()

function(_mnistkit_add_sources)
  # As variables of this function these overrule the options of their names, and the project that
  # asks keeps what it has under them.
  foreach(option IN ITEMS BUILD_RUNNER BUILD_ENGINE BUILD_IMAGE BUILD_APPS BUILD_EXAMPLES BUILD_TESTS INSTALL)
    set(MNISTKIT_${option} OFF)
  endforeach()
  add_subdirectory("${_mnistkit_root}" "${CMAKE_BINARY_DIR}/_mnistkit" EXCLUDE_FROM_ALL)
endfunction()

if(mnistkit_FOUND)
  if(NOT TARGET mnistkit_common)
    _mnistkit_add_sources()
  endif()
  if(mnistkit_runner_FOUND AND NOT TARGET mnistkit_runner)
    add_subdirectory("${_mnistkit_root}/cpp/torch" "${CMAKE_BINARY_DIR}/_mnistkit_runner"
      EXCLUDE_FROM_ALL)
  endif()
  if(mnistkit_image_FOUND AND NOT TARGET mnistkit_image)
    add_subdirectory("${_mnistkit_root}/cpp/image" "${CMAKE_BINARY_DIR}/_mnistkit_image"
      EXCLUDE_FROM_ALL)
  endif()
  if((mnistkit_engine_FOUND OR mnistkit_core_FOUND) AND NOT TARGET mnistkit_engine)
    add_subdirectory("${_mnistkit_root}/cpp/engine" "${CMAKE_BINARY_DIR}/_mnistkit_engine"
      EXCLUDE_FROM_ALL)
  endif()
  if(mnistkit_core_FOUND AND NOT TARGET mnistkit_core)
    add_subdirectory("${_mnistkit_root}/cpp/core" "${CMAKE_BINARY_DIR}/_mnistkit_core"
      EXCLUDE_FROM_ALL)
  endif()
endif()
