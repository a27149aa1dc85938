# The version of the sources beside this file; compatible within a minor version.
file(READ "${CMAKE_CURRENT_LIST_DIR}/../include/mnistkit/version.h" _mnistkit_header)
string(REGEX MATCH "MNISTKIT_VERSION_STRING \"(([0-9]+\\.[0-9]+)\\.[0-9]+)\"" _ "${_mnistkit_header}")
set(PACKAGE_VERSION "${CMAKE_MATCH_1}")
set(_mnistkit_minor "${CMAKE_MATCH_2}")
set(PACKAGE_VERSION_EXACT FALSE)
set(PACKAGE_VERSION_COMPATIBLE FALSE)
if(NOT PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION
   AND "${PACKAGE_FIND_VERSION_MAJOR}.${PACKAGE_FIND_VERSION_MINOR}" VERSION_EQUAL _mnistkit_minor)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
if(PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
