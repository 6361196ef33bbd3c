# The library (shared by default; exports only PSC_API symbols) and the program. The program
# contains the layers, so it runs from any place without the shared library.
option(BUILD_SHARED_LIBS "Build the library shared" ON)
add_library(pythiascope ${psc_objects})
add_library(pythiascope::pythiascope ALIAS pythiascope)
set_target_properties(pythiascope PROPERTIES LINKER_LANGUAGE C)
if(NOT PSC_PYTHON_PACKAGE)
  set_target_properties(pythiascope PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
endif()
file(GLOB public_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/pythiascope/*.h)
target_include_directories(pythiascope INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include/pythiascope>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/pythiascope>)
target_link_libraries(pythiascope PRIVATE ${psc_libraries})
target_link_options(pythiascope PRIVATE ${psc_hardening_links})

file(GLOB cli_sources CONFIGURE_DEPENDS cli/*.c cli/verbs/*.c)
if(PSC_PULL)
  file(GLOB hub_sources CONFIGURE_DEPENDS cli/hub/*.c)
endif()
add_executable(psc_program ${cli_sources} ${hub_sources} ${psc_objects})
set_target_properties(psc_program PROPERTIES OUTPUT_NAME pythiascope
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_include_directories(psc_program PRIVATE include/pythiascope cli report)
set(program_data ${CMAKE_INSTALL_FULL_DATADIR})
if(PSC_PYTHON_PACKAGE) # a wheel has the models beside the program, and so has a build
  set(program_data /nonexistent)
else()
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/models ${CMAKE_BINARY_DIR}/models SYMBOLIC)
endif()
target_compile_definitions(psc_program PRIVATE PSC_DATADIR="${program_data}")
target_link_libraries(psc_program PRIVATE psc_flags ${psc_libraries})
if(PSC_PULL)
  target_include_directories(psc_program PRIVATE cli/hub)
  target_compile_definitions(psc_program PRIVATE PSC_PULL)
  target_link_libraries(psc_program PRIVATE PkgConfig::curl)
endif()
if(PSC_SANITIZE)
  target_link_options(pythiascope PRIVATE -fsanitize=address,undefined)
endif()
if(PSC_SANITIZE_THREADS)
  target_link_options(pythiascope PRIVATE -fsanitize=thread)
endif()
