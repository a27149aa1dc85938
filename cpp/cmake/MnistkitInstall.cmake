# `cmake --install`: headers, the libraries that were built, their programs, CMake and pkg-config files.
# Everything refers to everything else by relative paths, so the tree may be moved; the path to
# libtorch alone is fixed.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/mnistkit")
set(_here "${mnistkit_SOURCE_DIR}/cpp/cmake")

install(DIRECTORY "${mnistkit_SOURCE_DIR}/cpp/include/mnistkit"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
configure_package_config_file("${_here}/mnistkit-config.cmake.in"
  "${mnistkit_BINARY_DIR}/mnistkit-config.cmake" INSTALL_DESTINATION "${_cmake_dir}")
write_basic_package_version_file("${mnistkit_BINARY_DIR}/mnistkit-config-version.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${mnistkit_BINARY_DIR}/mnistkit-config.cmake"
              "${mnistkit_BINARY_DIR}/mnistkit-config-version.cmake"
  DESTINATION "${_cmake_dir}")

if(TARGET mnistkit_runner)
  install(TARGETS mnistkit_runner EXPORT mnistkit-runner-targets)
  install(EXPORT mnistkit-runner-targets NAMESPACE mnistkit:: DESTINATION "${_cmake_dir}")
  file(RELATIVE_PATH _pc_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  configure_file("${_here}/mnistkit-runner.pc.in" "${mnistkit_BINARY_DIR}/mnistkit-runner.pc" @ONLY)
  install(FILES "${mnistkit_BINARY_DIR}/mnistkit-runner.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()
if(TARGET mnistkit_image)
  install(TARGETS mnistkit_image EXPORT mnistkit-image-targets)
  install(EXPORT mnistkit-image-targets NAMESPACE mnistkit:: DESTINATION "${_cmake_dir}")
endif()
if(TARGET mnistkit_engine)
  install(TARGETS mnistkit_engine mnistkit_engine_static EXPORT mnistkit-engine-targets)
  install(EXPORT mnistkit-engine-targets NAMESPACE mnistkit:: DESTINATION "${_cmake_dir}")
  install(TARGETS mnistkit_core EXPORT mnistkit-core-targets)
  install(EXPORT mnistkit-core-targets NAMESPACE mnistkit:: DESTINATION "${_cmake_dir}")
endif()
foreach(_program IN ITEMS mnistkit-run mnistkit-bench)
  if(TARGET ${_program})
    install(TARGETS ${_program})
  endif()
endforeach()
