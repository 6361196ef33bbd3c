# Flags that stop a memory fault from becoming more, where the compiler and linker have them: stack
# protector, checked libc calls, control-flow protection, a read-only relocation table, PIE. They
# are on in every build; the sanitizers bring checked calls of their own. docs/reliability.md has
# their cost. tests/cli/hardening.sh looks at what was linked.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)
include(CheckPIESupported)
option(PSC_HARDEN "Hardening flags" ON)

check_pie_supported(LANGUAGES C)
set(psc_hardening_links)
if(PSC_HARDEN)
  foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
      -mbranch-protection=standard)
    string(MAKE_C_IDENTIFIER "has${flag}" has)
    check_c_compiler_flag("${flag} -Werror" ${has})
    if(${has})
      target_compile_options(psc_flags INTERFACE ${flag})
    endif()
  endforeach()
  if(NOT PSC_SANITIZE AND NOT PSC_SANITIZE_THREADS AND NOT PSC_FUZZ
      AND NOT PSC_COVERAGE) # libc checks nothing without optimization, and warns
    target_compile_options(psc_flags INTERFACE
      $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=3>)
  endif()
  foreach(flag -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
    string(MAKE_C_IDENTIFIER "has${flag}" has)
    check_linker_flag(C "${flag}" ${has})
    if(${has})
      list(APPEND psc_hardening_links ${flag})
    endif()
  endforeach()
  target_link_options(psc_flags INTERFACE ${psc_hardening_links})
endif()

# Two builds of one tree are equal to the byte wherever the tree is: an assert names its file from
# the tree's root. tools/check_reproducible.sh compares two.
check_c_compiler_flag(-fmacro-prefix-map=a=b has_macro_prefix_map)
if(has_macro_prefix_map)
  file(RELATIVE_PATH tree_from_build ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}) # ccache passes it
  string(REGEX REPLACE "/$" "" tree_from_build ${tree_from_build})
  target_compile_options(psc_flags INTERFACE -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=
    -fmacro-prefix-map=${tree_from_build}/=)
endif()
