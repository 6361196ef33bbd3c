/* {"1234": " the"}. A corpus can name every token of the model, and the page only some of them. */
#include "page_vocabulary.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 14 };

bool psc_page_ids_make(psc_page_ids *ids, const psc_results *results) {
    const int32_t count = psc_results_vocabulary_count(results);
    int32_t last = -1;
    const char *text;
    if (count > 0 && psc_results_vocabulary_at(&last, &text, results, count - 1, NULL)) last = -1;
    ids->n = last < 0 || last == INT32_MAX ? 0 : last + 1;
    ids->used = calloc((size_t)ids->n + 1, 1);
    return ids->used != NULL;
}

void psc_page_ids_free(psc_page_ids *ids) {
    free(ids->used);
    ids->used = NULL;
}

static void mark(psc_page_ids *ids, const int32_t *data, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (data[i] >= 0 && data[i] < ids->n) ids->used[data[i]] = 1;
}

void psc_page_ids_mark(psc_page_ids *ids, const psc_page_array *array) {
    const psc_page_encoding *encoding = &array->encoding;
    const int32_t *data = array->view.data;
    int64_t n = array->facts.n;
    if (!array->token_ids || array->view.element != PSC_I32) return;
    if (encoding->code == PSC_PAGE_OMITTED) return;
    if (encoding->code != PSC_PAGE_SLICES) {
        mark(ids, data, n);
        return;
    }
    for (int i = 0; i < encoding->lead; i++) n /= array->view.shape[i];
    for (int64_t i = 0; i < encoding->n_slices; i++) mark(ids, data + encoding->slices[i] * n, n);
}

/* Bytes of the whole vocabulary, at most `most`. */
static int64_t size_of_all(const psc_results *results, int64_t most) {
    int64_t size = 0;
    for (int32_t i = 0; i < psc_results_vocabulary_count(results) && size < most; i++) {
        const char *text;
        int32_t id;
        if (!psc_results_vocabulary_at(&id, &text, results, i, NULL))
            size += psc_page_text_size(text, strlen(text)) + KEY_BYTES;
    }
    return size < most ? size : most;
}

int64_t psc_page_put_vocabulary(
    psc_page_writer *w, const psc_results *results, const psc_page_ids *ids) {
    const int64_t reserved = size_of_all(results, w->room / 4), others = w->room - reserved;
    w->room = reserved;
    psc_json_object(&w->json, "vocabulary");
    for (int32_t i = 0; i < psc_results_vocabulary_count(results); i++) {
        const char *text;
        char key[16];
        int32_t id;
        if (psc_results_vocabulary_at(&id, &text, results, i, NULL)) continue;
        if (id < 0 || id >= ids->n || !ids->used[id]) continue;
        snprintf(key, sizeof key, "%d", (int)id);
        psc_page_put_text(w, key, text);
    }
    psc_json_end(&w->json);
    w->room = others;
    return reserved;
}
