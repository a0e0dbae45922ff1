# Debian packages: `duet`, and `libduet-dev` for those who build programs with it. Without CUDA's module, as Debian has no CUDA 13.
set(DUET_MAINTAINER "The Duet developers <duet@example.org>" CACHE STRING "Who is named as the maintainer of packages")

# The documents of a Debian package; those of libduet-dev are the same.
set(release 1)
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(changelog.in changelog @ONLY)
add_custom_command(OUTPUT changelog.gz changelog.Debian.gz
  COMMAND gzip -9nc ${CMAKE_SOURCE_DIR}/CHANGELOG.md > changelog.gz
  COMMAND gzip -9nc changelog > changelog.Debian.gz
  DEPENDS ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${CMAKE_CURRENT_BINARY_DIR}/changelog VERBATIM)
add_custom_target(duet_changelogs ALL DEPENDS changelog.gz changelog.Debian.gz)
file(CREATE_LINK duet ${CMAKE_CURRENT_BINARY_DIR}/libduet-dev SYMBOLIC)
set(documents ${CMAKE_INSTALL_DATADIR}/doc)
install(FILES copyright ${texts}/changelog.gz ${texts}/changelog.Debian.gz
  DESTINATION ${documents}/duet COMPONENT runtime EXCLUDE_FROM_ALL)
install(FILES ${texts}/libduet-dev DESTINATION ${documents} COMPONENT development EXCLUDE_FROM_ALL)

# What dpkg is told of the library: who links it depends on this package; the linker's cache is to learn of it.
set(control ${CMAKE_CURRENT_BINARY_DIR}/control)
file(WRITE ${control}/shlibs "libduet ${compatible} duet (>= ${PROJECT_VERSION}), duet (<< ${incompatible})\n")
file(WRITE ${control}/triggers "activate-noawait ldconfig\n")

set(CPACK_GENERATOR DEB)
set(CPACK_OUTPUT_FILE_PREFIX ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${release})
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${DUET_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trains small networks on any OpenCL device and measures it")

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME duet)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION science)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${control}/shlibs ${control}/triggers)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS "pocl-opencl-icd | opencl-icd")
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "Networks see a picture of a digit and a number, and say the digit and the
sum of both. They are trained on GPUs and CPUs of every vendor by OpenCL 1.2,
or in plain C, which also checks every kernel. The program measures devices
and compares the results. This package holds the program, the library libduet
and the MNIST pictures.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libduet-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "duet (= ${PROJECT_VERSION}-${release})")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "This package holds the header, pkg-config and CMake files and examples for
programs that train networks with libduet or use trained ones.")
include(CPack)
