/* The host's kernels for a plugin's statistics: sums, searches and products over rows of numbers.
 * Public. psc_plugin.h includes it, psc_host.reductions returns it. Includes nothing of ours.
 * Threads: pure functions for any thread of a run, inside parallel_for too.
 * Ownership: the host owns the table; a kernel writes to its outputs alone and keeps nothing.
 *
 * A row has n numbers, i is 0..n-1. Arithmetic is f64 unless stated otherwise. A kernel makes
 * several sums in one pass; they are striped by i mod 16 (docs/numerics.md), so that their bits
 * depend on the row alone. It overwrites sums [k] and what has "=", and adds to what has "+=" or
 * "++". Outputs overlap nothing, unless stated otherwise. Pointers need the alignment of their
 * type and no more. Kernels check nothing. */
#ifndef PSC_REDUCTIONS_H
#define PSC_REDUCTIONS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { /* the entries of terms, which change_sums reads: by_f, by_direct, mean, expected, most, bound */
    PSC_CHANGE_BY_F,
    PSC_CHANGE_BY_DIRECT,
    PSC_CHANGE_MEAN,
    PSC_CHANGE_EXPECTED,
    PSC_CHANGE_MOST,
    PSC_CHANGE_BOUND,
    PSC_CHANGE_TERMS
};

/* It grows at its end: check struct_size before using a member that an older host lacks. */
typedef struct psc_reductions {
    uint32_t struct_size;

    /* --- a row of logits z: exponentials and their sums --- */
    /* y = exp x; y may be x. */
    void (*exp_f64)(double *y, const double *x, size_t n);
    /* e = exp(z - most), p = (float)e; most is at least every z. sums [2]: e; p. */
    void (*exp_row)(float *p, double *sums, const float *z, float most, size_t n);
    /* d = (z - most)/temperature, w = exp d; most as above. sums [3]: w; w w; w d. */
    void (*weigh)(
        double *w, double *sums, const float *z, float most, double temperature, size_t n);
    /* plain = exp d, d = z - most; t = max(d by, -708), scaled = exp t, by = 1/temperature.
     * sums [4]: plain; scaled; scaled scaled; scaled t. */
    void (*weigh_both)(double *plain, double *scaled, double *sums, const float *z, float most,
        double by, size_t n);
    /* Over the i with z[i] not below limit; a and b (nullable) at least 0. sums [4]: a; a a; a b;
     * the smaller of a by_a and b by_b. b null: the last two are 0. */
    void (*masked_sums)(double *sums, const float *z, float limit, const double *a, const double *b,
        double by_a, double by_b, size_t n);

    /* --- two rows of logits: how far apart, and what a change does --- */
    /* e = exp(z - most) in f32; e_f is the other row's, exp(f - its own most), given in f32.
     * sums [4]: e; e (z - most); e_f (z - f); e (z - f). */
    void (*divergence_sums)(
        double *sums, const float *z, float most, const float *f, const float *e_f, size_t n);
    /* g = f + by_direct direct. sums [6]: g; g g; g direct; p g; p g g; p g direct. */
    void (*change_moments)(double *sums, const float *f, const float *direct, double by_direct,
        const float *p, size_t n);
    /* dz = by_f f + by_direct direct, after = (z - most) + dz. sums [6]: |dz|; |dz - mean|;
     * |dz - expected|; exp(after); how many after > bound; how many after >= bound. z null: the
     * last three are 0. */
    void (*change_sums)(double *sums, const float *f, const float *direct, const float *z,
        const double terms[PSC_CHANGE_TERMS], size_t n);
    /* sum += a + b (null: 0); direct = sum by; z = sum by + constant, both in f32. */
    void (*add_writes)(double *sum, float *direct, float *z, const float *a, const float *b,
        const float *constant, double by, size_t n);

    /* --- a row of floats x: its largest, and which elements a bound selects --- */
    /* The greatest of each group of at most 16, ignoring NaN, -inf for an empty group: x[i] is in
     * y[16 (i/256) + i mod 16]. y has 16 ceil(n/256) elements. */
    void (*group_maxima)(float *y, const float *x, size_t n);
    /* The i with x[i] neither below low nor above high, ascending; ids has room for n. */
    void (*indices_within)(
        int32_t *ids, size_t *count, const float *x, size_t n, float low, float high);
    /* The i with x[i] not below limits[i], ascending; ids has room for n. */
    void (*reach_limits)(
        int32_t *ids, size_t *count, const float *x, const float *limits, size_t n);
    /* counts [2]: how many are above limit; how many are neither above nor below it: those equal to
     * it, and NaN. */
    void (*count_from)(int64_t *counts, const float *x, size_t n, float limit);

    /* --- rows of hidden values and their products --- */
    /* y = x gamma + beta in f32, fused, as LayerNorm ends; y may be x. */
    void (*ln_affine)(float *y, const float *x, const float *gamma, const float *beta, size_t n);
    /* y[r ldy + 16 p + i] = x[r] . lane i of panels[p][size][16], with the bits of psc_host.dot. */
    void (*panel_dots)(float *y, size_t ldy, const float *const *x, const float *panels,
        size_t rows, size_t size, size_t n_panels);
    /* squares [16] = v^T G v, G = gram [size, size], symmetric; v = lane i of lanes [size, 16]. */
    void (*gram_squares)(double *squares, const double *gram, const double *lanes, size_t size);
    /* out[i stride + j] += the sum of a[16 t + i] b[16 t + j] over t < n, for i, j < 16: a tile of
     * a product of doubles, one chain of fused multiply-adds per number. */
    void (*add_products)(double *out, size_t stride, const double *a, const double *b, size_t n);
    /* w = |a b|. sums [2]: w; w w. */
    void (*weight_sums)(double *sums, const double *a, const float *b, size_t n);

    /* --- attention --- */
    /* a: what row n-1 of a pattern pays to keys 0..n-1. sums [4]: a; a log a (0 where a is 0); the
     * distance sum a (n-1-i); its variance, the sum of a (n-1-i - distance)^2. */
    void (*pattern_sums)(double *sums, const float *a, size_t n);
    /* Over the a that are not 0: sums [3] of a t; of |a t|; how many. ids: their i with |a b|
     * (b null: |a|) not below bound, ascending, *count of them; room for n. */
    void (*edge_sums)(double *sums, int32_t *ids, size_t *count, const float *a, const float *t,
        const float *b, double bound, size_t n);

    /* --- columns of x [rows, n], whose rows are ldx floats apart: v = x[r ldx + i] --- */
    /* For each row: sum[i] += v; square[i] += v v; least[i], most[i] = the smaller, the greater of
     * themselves and v. */
    void (*add_moments)(double *sum, double *square, double *least, double *most, const float *x,
        size_t ldx, size_t rows, size_t n);
    /* counts[b ld + i] += how many rows have v > bounds[b], for b < n_bounds. */
    void (*count_columns)(int32_t *counts, size_t ld, const float *x, size_t ldx, size_t rows,
        size_t n, const float *bounds, size_t n_bounds);
    /* counts[i bins + bin]++ per row: bin = floor(v by + from), exactly, in 0..bins-1; NaN: 0. bins
     * is at least 1, by at least 2^-20; from - j is exact in f32 for every bin j. From -8 to 8 in
     * 32 bins: by is 2, from is 16. */
    void (*bin_columns)(int32_t *counts, const float *x, size_t ldx, size_t rows, size_t n,
        float by, float from, size_t bins);
    /* most[i] = the greatest of most[i] and every row's |v|, ignoring NaN. */
    void (*column_sizes)(double *most, const float *x, size_t ldx, size_t rows, size_t n);
} psc_reductions;

#ifdef __cplusplus
}
#endif
#endif
