/* The viewer: script and style, bundled by cmake/viewer.cmake, which writes page_assets.c.
 * Private to report/page/ and tests/. Includes nothing of ours.
 * Threads: constants.
 * Ownership: constants. */
#ifndef PAGE_ASSETS_H
#define PAGE_ASSETS_H

#include <stddef.h>

extern const unsigned char psc_page_script[], psc_page_style[];
/* 0 in a build without the page (PSC_PAGE=OFF). */
extern const size_t psc_page_script_bytes, psc_page_style_bytes;
/* SHA-256 in base64, as a Content-Security-Policy has it. */
extern const char psc_page_script_hash[], psc_page_style_hash[];

#endif
