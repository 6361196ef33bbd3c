/* Reading results.json and tensors.safetensors: what the parts of psc_results_read_folder share.
 * Private to report/.
 * Threads: reentrant.
 * Ownership: everything is copied into the results, which belong to psc_results_read_folder. */
#ifndef RESULTS_READER_H
#define RESULTS_READER_H

#include "json_reader.h"
#include "results.h"

/* Most names of a kind: each new one is compared with the others, so that a hostile file would cost
 * their square. */
enum { MOST_SECTIONS = 1024, MOST_MEMBERS = 4096, MOST_NAMED_ARRAYS = 65536 };

/* results_reader_head.c: version, model, run, corpus, tokens, vocabulary. */
psc_status psc_read_head(psc_results *results, const psc_json_at *document);
/* A text that is kept as long as the results live. */
psc_status psc_read_text(
    const char **out, psc_results *results, const psc_json_at *at, const char *key);

/* results_reader_besides.c: the command, time and generation, where there are such. */
psc_status psc_read_besides(psc_results *results, const psc_json_at *document);

/* results_reader_sections.c: a section's options, axes, values and summary, in their order. */
psc_status psc_read_section(psc_results *results, const psc_json_at *plugins, const char *name);

/* results_reader_arrays.c: the arrays of all sections, then the captures, in the order in which
 * tensors.safetensors and results.json were written from them. path: of tensors.safetensors. */
psc_status psc_read_arrays(psc_results *results, const psc_json_at *document, const char *path);

#endif
