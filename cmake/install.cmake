# cmake --install: the library, the public headers, the program, the embedded model, a pkg-config
# file, a CMake package and the license of D3. Both find the prefix from their own location, so the installation can be
# moved.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pythiascope)

# What a plugin author needs: the headers and the flags, without libraries.
add_library(pythiascope_plugin INTERFACE)
set_target_properties(pythiascope_plugin PROPERTIES EXPORT_NAME plugin)
target_include_directories(pythiascope_plugin INTERFACE
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/pythiascope>)
target_compile_options(pythiascope_plugin INTERFACE -ffp-contract=off)

install(TARGETS pythiascope pythiascope_plugin EXPORT pythiascopeTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS psc_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${public_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/pythiascope)
install(DIRECTORY models/books-5m models/books-0.5m models/forms DESTINATION ${CMAKE_INSTALL_DATADIR}/pythiascope/models OPTIONAL)
install(EXPORT pythiascopeTargets NAMESPACE pythiascope:: DESTINATION ${package_dir})

configure_package_config_file(cmake/pythiascopeConfig.cmake.in
  ${CMAKE_BINARY_DIR}/pythiascopeConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(
  ${CMAKE_BINARY_DIR}/pythiascopeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/pythiascopeConfig.cmake
  ${CMAKE_BINARY_DIR}/pythiascopeConfigVersion.cmake DESTINATION ${package_dir})

file(RELATIVE_PATH prefix_from_pc
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
if(BUILD_SHARED_LIBS) # a shared library records its dependencies, a static one does not
  set(pc_private .private)
else()
  set(pc_static_libs "-lpthread -ldl -lm")
endif()
configure_file(cmake/pythiascope.pc.in ${CMAKE_BINARY_DIR}/pythiascope.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/pythiascope.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(PSC_PAGE) # parts of D3 are in the page
  install(FILES report/viewer/d3_license.js DESTINATION ${CMAKE_INSTALL_DOCDIR}
    RENAME d3_license.txt)
endif()
