# The library (shared by default; only what is marked PSC_API is seen) and the program. The program
# holds the layers itself, so that it runs from anywhere without looking for the library.
option(BUILD_SHARED_LIBS "Build the library shared" ON)
add_library(pythiascope ${psc_objects})
add_library(pythiascope::pythiascope ALIAS pythiascope)
set_target_properties(pythiascope PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE C)
file(GLOB public_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/base/psc*.h
  ${CMAKE_SOURCE_DIR}/hooks/psc*.h ${CMAKE_SOURCE_DIR}/runtime/psc*.h
  ${CMAKE_SOURCE_DIR}/include/pythiascope/psc*.h)
foreach(header ${public_headers})
  get_filename_component(folder ${header} DIRECTORY)
  target_include_directories(pythiascope INTERFACE $<BUILD_INTERFACE:${folder}>)
endforeach()
target_include_directories(pythiascope INTERFACE
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/pythiascope>)
target_link_libraries(pythiascope PRIVATE ${psc_libraries})

file(GLOB_RECURSE cli_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cli/*.c)
add_executable(psc_program ${cli_sources} ${psc_objects})
set_target_properties(psc_program PROPERTIES OUTPUT_NAME pythiascope
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
# base, hooks and runtime: for their public headers; tests/layering.sh checks that no other is read.
foreach(layer cli report include base hooks runtime)
  psc_header_folders(folders ${layer})
  target_include_directories(psc_program PRIVATE ${folders})
endforeach()
target_compile_definitions(psc_program PRIVATE PSC_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
  PSC_DATADIR="${CMAKE_INSTALL_FULL_DATADIR}")
target_link_libraries(psc_program PRIVATE psc_flags ${psc_libraries})
if(PSC_SANITIZE)
  target_link_options(pythiascope PRIVATE -fsanitize=address,undefined)
endif()
