/* Choices of rows: an option's rows resolved for a run, the chosen rows of events and tensors. */
#include "common.h"

#include <stdio.h>

const psc_row *psc_whole_sequence(
    psc_context *context, const psc_host *host, const char *subject, int32_t *n) {
    const psc_row *rows = host->rows(context, n);
    if (*n > 0 && rows[0].position == 0 && rows[*n - 1].sequence == rows[0].sequence) return rows;
    host->fail(context, "%s one whole sequence that begins at position 0", subject);
    return NULL;
}

/* The number of rows that `last` covers at a sequence's end, and whether it skips the last one. */
static void last_reach(psc_context *context, const psc_host *host, int *reach, int *skip) {
    int32_t n_targets = 0, n_next = 0;
    const psc_target *targets = host->targets(context, &n_targets);
    for (int32_t t = 0; t < n_targets; t++) n_next += targets[t].kind == PSC_TARGET_NEXT;
    *reach = n_next > 0 ? 2 : 1;
    *skip = n_next > 0 && n_next == n_targets;
}

/* The distance of row i from its sequence's end: 0, 1, or 2 for all other rows; alone: the sequence
 * has one row only. */
static int from_end(const psc_row *rows, int32_t n, int32_t i, int *alone) {
    *alone = (i == 0 || rows[i - 1].sequence != rows[i].sequence);
    if (i + 1 == n || rows[i + 1].sequence != rows[i].sequence) return 0;
    *alone = 0;
    return i + 2 == n || rows[i + 2].sequence != rows[i].sequence ? 1 : 2;
}

static int row_chosen(
    const psc_filter *choice, const psc_row *rows, int32_t n, int32_t i, int reach, int skip) {
    if (choice->rows == PSC_ROWS_ALL) return 1;
    if (choice->rows == PSC_ROWS_RANGE)
        return rows[i].position >= choice->row_begin && rows[i].position < choice->row_end;
    int alone = 0;
    int back = from_end(rows, n, i, &alone);
    return back < reach && !(skip && back == 0 && !alone);
}

int psc_rows_resolve(psc_context *context, const psc_host *host, const char *key,
    const psc_filter *choice, int for_targets, psc_row_set *out) {
    int32_t n_all = 0;
    const psc_row *rows = host->rows(context, &n_all);
    int32_t *index = host->run_alloc(context, (uint64_t)n_all * sizeof(int32_t) + 1);
    int32_t *slot = host->run_alloc(context, (uint64_t)n_all * sizeof(int32_t) + 1);
    if (!index || !slot) return -1;
    int reach = 1, skip = 0;
    if (for_targets && choice->rows == PSC_ROWS_LAST) last_reach(context, host, &reach, &skip);
    int32_t n = 0;
    for (int32_t i = 0; i < n_all; i++) {
        slot[i] = -1;
        if (!row_chosen(choice, rows, n_all, i, reach, skip)) continue;
        slot[i] = n;
        index[n++] = i;
    }
    if (n == 0 && n_all > 0) {
        char chosen[32];
        psc_rows_text(chosen, sizeof chosen, choice);
        return host->fail(context, "%s=%s contains none of the text's positions %d-%d", key, chosen,
            rows[0].position, rows[n_all - 1].position);
    }
    out->filter = *choice;
    out->n = n;
    out->n_all = n_all;
    out->index = index;
    out->slot = slot;
    out->moved = skip && n_all > 1;
    if (reach == 1) return 0;
    /* The host's `last` is the last row only, so a range of positions selects both. */
    int one = n_all > 0 && rows[0].sequence == rows[n_all - 1].sequence;
    out->filter.rows = one ? PSC_ROWS_RANGE : PSC_ROWS_ALL;
    out->filter.row_begin = one ? rows[index[0]].position : 0;
    out->filter.row_end = one ? rows[index[n - 1]].position + 1 : 0;
    return 0;
}

const char *psc_row_name(
    psc_context *context, const psc_host *host, const psc_row *row, char out[PSC_ROW_NAME]) {
    snprintf(
        out, PSC_ROW_NAME, "@%d %.80s", (int)row->position, host->token_text(context, row->token));
    return out;
}

int psc_rows_axis(
    psc_context *context, const psc_host *host, const char *name, const psc_row_set *rows) {
    return host->axis_numbers(context, name, rows->n, rows->index);
}

int psc_rows_fetch(psc_context *context, const psc_host *host, const psc_row_set *rows, int handle,
    int32_t layer, const float **out) {
    psc_event event = {.struct_size = sizeof event};
    if (host->fetch(context, handle, layer, &event)) return -1;
    for (int32_t i = 0; i < event.n_rows; i++) {
        const int32_t slot = rows->slot[event.rows[i].index];
        if (slot >= 0) out[slot] = psc_view_row(&event.tensor, i);
    }
    return 0;
}

void psc_rows_take(const psc_row_set *rows, const psc_event *event, float *out) {
    for (int32_t i = 0; i < event->n_rows; i++) {
        const int32_t slot = rows->slot[event->rows[i].index];
        if (slot >= 0) out[slot] = *psc_view_row(&event->tensor, i);
    }
}
