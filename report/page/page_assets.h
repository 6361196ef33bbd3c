/* The viewer, the script that loads it, and the style, bundled by cmake/viewer.cmake, which writes
 * page_assets.c.
 * Private to report/page/ and tests/. Includes nothing of ours.
 * Threads: constants.
 * Ownership: constants. */
#ifndef PAGE_ASSETS_H
#define PAGE_ASSETS_H

#include <stddef.h>

/* The viewer is compressed by gzip; the others are texts. */
extern const unsigned char psc_page_viewer[], psc_page_loader[], psc_page_style[];
/* 0 in a build without the page (PSC_PAGE=OFF). */
extern const size_t psc_page_viewer_bytes, psc_page_loader_bytes, psc_page_style_bytes;
/* SHA-256 of the texts in base64, as a Content-Security-Policy has it. */
extern const char psc_page_viewer_hash[], psc_page_loader_hash[], psc_page_style_hash[];

#endif
