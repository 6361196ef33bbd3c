/* The kernel table: every inner loop of pythiascope, one pointer per kernel, chosen once by ISA.
 * Private to simd/, runtime/, bench/ and tests/. Includes kernels.def only.
 * Threads: kernels are pure; a table is immutable after psc_kernels_for. Nothing allocates.
 * Ownership: every pointer belongs to the caller. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Outputs of a packed panel, lanes of a stripe and keys of a key panel. */
#define PSC_LANES 16
/* The layout that psc_pack makes. Files of packed weights record it: raise it when the layout
 * changes. */
#define PSC_PACK_LAYOUT 1
/* Terms of one chain of fused multiply-adds before it is added to the sum (W_O: d_head instead).
 * The logits' error is 1.4 times that of PyTorch's f32 at 256, and 0.8 times at 128
 * (docs/numerics.md). */
#define PSC_K_BLOCK 128
/* Up to this many rows, matmul reads each weight from memory once; for more rows it first widens
 * groups of panels (matmul_group). */
#define PSC_FEW_ROWS 32

typedef enum psc_dtype { PSC_DTYPE_F32 = 0, PSC_DTYPE_F16 = 1, PSC_DTYPE_BF16 = 2 } psc_dtype;

typedef enum psc_isa {
    PSC_ISA_REFERENCE = 0,
    PSC_ISA_AVX2 = 1,
    PSC_ISA_AVX512 = 2,
    PSC_ISA_NEON = 3,
    PSC_ISA_COUNT = 4
} psc_isa;

/* y = W x (+ bias), W packed in panels: w[panel][k][16] in its dtype, outputs past `out` zero.
 *
 *      panel p            k ->
 *      outputs 16p..   [ w(16p,k) w(16p+1,k) ... w(16p+15,k) ]  contiguous; next k follows
 *
 * Each block of k_block terms is one chain acc = fma(x[k], w, acc) over ascending k from +0. The
 * first block's sum is the total, further sums are added in ascending order, then the bias.
 * blocks (nullable): each block's sum before it is added, blocks[r*ld_row + b*ld_block + o].
 * y may be null when blocks is not. x, y and blocks do not overlap. w is 64-byte aligned.
 * room (nullable): PSC_KERNEL_ROOM bytes that no other thread uses, 64-byte aligned; null: they are
 * taken from the stack, where a caller's may be small. */
#define PSC_KERNEL_ROOM ((size_t)512 << 10)
typedef struct psc_matmul {
    float *y; /* [rows, out], row stride ldy; only the panels' outputs are written */
    size_t ldy;
    const float *x; /* [rows, k], row stride ldx */
    size_t ldx;
    const void *w;     /* panel 0 of the whole matrix */
    const float *bias; /* [out], nullable */
    float *blocks;     /* nullable */
    size_t ld_row, ld_block;
    size_t rows, k, k_block, out;
    size_t panel_begin, panel_end; /* half open; outputs 16*panel_begin .. min(out, 16*panel_end) */
    void *room;
} psc_matmul;

/* y[r][k] = sum over o of W[o][k] u[r][o], for k_begin <= k < k_end: sixteen chains, one per lane
 * (lane = o mod 16), over ascending panels from +0, u past out taken as +0; then lanes +8, +4, +2,
 * +1. Reads the forward panels. y must not overlap u. room: as psc_matmul has it.
 * split: many rows take less time with it; fewer than PSC_SPLIT_ROWS do not read it. Parts of a product
 * are best multiples of PSC_PULL_KS. */
#define PSC_SPLIT_ROWS 28
#define PSC_PULL_KS 48
typedef struct psc_pullback {
    float *y; /* [rows, k], row stride ldy */
    size_t ldy;
    const float *u; /* [rows, out], row stride ldu */
    size_t ldu;
    const void *w;
    size_t rows, k, out;
    size_t k_begin, k_end;
    void *room;
    const float *split; /* nullable: the rows of u after split_lanes, row stride ld_split */
    size_t ld_split;
} psc_pullback;

/* Attention of one head over rows of one sequence.
 * keys:   [ceil(keys/16)][d_head][16], lane = key mod 16
 * values: [ceil(d_head/16)][key_capacity][16], lane = d mod 16
 * Row r sees keys 0..n_keys[r]-1; the rest is neither added to a sum nor written.
 * scores: s = (chain of fma(q[d], k[d], acc) over ascending d from +0) * scale.
 * values: z[d] = chain of fma(pattern[key], v[key][d], acc) over ascending keys from +0 in blocks
 * of PSC_K_BLOCK keys, block sums added in ascending order (the first is the total). */
typedef struct psc_attention {
    float *y; /* scores: [rows, >= max n_keys], values: [rows, d_head]; row stride ldy */
    size_t ldy;
    const float *x; /* scores: q [rows, d_head], values: pattern [rows, keys]; row stride ldx */
    size_t ldx;
    const float *cache; /* the head's key or value panels, 64-byte aligned */
    size_t key_capacity;
    const int32_t *n_keys; /* [rows], >= 1, ascending within the call */
    size_t rows, d_head;
    float scale;
} psc_attention;

/* Sums of subsets: y[r][i] = the chain of additions from +0 over ascending groups g of the sum, over
 * ascending j, of the terms[4g + j][i] whose bit j is in sets[r][g]. A term in no set of a row does not
 * reach it. */
#define PSC_SUBSET_TERMS 4 /* of a group */
typedef struct psc_subsets {
    float *y; /* [rows, n], row stride ldy; overlaps nothing */
    size_t ldy;
    const uint8_t
        *sets; /* [rows, groups], row stride ld_sets; only the low four bits are set, those of
                            terms past n_terms are 0, and so are the bytes up to a multiple of four */
    size_t ld_sets;
    const float *terms; /* [n_terms, n], row stride ld_terms */
    size_t ld_terms, n_terms;
    size_t rows, n;
} psc_subsets;

#define PSC_KERNEL(name, arguments) typedef void(*psc_##name##_fn) arguments;
#include "kernels.def"
#undef PSC_KERNEL

typedef struct psc_kernels {
    psc_isa isa;
    const char *isa_name;
#define PSC_KERNEL(name, arguments) psc_##name##_fn name;
#include "kernels.def"
#undef PSC_KERNEL
    psc_matmul_f32_fn matmul[3];     /* by psc_dtype */
    psc_pullback_f32_fn pullback[3]; /* by psc_dtype */
    size_t matmul_group; /* panels per group of the many-row matmul; tasks are multiples of it */
} psc_kernels;

/* Which ISAs this CPU and build have, as a mask of 1 << psc_isa. The reference is always included,
 * but on x86 it too needs FMA and AVX: without them the mask is 0. */
uint32_t psc_isa_mask(void);
/* "reference", "avx2", "avx512", "neon"; null when out of range. */
const char *psc_isa_name(psc_isa isa);
/* The table for isa: the reference in every slot, overlaid by that ISA and those it contains. Null
 * if isa is not in psc_isa_mask(). */
const psc_kernels *psc_kernels_for(psc_isa isa);
/* The fastest ISA in mask. */
psc_isa psc_isa_best(uint32_t mask);
/* "3.5.1": SLEEF's version. Results record it because SLEEF's erf and exp determine their bits. */
const char *psc_sleef_version(void);

/* The floating-point state: round to nearest, subnormals kept, no traps. enter saves and sets it,
 * leave restores it. A thread runs kernels only between the two. */
typedef struct psc_fp_state {
    uint64_t saved;
} psc_fp_state;
psc_fp_state psc_fp_enter(void);
void psc_fp_leave(psc_fp_state state);

/* --- packing: once per model, not ISA-specific ----------------------------------------------- */

/* Bytes of one element. */
size_t psc_dtype_size(psc_dtype dtype);
/* Elements of W [out, k] in panels: ceil(out/16) * 16 * k. */
size_t psc_packed_elements(size_t out, size_t k);
/* Packs W (row-major, in its dtype, any alignment) into panels. Output o is source row first_row +
 * (o / group) * group_stride + o % group. group = d_head with group_stride = 3 * d_head selects one
 * of q, k, v from the fused query_key_value; group = out keeps the order of rows. */
void psc_pack(void *panels, const void *source, psc_dtype dtype, size_t out, size_t k,
    size_t first_row, size_t group, size_t group_stride);
/* Reads row o of W back from panels as f32 [k]. */
void psc_unpack_row(float *row, const void *panels, psc_dtype dtype, size_t k, size_t o);
/* Reads column c of W [out, k] back from panels as f32 [out]. */
void psc_unpack_column(
    float *column, const void *panels, psc_dtype dtype, size_t out, size_t k, size_t c);
/* f32, f16 and bf16 element i of source, exact. */
float psc_widen(const void *source, psc_dtype dtype, size_t i);

/* Rotary frequencies [half], base^(-i/half). */
void psc_rotary_frequencies(double *frequencies, size_t half, double base);
/* Rotary tables [n, half] of the positions from first on: cos and sin of position * frequency, times
 * scale, in f64, rounded once to f32. */
void psc_rotary_tables(float *cos, float *sin, size_t first, size_t n, size_t half,
    const double *frequencies, double scale);

#endif
