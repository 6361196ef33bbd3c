/* The texts of token ids: which ids the arrays name, and a list of their texts. The list is one
 * block: entries with ascending ids, then the texts with a 0 behind each. */
#include "results.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the texts of token ids");
}

/* --- the ids --------------------------------------------------------------------------------- */

static void mark(unsigned char *named, int32_t limit, const psc_stored_array *array) {
    const int32_t *ids = array->view.data;
    const uint64_t n = array->bytes / sizeof *ids;
    for (uint64_t i = 0; i < n; i++)
        if (ids[i] >= 0 && ids[i] < limit) named[ids[i]] = 1;
}

psc_status psc_results_named_ids(
    int32_t **out, int32_t *n, const psc_results *results, int32_t limit, psc_error *error) {
    *out = NULL;
    *n = 0;
    unsigned char *named = NULL;
    for (int i = 0; limit > 0 && i < results->n_arrays; i++) {
        if (!results->arrays[i].token_ids) continue;
        if (!named) named = calloc((size_t)limit, 1);
        if (!named) return no_memory(error);
        mark(named, limit, &results->arrays[i]);
    }
    if (!named) return PSC_OK; /* a plain run allocates nothing */
    int32_t count = 0;
    for (int32_t id = 0; id < limit; id++) count += named[id];
    int32_t *ids = malloc(count > 0 ? (size_t)count * sizeof *ids : 1);
    for (int32_t id = 0; ids && id < limit; id++)
        if (named[id]) ids[(*n)++] = id;
    free(named);
    *out = ids;
    return ids ? PSC_OK : no_memory(error);
}

/* --- the texts ------------------------------------------------------------------------------- */

static size_t clean(char *out, const psc_vocabulary_entry *entry) {
    return psc_text_clean_whole(out, entry->text, entry->bytes);
}

/* Two ascending lists, of which the first one's entry stands for both of the same id. */
typedef struct merge {
    const psc_vocabulary_entry *a, *a_end, *b, *b_end;
} merge;

/* The next entry; null at the end. */
static const psc_vocabulary_entry *next(merge *m) {
    if (m->a == m->a_end) return m->b < m->b_end ? m->b++ : NULL;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a list that has not ended is there
    if (m->b == m->b_end || m->a->id < m->b->id) return m->a++;
    if (m->b->id < m->a->id) return m->b++;
    m->b++;
    return m->a++;
}

psc_status psc_results_add_vocabulary(
    psc_results *results, int32_t n, const psc_vocabulary_entry *entries, psc_error *error) {
    const psc_vocabulary_entry *own = results->vocabulary, *entry;
    const int32_t n_own = results->n_vocabulary;
    if (n == 0) return PSC_OK;
    if (n > INT32_MAX - n_own) return no_memory(error);
    const merge both = {own, own ? own + n_own : own, entries, entries + n};
    merge m = both;
    size_t count = 0, bytes = 0;
    for (; (entry = next(&m)); count++) bytes += clean(NULL, entry) + 1;
    // NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): n > 0, so there is an entry
    psc_vocabulary_entry *all = malloc(count * sizeof *all + bytes);
    if (!all) return no_memory(error);
    char *to = (char *)(all + count);
    m = both;
    for (psc_vocabulary_entry *out = all; (entry = next(&m)); out++) {
        *out = (psc_vocabulary_entry){entry->id, to, clean(to, entry)};
        to += out->bytes;
        *to++ = 0;
    }
    free(results->vocabulary);
    results->vocabulary = all;
    results->n_vocabulary = (int32_t)count;
    return PSC_OK;
}
