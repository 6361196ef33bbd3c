# Writes the C constants of report/page/page_assets.h. usage: cmake [-DLOADER=FILE -DVIEWER=FILE
# -DSTYLE=FILE] -DOUT=FILE -P embed_viewer.cmake. Without files the constants are empty. The viewer is
# compressed: VIEWER.gz.

# A hexadecimal text as base64: per six digits four characters.
function(base64_of out hex)
  set(digits "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  set(text "")
  string(LENGTH ${hex} length)
  math(EXPR last "${length} - 1")
  foreach(at RANGE 0 ${last} 6)
    string(SUBSTRING ${hex} ${at} 6 group) # shorter at the end
    string(LENGTH ${group} n)
    string(SUBSTRING "${group}0000" 0 6 group)
    math(EXPR bits "0x${group}")
    math(EXPR n_shown "${n} / 2 + 1")
    foreach(i RANGE 3)
      math(EXPR digit "(${bits} >> (18 - 6 * ${i})) & 63")
      string(SUBSTRING ${digits} ${digit} 1 character)
      if(i LESS n_shown)
        string(APPEND text ${character})
      else()
        string(APPEND text "=")
      endif()
    endforeach()
  endforeach()
  set(${out} ${text} PARENT_SCOPE)
endfunction()

# Refuses a text that would end or change its element in the page.
function(check_text file)
  file(READ ${file} text)
  string(TOLOWER "${text}" text)
  foreach(end "</script" "</style" "<!--")
    string(FIND "${text}" "${end}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${file} holds ${end}, which would end or change the page's element")
    endif()
  endforeach()
endfunction()

# gzip's header holds the time: zeros in its place, so that equal files give equal bytes.
function(compressed_hex out file)
  file(ARCHIVE_CREATE OUTPUT ${file}.gz PATHS ${file} FORMAT raw COMPRESSION GZip
    COMPRESSION_LEVEL 9)
  file(READ ${file}.gz hex HEX)
  string(SUBSTRING ${hex} 0 8 magic)
  string(SUBSTRING ${hex} 16 -1 rest)
  set(${out} "${magic}00000000${rest}" PARENT_SCOPE)
endfunction()

# The bytes of psc_page_<name>, and the hash of the file's text.
function(constants out name file is_packed)
  set(bytes "0")
  set(n 0)
  set(hash "")
  if(file)
    if(is_packed)
      compressed_hex(hex ${file})
    else()
      check_text(${file})
      file(READ ${file} hex HEX)
    endif()
    string(LENGTH ${hex} digits)
    math(EXPR n "${digits} / 2")
    string(REGEX REPLACE "(..)" "0x\\1," bytes ${hex})
    string(REPLACE "0x0a," "0x0a,\n" bytes ${bytes})
    file(SHA256 ${file} sha256)
    base64_of(hash ${sha256})
  endif()
  set(${out} "const unsigned char psc_page_${name}[] = {\n${bytes}};\n\
const size_t psc_page_${name}_bytes = ${n};\n\
const char psc_page_${name}_hash[] = \"${hash}\";\n" PARENT_SCOPE)
endfunction()

constants(loader loader "${LOADER}" NO)
constants(viewer viewer "${VIEWER}" YES)
constants(style style "${STYLE}" NO)
file(WRITE ${OUT} "/* Made by cmake/embed_viewer.cmake. */\n#include \"page_assets.h\"\n\
${loader}${viewer}${style}")
