/* What a corpus run keeps in its state file beside the totals, as JSON: the place in the
 * corpus, and the setup (targets, contrasts, plugins, interventions), from which merge
 * makes the session again.
 * Private to cli/. Includes lock.h, setup.h and psc_corpus.h.
 * Threads: main thread only.
 * Ownership: a setup is a jansson reference; cli_state_free frees what was read. */
#ifndef STATE_H
#define STATE_H

#include <jansson.h>

#include "lock.h"
#include "psc_corpus.h"
#include "setup.h"

/* {"targets": ["next", ["A", "B"]], "plugins": ["logits:level=layer"], "interventions": [["ablate",
 * "L0H3"]]}: an array of two is a contrast; interventions only if there are any. Refuses arguments
 * that are not UTF-8, which JSON cannot hold. */
psc_status cli_setup_write(json_t **out, const cli_arguments *arguments, psc_error *error);
/* Plugins by path are loaded only if --plugin of the arguments names them. */
psc_status cli_setup_apply(
    psc_session *session, const json_t *setup, const cli_arguments *arguments, psc_error *error);

/* The totals, the place and the setup into the file: {"place": {...}, "setup": {...}}. */
psc_status cli_state_save(const psc_session *session, const char *path, const psc_corpus *corpus,
    json_t *setup, psc_error *error);

typedef struct cli_state {
    char *place; /* as psc_corpus_tell wrote it */
    json_t *setup;
} cli_state;

/* Reads place and setup; a sentence begins with the file. */
psc_status cli_state_read(cli_state *out, const char *path, psc_error *error);
void cli_state_free(cli_state *state);
/* Which part of a corpus the state is of, from 1, and whether it read its documents to their end. A
 * whole corpus is part 1 of 1. */
typedef struct cli_state_part {
    int32_t shard, n;
    bool finished;
} cli_state_part;
psc_status cli_state_get_part(cli_state_part *out, const cli_state *state, psc_error *error);
/* Locks the file behind `path` (lock.h); *file: its own path, which the caller frees by free(). */
psc_status cli_state_lock(cli_lock *out, char **file, const char *path, psc_error *error);
/* "the state file PATH: " before error's sentence. */
psc_status cli_state_error(const char *path, psc_status status, psc_error *error);

#endif
