# ISA flags, one file suffix per ISA: <family>_reference.c, <family>_avx2.c, ... Included after the
# simd layer exists, in the same directory scope. Overlays of other architectures are not compiled.
file(GLOB reference ${CMAKE_SOURCE_DIR}/simd/*_reference.c)
file(GLOB avx2 ${CMAKE_SOURCE_DIR}/simd/*_avx2.c)
file(GLOB avx512 ${CMAKE_SOURCE_DIR}/simd/*_avx512.c)
file(GLOB neon ${CMAKE_SOURCE_DIR}/simd/*_neon.c)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  # SLEEF declares its fma forms where math.h has FP_FAST_FMA; clang with glibc does not say so.
  set_source_files_properties(${reference} PROPERTIES COMPILE_OPTIONS
    "-mfma;$<$<C_COMPILER_ID:Clang>:-D__FP_FAST_FMA=1>")
  set_source_files_properties(${avx2} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
  set_source_files_properties(${avx512} PROPERTIES COMPILE_OPTIONS "-mavx512f;-mfma;-mf16c")
else()
  set_source_files_properties(${avx2} ${avx512} PROPERTIES HEADER_FILE_ONLY TRUE)
endif()
# NEON is part of base aarch64 (arm64 on macOS). GCC's early scheduling groups so many loads that a
# tile's accumulators spill to memory.
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|AARCH64|arm64|ARM64)$")
  set_source_files_properties(${neon} PROPERTIES HEADER_FILE_ONLY TRUE)
elseif(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set_source_files_properties(${neon} PROPERTIES COMPILE_OPTIONS "-fno-schedule-insns")
endif()
