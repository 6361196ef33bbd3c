# ISA flags, a file suffix an ISA: <family>_reference.c, <family>_avx2.c, ...
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  file(GLOB reference ${CMAKE_SOURCE_DIR}/simd/*_reference.c)
  set_source_files_properties(${reference} PROPERTIES COMPILE_OPTIONS "-mfma")
  file(GLOB avx2 ${CMAKE_SOURCE_DIR}/simd/*_avx2.c)
  set_source_files_properties(${avx2} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
endif()
