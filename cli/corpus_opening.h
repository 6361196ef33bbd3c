/* A corpus as the command line names it, and what its rows on disk will take.
 * Private to cli/.
 * Threads: one.
 * Ownership: the caller closes the corpus. */
#ifndef CORPUS_OPENING_H
#define CORPUS_OPENING_H

#include <signal.h>

#include "cli.h"
#include "psc_corpus.h"

/* Opens the files and folders of the operands and of --from-list, or standard input. Sets
 * how->n_listed. */
psc_status cli_corpus_open(psc_corpus **out, psc_model *model, const cli_arguments *arguments,
    psc_corpus_options *how, psc_error *error);
/* Says what plugins will write to disk (psc_session_foretell), and refuses what their limits or the
 * disk do not allow. Counts the tokens by a second reading of the corpus, which *interrupted ends;
 * standard input is not counted. Does nothing if no plugin writes. */
psc_status cli_corpus_foretell(psc_session *session, psc_model *model,
    const cli_arguments *arguments, const psc_corpus_options *how,
    const volatile sig_atomic_t *interrupted, psc_error *error);

#endif
