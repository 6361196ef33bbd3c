/* Writes result objects: results.json, tensors.safetensors, a summary for the terminal.
 * Private to report/, cli/ and tests/. Includes psc_error.h only.
 * Threads: all calls are reentrant; results must not change meanwhile.
 * Ownership: nothing is kept; results stay the caller's. */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "psc_error.h"

typedef struct psc_results psc_results;

/* Says before the work whether folder can be written: it is new or empty, and its parent takes a
 * new folder. Leaves nothing behind. */
psc_status psc_report_check_folder(const char *folder, psc_error *error);
/* Writes folder/results.json and folder/tensors.safetensors, both or neither. */
psc_status psc_report_folder(const psc_results *results, const char *folder, psc_error *error);

/* results.json, to a stream. */
psc_status psc_report_json(const psc_results *results, FILE *out, psc_error *error);
/* tensors.safetensors, to a stream: every plugin's arrays and the captured tensors. */
psc_status psc_report_tensors(const psc_results *results, FILE *out, psc_error *error);

/* Records whether a beginning-of-text token was put in front (run.bos). */
psc_status psc_report_set_bos(const psc_results *results, bool bos);

/* How a terminal wants its text. */
typedef struct psc_report_style {
    int width; /* columns */
    bool colour;
} psc_report_style;

/* Colour on a terminal only, not with NO_COLOR or TERM=dumb; 80 columns where nothing tells. */
psc_report_style psc_report_style_of(FILE *stream);
/* The summary: what was run, then each plugin's sentences and bars. */
psc_status psc_report_summary(
    const psc_results *results, FILE *out, psc_report_style style, psc_error *error);

/* Untrusted text for a terminal: control, invisible and reordering characters and broken UTF-8 as
 * \n, \x1b, \u{202e}. Always terminated, cut between characters; returns the bytes written. */
size_t psc_report_escape(char *out, size_t size, const char *text, size_t bytes);
/* Bytes of the UTF-8 character that text (bytes > 0) begins with; 0 when text ends within it, -1
 * when no character begins so. */
int psc_report_character(const char *text, size_t bytes);

#endif
