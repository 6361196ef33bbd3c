/* Records of windows: bytes that the host's lists keep, merge and save as they are.
 *
 *   head_window; with HeadVis's folder also i32 tokens [window], u16 keys and u16 weights
 *   [window, HEADVIS_KEYS]
 *
 * What is not used is 0, so equal windows have equal records. A record from a state file can hold
 * anything, so it is checked before use. */
#include "attention_contexts.h"

#include <math.h>
#include <string.h>

uint64_t attention_record_bytes(int32_t window) {
    const uint64_t row = sizeof(int32_t) + 2 * HEADVIS_KEYS * sizeof(uint16_t);
    return (sizeof(head_window) + (uint64_t)window * row + 7) / 8 * 8;
}

head_record attention_record_at(const attention_contexts *c, void *bytes) {
    head_record record = {.head = bytes};
    record.tokens = (int32_t *)(void *)(record.head + 1);
    record.keys = (uint16_t *)(void *)(record.tokens + c->window);
    record.weights = record.keys + (int64_t)c->window * HEADVIS_KEYS;
    return record;
}

void attention_record_fill(
    const attention_contexts *c, int64_t cell, int32_t first, const head_window *of, void *bytes) {
    const head_record record = attention_record_at(c, bytes);
    memset(bytes, 0, (size_t)c->record_bytes);
    *record.head = *of;
    if (!c->folder) return;
    const int64_t from = (cell * c->n_rows + first) * HEADVIS_KEYS;
    const size_t n = (size_t)of->n * HEADVIS_KEYS * sizeof *c->keys;
    for (int32_t r = 0; r < of->n; r++) record.tokens[r] = c->rows[first + r].token;
    memcpy(record.keys, c->keys + from, n);
    memcpy(record.weights, c->weights + from, n);
}

/* Whether a row's kept weights are as attention_record_keys leaves them. */
static int is_good_row(int32_t row, const uint16_t *keys, const uint16_t *weights) {
    for (int32_t i = 0; i < HEADVIS_KEYS; i++) {
        if (weights[i] > HEADVIS_UNIT || keys[i] > row) return 0;
        if (i > 0 && weights[i] > 0 && (weights[i - 1] == 0 || keys[i - 1] >= keys[i])) return 0;
    }
    return 1;
}

int attention_record_check(const attention_contexts *c, const head_record *record) {
    const head_window *h = record->head;
    int good = h->n >= 2 && h->n <= c->window && h->row > 0 && h->row < h->n && h->key > 0 &&
               h->key <= h->row && isfinite(h->largest);
    for (int32_t r = 0; good && c->folder && r < h->n; r++)
        good = record->tokens[r] >= 0 && record->tokens[r] < c->n_vocab &&
               is_good_row(r, record->keys + r * HEADVIS_KEYS, record->weights + r * HEADVIS_KEYS);
    if (good) return 0;
    return c->host->fail(
        c->context, "the state holds a damaged record of a window; start with a new state file");
}

void attention_record_keys(int32_t n, const float *a, uint16_t *keys, uint16_t *weights) {
    float best[HEADVIS_KEYS];
    int32_t at[HEADVIS_KEYS], count = 0;
    for (int32_t j = 0; j < n; j++) { /* the largest first, ties to the lower key */
        if (a[j] < HEADVIS_LEAST || (count == HEADVIS_KEYS && a[j] <= best[count - 1])) continue;
        int32_t i = count < HEADVIS_KEYS ? count++ : count - 1;
        for (; i > 0 && a[j] > best[i - 1]; i--) {
            best[i] = best[i - 1];
            at[i] = at[i - 1];
        }
        best[i] = a[j];
        at[i] = j;
    }
    for (int32_t i = 0; i < count; i++) { /* by their keys */
        int32_t place = 0;
        for (int32_t other = 0; other < count; other++) place += at[other] < at[i];
        keys[place] = (uint16_t)at[i];
        weights[place] = (uint16_t)rint(fmin((double)best[i], 1.0) * HEADVIS_UNIT);
    }
}
