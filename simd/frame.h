/* What the frames (matmul_frame.h and the others) and the tiles of every ISA share. The outer loops
 * are written once over an ISA's vectors; tile_<isa>.h defines the vocabulary.
 * Private to simd/: tile_<isa>.h and the frames.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 * tile_<isa>.h defines, besides the tiles (tile, near_tile, panel_chain and their sizes):
 *
 *      PSC_NAME(op)                    psc_<op>__<isa>
 *      vec, VEC, PANEL_REGISTERS       floats of one register, how many, and registers of a panel
 *      vec_load, vec_store             any address
 *      vec_set, vec_zero, vec_add, vec_sub, vec_mul, vec_div
 *      vec_fma, vec_fnma               a*b + c, -a*b + c
 *      vec_greater(x, max)             x > max ? x : max, so a NaN in x is ignored
 *      load_some, store_some           up to VEC floats of a row with `left` to go; past its end +0
 *      keep_past_end(kept, v, left)    the lanes below `left` from v, the others from kept
 *      load_weights(w, i, dtype)       elements i..i+VEC-1 of aligned panels, widened
 *      load_narrow(x, i, dtype)        the same of f16 or bf16 at any address
 *      fold(lanes)                     the sixteen lanes in PANEL_REGISTERS registers to one number
 *      FOLD_WIDTH, fold_several(sums, acc)   as many accumulators of sixteen lanes at once
 *      half_turn(to, a, odd)           to[i][j] = a[j][2i + odd] of VEC registers a
 *      PULL_ROWS                       rows of the pull-back's tile, which has four k's
 *      QUAD_ROWS                       rows of its tile of four lanes, which has two registers of k's
 *      vec_smaller(limit, x)           limit < x ? limit : x, so a NaN in x passes through
 *      vec_with_sign(a, of)            a >= 0 with the sign of `of`
 *      vec_where_less(a, b, yes, no)   a < b ? yes : no
 *      vec_bits_less, vec64_bits_less  (a, b): bit l: a < b in lane l
 *      vec_count_less(count, a, b)     counts in integers' bits: one more where a < b
 *      vec_powers(t)                   the low nine bits of t as sign and exponent: 2^(t - 127)
 *      vec_sub_bits(a, b)              the difference of the bits, as integers
 *      ACCUMULATE(sum, a, b)           sum = vec_fma(a, b, sum) in place; with KEEP_ORDER, keeps
 *                                      the compiler from spilling
 *      vec_abs, vec_stream, STREAM_END aligned stores past the caches, ended by STREAM_END
 *      vec64, VEC / 2 doubles          the same in doubles
 *      vec64_half, vec64_of_floats     widening
 *      vec64_narrow(to, a)             stores VEC / 2 floats */
#ifndef FRAME_H
#define FRAME_H

#include "kernels.h"

/* Small loops over registers must be unrolled completely, or the accumulators pass through
 * memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
/* Registers whose exp or erf is computed at once, so that their chains of multiply-adds overlap; a
 * multiple of PANEL_REGISTERS. */
#define OVERLAP 4
#define OVERLAP_F64 (VEC > 8 ? 2 : 4) /* of doubles, at most one stripe */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static inline size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* What a tile reads: x[r][k], row stride ldx; w[p][k][16] panels, panel_stride elements apart. */
typedef struct tile_input {
    const float *x;
    size_t ldx;
    const void *w;
    size_t panel_stride;
    size_t n; /* terms */
} tile_input;

/* Most registers of a tile of the many-row matmul. */
#define NEAR_MOST_REGISTERS 4

/* What a tile of the many-row matmul reads and writes: inputs x[r][n] in place, row stride ldx;
 * weights w[n][registers*VEC], widened and in reading order; y row stride ldy; bias (nullable) at
 * the tile's first output. The first rows' tile reads the weights at packed[v], 16 to a term, for
 * register v, and writes w for the other rows. */
typedef struct near_input {
    const float *x;
    size_t ldx;
    float *w;
    const void *packed[NEAR_MOST_REGISTERS];
    size_t n; /* terms */
    float *y;
    size_t ldy;
    const float *bias;
    bool add; /* to the present y */
} near_input;

#endif
