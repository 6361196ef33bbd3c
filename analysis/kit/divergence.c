/* KL between the unchanged prediction p of a row and a changed one p', in f64:
 *
 *   KL(p || p') = sum_t p_t (z_t - z'_t) - (lse z - lse z'),  dlogp = (z'_t - lse z') - (z_t - lse z)
 *
 * p [rows, V] is computed once per row of a sequence. The sum over the vocabulary runs in blocks,
 * each striped by i mod 16, and blocks are added in ascending order. So bits do not depend on the
 * number of threads. */
#include "divergence.h"

#include <math.h>

#define BLOCK 8192                     /* tokens of one task */
#define MOST_BYTES ((uint64_t)1 << 30) /* of p */

static int32_t longest_sequence(const psc_row *rows, int32_t n_rows) {
    int32_t longest = 0, length = 0;
    for (int32_t r = 0; r < n_rows; r++) {
        length = r > 0 && rows[r].sequence == rows[r - 1].sequence ? length + 1 : 1;
        if (length > longest) longest = length;
    }
    return longest;
}

int psc_divergence_begin(psc_context *context, const psc_host *host, psc_divergence *out) {
    psc_divergence *d = out;
    *d = (psc_divergence){.context = context, .host = host};
    d->rows = host->rows(context, &d->n_rows);
    d->n_vocab = host->model(context)->d_vocab;
    d->n_blocks = (d->n_vocab + BLOCK - 1) / BLOCK;
    d->longest = longest_sequence(d->rows, d->n_rows);
    const uint64_t rows = (uint64_t)d->longest, vocab = (uint64_t)d->n_vocab;
    const uint64_t bytes = rows * vocab * sizeof *d->p;
    if (bytes > MOST_BYTES)
        return host->fail(context,
            "the predictions of %d rows need %.0f MB, but at most %.0f MB are allowed; use a "
            "shorter text",
            (int)d->longest, (double)bytes * 1e-6, (double)MOST_BYTES * 1e-6);
    d->p = host->run_alloc(context, bytes);
    d->lse = host->run_alloc(context, rows * sizeof *d->lse);
    d->parts = host->run_alloc(context, rows * (uint64_t)(1 + d->n_blocks) * sizeof *d->parts);
    d->ids = host->run_alloc(context, vocab * sizeof *d->ids);
    if (!d->p || !d->lse || !d->parts || !d->ids) return -1;
    d->handle = host->retain(context, PSC_HOOK_LOGITS, NULL);
    return d->handle < 0 ? -1 : 0;
}

int psc_divergence_open(psc_divergence *d, int32_t first, int32_t n) {
    static const psc_strategy everything = PSC_STRATEGY_INIT; /* weights exp(z - max z) of all */
    psc_event kept;
    if (d->host->fetch(d->context, d->handle, -1, &kept)) return -1;
    d->logits = kept.tensor;
    d->first = first;
    d->n = n;
    for (int32_t r = 0; r < n; r++) {
        const float *z = psc_view_row(&d->logits, first + r);
        double *p = d->p + r * d->n_vocab, sums[16] = {0};
        if (d->host->keep(d->context, &everything, z, d->ids, p) != (int32_t)d->n_vocab)
            return d->host->fail(d->context, "the logits of row %d are not all finite numbers",
                (int)d->rows[first + r].position);
        for (int64_t i = 0; i < d->n_vocab; i++) sums[i % 16] += p[i];
        const double sum = psc_fold16(sums);
        for (int64_t i = 0; i < d->n_vocab; i++) p[i] /= sum;
        d->lse[r] = d->host->log_sum_exp(d->context, d->n_vocab, z);
    }
    return 0;
}

/* sum p (z - y) */
static double expect_difference(int64_t n, const double *p, const float *z, const float *y) {
    double sums[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) sums[l] += p[i + l] * ((double)z[i + l] - (double)y[i + l]);
    for (; i < n; i++) sums[i % 16] += p[i] * ((double)z[i] - (double)y[i]);
    return psc_fold16(sums);
}

/* Task 0 of a row is log sum exp of its changed logits, the others are blocks of the sum. */
static void compare_parts(int64_t begin, int64_t end, int32_t thread, void *payload) {
    psc_divergence *d = payload;
    (void)thread;
    for (int64_t task = begin; task < end; task++) {
        const int64_t i = task / (1 + d->n_blocks), part = task % (1 + d->n_blocks);
        const float *changed = d->changed + i * d->stride;
        if (part == 0) {
            d->parts[task] = d->host->log_sum_exp(d->context, d->n_vocab, changed);
            continue;
        }
        const int64_t from = (part - 1) * BLOCK, left = d->n_vocab - from;
        d->parts[task] = expect_difference(left < BLOCK ? left : BLOCK,
            d->p + (d->index[i] - d->first) * d->n_vocab + from,
            psc_view_row(&d->logits, d->index[i]) + from, changed + from);
    }
}

void psc_divergence_rows(psc_divergence *d, int32_t n, const int32_t *index, const float *changed,
    int64_t stride, double *kl, double *dlogp) {
    d->index = index;
    d->changed = changed;
    d->stride = stride;
    d->host->parallel_for(d->context, n * (1 + d->n_blocks), compare_parts, d);
    for (int32_t i = 0; i < n; i++) {
        const double *parts = d->parts + i * (1 + d->n_blocks), lse = d->lse[index[i] - d->first];
        const int32_t next = d->rows[index[i]].next;
        double sum = 0.0;
        for (int64_t b = 1; b <= d->n_blocks; b++) sum += parts[b];
        sum += parts[0] - lse;
        kl[i] = sum < 0.0 ? 0.0 : sum; /* rounding may go below 0 */
        if (!dlogp) continue;
        const double before = next < 0 ? NAN : (double)psc_view_row(&d->logits, index[i])[next];
        dlogp[i] =
            next < 0 ? NAN : ((double)changed[i * stride + next] - parts[0]) - (before - lse);
    }
}
