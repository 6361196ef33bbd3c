# cmake --install: the library, the public headers, the program, the embedded models, the docs and
# examples, a pkg-config file, a CMake package, the man page and completions, and the license of D3.
# Everything finds the prefix from its own location, so the installation can be moved.
# `cmake --build BUILD --target uninstall` removes it.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pythiascope)

# Libraries beside ours come before the system's, wherever the folder is.
file(RELATIVE_PATH lib_from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
if(APPLE)
  set(origin @loader_path)
else()
  set(origin $ORIGIN)
endif()
set_target_properties(psc_program PROPERTIES INSTALL_RPATH ${origin}/${lib_from_bin})
set_target_properties(pythiascope PROPERTIES INSTALL_RPATH ${origin})

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
install(DIRECTORY models/books-5m models/books-0.5m models/forms models/pairs DESTINATION ${CMAKE_INSTALL_DATADIR}/pythiascope/models OPTIONAL)
install(EXPORT pythiascopeTargets NAMESPACE pythiascope:: DESTINATION ${package_dir})

configure_package_config_file(cmake/pythiascopeConfig.cmake.in
  ${CMAKE_BINARY_DIR}/pythiascopeConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(
  ${CMAKE_BINARY_DIR}/pythiascopeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/pythiascopeConfig.cmake
  ${CMAKE_BINARY_DIR}/pythiascopeConfigVersion.cmake DESTINATION ${package_dir})

file(RELATIVE_PATH prefix_from_pc
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
if(NOT BUILD_SHARED_LIBS) # a shared library records its dependencies, a static one does not
  set(pc_requires
    "Requires: sleef libxxhash jansson libpcre2-8 libutf8proc lapacke zlib libzstd")
  set(pc_static_libs "-lpthread -ldl -lm")
endif()
configure_file(cmake/pythiascope.pc.in ${CMAKE_BINARY_DIR}/pythiascope.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/pythiascope.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(PSC_PAGE) # parts of D3 are in the page
  install(FILES report/viewer/d3_license.js DESTINATION ${CMAKE_INSTALL_DOCDIR}
    RENAME d3_license.txt)
endif()

install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR}) # README.md refers to docs/
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR}
  PATTERN build EXCLUDE PATTERN __pycache__ EXCLUDE PATTERN .ipynb_checkpoints EXCLUDE)
install(FILES ${CMAKE_BINARY_DIR}/libraries.txt DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)

# The man page and the completions, which the program itself makes. A program for another machine
# cannot run here.
option(PSC_INSTALL_HELP "Install the man page and the shells' completions" ON)
if(PSC_INSTALL_HELP AND NOT CMAKE_CROSSCOMPILING)
  set(help ${CMAKE_BINARY_DIR}/help)
  file(MAKE_DIRECTORY ${help})
  set(help_files ${help}/man ${help}/bash ${help}/zsh ${help}/fish)
  add_custom_command(OUTPUT ${help_files}
    COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:psc_program> -DOUT=${help}
    -P ${CMAKE_SOURCE_DIR}/cmake/generate_help.cmake
    DEPENDS psc_program cmake/generate_help.cmake COMMENT "Making the man page and completions"
    VERBATIM)
  add_custom_target(psc_help ALL DEPENDS ${help_files})
  set(share ${CMAKE_INSTALL_DATADIR})
  install(FILES ${help}/man DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 RENAME pythiascope.1)
  install(FILES ${help}/bash DESTINATION ${share}/bash-completion/completions RENAME pythiascope)
  install(FILES ${help}/fish DESTINATION ${share}/fish/vendor_completions.d
    RENAME pythiascope.fish)
  # Debian's zsh reads another folder below /usr than everywhere else.
  install(CODE "set(help ${help})\nset(share ${share})")
  install(CODE [[
    set(zsh site-functions)
    if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND EXISTS /etc/debian_version)
      set(zsh vendor-completions)
    endif()
    file(INSTALL FILES ${help}/zsh DESTINATION ${CMAKE_INSTALL_PREFIX}/${share}/zsh/${zsh}
      RENAME _pythiascope)]])
endif()

# CMake's own manifest is cpack's after cpack ran, with files of /usr. This stays the last rule.
set(manifest ${CMAKE_BINARY_DIR}/installed_files.txt)
install(CODE "set(manifest ${manifest})")
install(CODE [[
  if(NOT "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}" MATCHES "/_CPack_Packages/")
    list(TRANSFORM CMAKE_INSTALL_MANIFEST_FILES PREPEND "$ENV{DESTDIR}" OUTPUT_VARIABLE files)
    string(REPLACE ";" "\n" files "${files}")
    file(WRITE ${manifest} "${files}\n")
  endif()]])
add_custom_target(uninstall COMMAND ${CMAKE_COMMAND}
  -DMANIFEST=${manifest} -P ${CMAKE_SOURCE_DIR}/cmake/uninstall.cmake
  COMMENT "Removing what this build installed" VERBATIM)
