/* Names of models, and the Hugging Face cache on this machine.
 * Private to runtime/model/ and tests/. Includes psc.h.
 * Threads: reentrant; the environment must not change during a call.
 * Ownership: the caller's buffers; psc_hub_refs_close frees a list. */
#ifndef HUB_CACHE_H
#define HUB_CACHE_H

#include "psc.h"

/* --- names (hub_names.c) --------------------------------------------------------------------- */

/* Whether text [n] is "OWNER/NAME": letters, digits, '-', '_' and '.', as the hub allows. */
bool psc_hub_is_repository(const char *text, size_t n);
/* Whether text can be a branch, tag or commit: no "..", no empty part, no control character. */
bool psc_hub_is_revision(const char *text);
/* Refuses a web page's address; of a page of the hub the sentence has the name to pass. */
psc_status psc_hub_refuse_url(const char *text, psc_error *error);
/* The user's cache folder; PSC_ERROR_INPUT if no variable says where it is. */
psc_status psc_hub_folder(char *out, size_t size, psc_error *error);
/* "…/models--OWNER--NAME" -> "OWNER/NAME". False for another last part. */
bool psc_hub_repository_of(char *out, size_t size, const char *root);
/* Prints to out; false if it is too small. */
bool psc_hub_print(char *out, size_t size, const char *format, ...) PSC_PRINTF(3, 4);

/* --- the cache (hub_cache.c) ----------------------------------------------------------------- */

/* root/refs as a list: names as they follow '@', with the commits that they mean. A file that names
 * no commit is left out. */
typedef struct psc_hub_ref {
    char name[128], commit[72];
} psc_hub_ref;
typedef struct psc_hub_refs {
    psc_hub_ref *items; /* training steps first, ascending; then by name */
    int32_t n;
} psc_hub_refs;
psc_status psc_hub_refs_read(psc_hub_refs *out, const char *root, psc_error *error);
void psc_hub_refs_close(psc_hub_refs *refs);
/* Negative, 0 or positive: step2 < step10 < main. */
int psc_hub_compare_revisions(const char *a, const char *b);

/* Whether root/snapshots is a folder. */
bool psc_hub_is_root(const char *root);
/* Fills place for the snapshot of a revision, or of main where revision is null. place->repository
 * is set. command: what downloads it, for sentences. */
psc_status psc_hub_find(
    psc_model_place *place, const char *root, const char *revision, psc_error *error);
/* Fills place if folder, which exists, is a snapshot of a cache; else *found is false. */
psc_status psc_hub_find_snapshot(
    psc_model_place *place, bool *found, const char *folder, psc_error *error);
/* Refuses a snapshot whose config, tokenizer or weights are not all there. */
psc_status psc_hub_check_whole(const psc_model_place *place, psc_error *error);

#endif
