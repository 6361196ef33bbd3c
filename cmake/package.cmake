# cpack: a .deb and a .tar.gz (tools/make_packages.sh makes both). The .deb depends on the libraries
# that dpkg-shlibdeps finds; the .tar.gz names them in libraries.txt. Everything in it finds its
# neighbors from its own place, so that it runs from any folder.
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_VENDOR pythiascope)
set(CPACK_PACKAGE_CONTACT "pythiascope <pythiascope@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Looks inside Pythia language models while they run")
set(CPACK_PACKAGE_DESCRIPTION "A runtime for GPT-NeoX models on the CPU that shows every write into
the residual stream to analysis plugins: exact shares of heads and neurons, lenses, interventions,
networks, and pages for a browser. With the library, its headers, examples and a small model.")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
string(TOLOWER "${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}" system)
set(CPACK_PACKAGE_FILE_NAME pythiascope-${PROJECT_VERSION}-${system})
set(CPACK_STRIP_FILES YES)
set(CPACK_VERBATIM_VARIABLES YES)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS YES)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "python3-numpy, graphviz")
include(CPack)
