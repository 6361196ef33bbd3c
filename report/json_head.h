/* The head of results as members of a JSON object: model, run, corpus.
 * Private to report/. Includes json_writer.h and psc_results.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef JSON_HEAD_H
#define JSON_HEAD_H

#include "json_writer.h"
#include "psc_results.h"

void psc_json_model(psc_json *json, const psc_result_model *model);
void psc_json_run(psc_json *json, const psc_result_run *run);
void psc_json_corpus(psc_json *json, const psc_corpus_totals *corpus);
void psc_json_time(psc_json *json, const psc_result_time *time);
void psc_json_generation(psc_json *json, const psc_generation *generation);

#endif
