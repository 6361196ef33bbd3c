/* A list of word forms as labelled sequences: a file of tab-separated lines, or CoNLL-U files.
 * Private to cli/. Includes sentences.h.
 * Threads: main thread only.
 * Ownership: cli_form_list_free frees everything. */
#ifndef FORM_LIST_H
#define FORM_LIST_H

#include "sentences.h"

/* Each form is a sequence: <|endoftext|>, a space, the form. Its one word has the group as lemma,
 * the tag as upos, and "Freq=N" as misc. */
typedef struct cli_form_list {
    cli_sentences all; /* without a treebank; for cli_sentences_run */
    char *texts;       /* everything that the labels point to */
    psc_sentence *sentences;
    psc_word *words;
} cli_form_list;

/* Forms of a file's lines: form, group, tag, and a frequency (default: 1), separated by tabs. Blank
 * lines and lines that begin with # are skipped. A form that occurs several times has its most
 * frequent group and tag, ties to the lower bytes, and the sum of its frequencies. */
psc_status cli_form_list_read(
    cli_form_list *out, const psc_model *model, const char *path, psc_error *error);
/* Forms of CoNLL-U files in lower case: nouns, verbs and adjectives of more than two ASCII letters
 * whose lemma has ASCII letters only. Group: lemma and UPOS; tag: XPOS, or without it FEATS. */
psc_status cli_form_list_collect(cli_form_list *out, const psc_model *model,
    const char *const *paths, int n_paths, psc_error *error);
void cli_form_list_free(cli_form_list *list);

#endif
