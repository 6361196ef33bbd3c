/* Heads split by the position that they read: the level `source` of the plugin `logits`.
 *
 *   L{l}H{h}@{j} at row k:  A_kj v_{l,h,j} . (W_O,h^T u_t)/sigma_f,   v_j = W_V LN1(x_j) + b_V [D]
 *   components [embed, per layer (H * n_keys sources, attn_bias, mlp_out)], n_keys = last row + 1
 *
 * A position after the row has share 0. Sources of a head sum to its z . W_O,h^T u_t. The values of
 * all rows are kept; each pattern is used as it arrives. A and v are the edited ones. */
#include "logits.h"

#include <stdio.h>
#include <string.h>

#define MOST_BYTES ((double)((uint64_t)4 << 30)) /* of contributions and values */
enum { LABEL_BYTES = 40 };

static int check_size(const logits_run *run) {
    const psc_model_info *m = run->model;
    int32_t n_rows = 0;
    run->host->rows(run->context, &n_rows);
    const double components = (double)m->n_layers * m->n_heads * run->n_keys;
    const double shares = components * run->targets.n * run->targets.rows.n * sizeof(float);
    const double values = (double)m->n_layers * n_rows * m->n_heads * m->d_head * sizeof(float);
    const double labels = components * (LABEL_BYTES + 2 * sizeof(char *));
    if (shares + values + labels <= MOST_BYTES) return 0;
    return run->host->fail(run->context,
        "level=source needs %.0f components at %d rows for %d targets: %.1f GiB, over the limit of "
        "4 GiB; choose fewer rows or targets, or a shorter text",
        components, (int)run->targets.rows.n, (int)run->targets.n,
        (shares + values + labels) / (double)(1 << 30));
}

/* v of an event's rows. */
static int take_values(const psc_event *event, void *payload) {
    const logits_run *run = payload;
    const psc_view *v = &event->tensor;
    const int64_t heads = run->model->n_heads, size = run->model->d_head;
    int32_t n_rows = 0;
    run->host->rows(run->context, &n_rows);
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int64_t row = (int64_t)event->layer * n_rows + event->rows[r].index;
        for (int64_t h = 0; h < heads; h++)
            memcpy(run->read_values + (row * heads + h) * size,
                v->data + r * v->stride[0] + h * v->stride[1], (size_t)size * sizeof(float));
    }
    return 0;
}

int logits_sources_begin(logits_run *run) {
    const psc_host *host = run->host;
    int32_t n_rows = 0;
    const psc_row *rows = host->rows(run->context, &n_rows);
    for (int32_t r = 0; r < n_rows; r++)
        if ((r == 0 || rows[r].sequence != rows[r - 1].sequence) && rows[r].position != 0)
            return host->fail(run->context,
                "level=source needs the values of the whole text, but this run begins at position "
                "%d; run the text from position 0",
                (int)rows[r].position);
    run->n_keys = 0;
    for (int32_t i = 0; i < run->targets.rows.n; i++) {
        const int32_t position = rows[run->targets.rows.index[i]].position;
        if (position >= run->n_keys) run->n_keys = position + 1;
    }
    if (check_size(run)) return -1;
    run->read_values = host->run_alloc(run->context,
        (uint64_t)run->model->n_layers * (uint64_t)n_rows * (uint64_t)run->model->n_heads *
            (uint64_t)run->model->d_head * sizeof(float));
    if (!run->read_values) return -1;
    return host->observe(run->context, PSC_HOOK_V, NULL, take_values, run);
}

void logits_source_shares(const logits_run *run, int32_t layer, const psc_row *row,
    const float *pattern, int64_t stride, const float *w, float *out) {
    const int64_t heads = run->model->n_heads, size = run->model->d_head;
    int32_t n_rows = 0;
    run->host->rows(run->context, &n_rows);
    /* Rows of a sequence follow each other, and it begins at position 0. */
    const int64_t first = (int64_t)layer * n_rows + row->index - row->position;
    for (int64_t h = 0; h < heads; h++) {
        float *to = out + h * run->n_keys;
        for (int64_t j = 0; j <= row->position; j++)
            to[j] =
                pattern[h * stride + j] * run->host->dot(run->context, size, w + h * size,
                                              run->read_values + ((first + j) * heads + h) * size);
        for (int64_t j = (int64_t)row->position + 1; j < run->n_keys; j++) to[j] = 0.0f;
    }
}

int logits_source_labels(logits_run *run, int32_t layer, const char **p) {
    const int64_t n = (int64_t)run->model->n_heads * run->n_keys;
    char *text = run->host->run_alloc(run->context, (uint64_t)n * LABEL_BYTES + 1);
    if (!text) return -1;
    for (int64_t i = 0; i < n; i++) {
        p[i] = text + i * LABEL_BYTES;
        snprintf(text + i * LABEL_BYTES, LABEL_BYTES, "L%dH%d@%d", (int)layer,
            (int)(i / run->n_keys), (int)(i % run->n_keys));
    }
    return 0;
}
