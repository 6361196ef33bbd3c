# What the wheel of python/ holds besides the modules: pythiascope/_native has the library, the
# program, the embedded model with the list of word forms, and the headers for plugins in C.
# python/pyproject.toml sets PSC_PYTHON_PACKAGE. A wheel has no symbolic links, so the library has
# no version in its name (cmake/targets.cmake).
set(native pythiascope/_native)
install(TARGETS pythiascope LIBRARY DESTINATION ${native})
install(TARGETS psc_program RUNTIME DESTINATION ${native})
install(DIRECTORY models/books-5m models/forms DESTINATION ${native}/models)
install(FILES ${public_headers} DESTINATION ${native}/include)
install(PROGRAMS python/scripts/pythiascope DESTINATION ${SKBUILD_SCRIPTS_DIR})
install(FILES LICENSE DESTINATION ${SKBUILD_METADATA_DIR}/licenses)
if(PSC_PAGE)
  install(FILES report/viewer/d3_license.js DESTINATION ${SKBUILD_METADATA_DIR}/licenses
    RENAME d3_license.txt)
endif()
