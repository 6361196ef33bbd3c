/* Writes results: results.json, tensors.safetensors, a summary for the terminal, a page. psc_results.h
 * offers this to every caller; this header is what its implementation shares.
 * Private to report/, cli/ and tests/. Includes psc_results.h only.
 * Threads: all calls are reentrant; results must not change during a call.
 * Ownership: nothing is kept; results stay the caller's. */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "psc_results.h"

/* PSC_ERROR_STATE if the results are empty; the functions below need results that are not. */
psc_status psc_report_ready(const psc_results *results, psc_error *error);

/* Fills options from the caller's (nullable); refuses those out of range and empty results. */
psc_status psc_report_check(psc_format_options *out, const psc_results *results, psc_format format,
    const psc_format_options *given, psc_error *error);

/* results.json, to a stream. options: of PSC_FORMAT_JSON. */
psc_status psc_report_json(
    const psc_results *results, const psc_format_options *options, FILE *out, psc_error *error);
/* tensors.safetensors, to a stream: every plugin's arrays and the captured tensors. */
psc_status psc_report_tensors(const psc_results *results, FILE *out, psc_error *error);

/* An HTML page, to a stream (page/). options: of PSC_FORMAT_HTML. */
psc_status psc_report_page(
    const psc_results *results, const psc_format_options *options, FILE *out, psc_error *error);
/* PSC_ERROR_SUPPORT in a build without the page. */
psc_status psc_report_page_ready(psc_error *error);

/* The text style of a terminal. */
typedef struct psc_report_style {
    int width; /* columns */
    bool color;
    int32_t sections; /* only the first ones; 0: all */
} psc_report_style;

/* Color on a terminal only, not with NO_COLOR or TERM=dumb; 80 columns if the width is unknown.
 * stream null: not a terminal. */
psc_report_style psc_report_style_of(FILE *stream);
/* The summary: the model, run and text, then each plugin's sentences and bars. */
psc_status psc_report_summary(
    const psc_results *results, FILE *out, psc_report_style style, psc_error *error);
/* The same without the model, run and text. */
psc_status psc_report_sections(
    const psc_results *results, FILE *out, psc_report_style style, psc_error *error);

/* The manual's page on a section of that name and version, made by that version of pythiascope:
 * "docs/plugins/ln.md". Null if the section is not a built-in's. The text is static. */
const char *psc_report_section_page(const char *program, const char *name, const char *version);

/* Escapes untrusted text for a terminal: control, invisible and reordering characters and broken
 * UTF-8 as \n, \x1b, \u{202e}. Always terminated, cut between characters; returns the bytes
 * written. */
size_t psc_report_escape(char *out, size_t size, const char *text, size_t bytes);

/* The room for psc_report_suggest. */
#define PSC_REPORT_SUGGESTION 160
/* "; did you mean PREFIXname?" for a mistyped name of `bytes` bytes, or "" when no known name is
 * near. name(list, i) is the known name i, null after the last. Returns out. */
const char *psc_report_suggest(char out[PSC_REPORT_SUGGESTION], const char *given, size_t bytes,
    const char *prefix, const char *(*name)(const void *list, int32_t i), const void *list);
/* Bytes of the UTF-8 character that text (bytes > 0) begins with; 0 if text ends within it, -1 if
 * no character begins with these bytes. */
int psc_report_character(const char *text, size_t bytes);

#endif
