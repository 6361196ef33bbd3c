# Builds that look for faults: sanitizers, fuzzing, coverage. Each has a preset or a script.
option(PSC_SANITIZE "Address and undefined-behavior sanitizers" OFF)
set(PSC_FUZZ OFF CACHE STRING "For fuzz/run.sh: libfuzzer or coverage; needs clang")
option(PSC_SANITIZE_THREADS "Thread sanitizer; not together with PSC_SANITIZE" OFF)
option(PSC_COVERAGE "Count the branches of base, hooks, runtime and report: tools/coverage.sh" OFF)

if(PSC_SANITIZE)
  target_compile_options(psc_flags INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer
    -fno-sanitize-recover=undefined)
  target_link_options(psc_flags INTERFACE -fsanitize=address,undefined)
endif()
if(PSC_SANITIZE_THREADS)
  target_compile_options(psc_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(psc_flags INTERFACE -fsanitize=thread)
endif()
add_library(psc_fuzz_flags INTERFACE) # of every folder but simd/, which reads no files
if(PSC_FUZZ STREQUAL libfuzzer)
  target_compile_options(psc_fuzz_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(psc_fuzz_flags INTERFACE -fsanitize=address,undefined)
elseif(PSC_FUZZ STREQUAL coverage)
  target_compile_options(psc_fuzz_flags INTERFACE -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(psc_fuzz_flags INTERFACE -fprofile-instr-generate)
endif()
if(PSC_COVERAGE)
  target_link_options(psc_flags INTERFACE --coverage)
endif()
# NDEBUG: an assert is no branch, because no input may reach its failure.
set(coverage_flags -O0 --coverage -fprofile-update=atomic -fprofile-abs-path -DNDEBUG
  -Wno-unused-variable -Wno-unused-but-set-variable -Wno-unused-parameter)

# What concerns some folders only.
function(psc_instrument target folder)
  if(NOT folder STREQUAL simd)
    target_link_libraries(${target} PRIVATE psc_fuzz_flags)
  endif()
  if(PSC_COVERAGE AND folder MATCHES "^(base|hooks|runtime|report)(/|$)")
    target_compile_options(${target} PRIVATE ${coverage_flags})
  endif()
endfunction()
