/* The plugin `weights`: its state, its panels of f64 rows, and the functions that its files share.
 * Private to analysis/weights/; built on psc_plugin.h alone.
 * Threads: called on the report's thread; weights_product uses the whole team.
 * Ownership: the host owns everything, until the report ends. */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include "band.h"
#include "common.h"
#include "top.h"

enum { WEIGHTS_MOST = 100 }; /* entries of a list */

#define WEIGHTS_DEFAULT "frames+spectra+copying+composition+tokens"

enum {
    WEIGHTS_FRAMES = 1,
    WEIGHTS_SPECTRA = 2,
    WEIGHTS_COPYING = 4,
    WEIGHTS_COMPOSITION = 8,
    WEIGHTS_TOKENS = 16,
    WEIGHTS_DUAL = 32,
    WEIGHTS_HEADS = 64,
    WEIGHTS_ALL = 127,
    WEIGHTS_DEFAULT_PARTS = 31 /* WEIGHTS_DEFAULT */
};

/* A row of the vocabulary: e_t unchanged, P(e_t), u_t = P(gamma_f * t_bar), t_bar. */
typedef enum weights_rows { ROWS_EMBED, ROWS_EMBED_CENTERED, ROWS_U, ROWS_UNEMBED } weights_rows;

/* What is kept per head: triangles [d, d] of its factors' QR, transposed: x[column][row]. The first
 * three multiply a reading in composition (weights_composition.c has the same kinds): R_K turn^T
 * after Q, R_Q turn after K, R_O after V. The last is R_V, of the writer. */
enum { BEHIND_Q, BEHIND_K, BEHIND_V, TRIANGLE_V, N_TRIANGLES };

typedef struct weights_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    const psc_reductions *reductions;
    uint32_t what;
    int32_t offset, top, triples;
    int named; /* the option `what` differs from default and all */
    int32_t n_given, *given;
    int64_t n, padded;     /* d_model; rounded up to PSC_TILE */
    const float *gamma_f;  /* [N] */
    double *s_embed, *s_u; /* [padded, padded] sum e e^T, sum u u^T */
    double *cross;         /* [padded, padded] sum u e^T */
    psc_band band;
    double *bands;             /* [2, N, PSC_BAND + 1] two bands, and their spare room */
    double *triangles;         /* [L, H, N_TRIANGLES, d, d] */
    double *norm_qk, *norm_ov; /* [L, H] Frobenius norms */
    double *s_qk, *s_ov;       /* [L, H, d] singular values */
    double *directions;        /* [4, L, H, triples, N]: query, key, read, write */
    double *composition[3];    /* [L, H, L, H] results */
    double *copying;           /* [L, H] result */
} weights_state;

/* Where the parts begin on the way from 0 to 1, by their usual processor time. */
#define WEIGHTS_FROM_DUAL 0.3
#define WEIGHTS_FROM_HEADS 0.4
#define WEIGHTS_FROM_MLP 0.5
#define WEIGHTS_FROM_COMPOSITION 0.7
#define WEIGHTS_FROM_TOKENS 0.9

/* --- steps, one file each -------------------------------------------------------------------- */

/* Reports `done` of the `of` steps of the part of the work from `from` to `to`. */
void weights_progress(weights_state *s, double from, double to, int64_t done, int64_t of);
/* run_alloc for n doubles. */
double *weights_doubles(weights_state *s, int64_t n);
/* out [count, N]: rows of f32 weights (columns nonzero: columns), `stride` floats apart, times
 * gamma (nullable), each minus its mean; also as the first rows of panels (nullable). */
void weights_vectors(weights_state *s, double *out, const float *from, int64_t stride,
    int64_t count, int columns, const float *gamma, psc_panels *panels);
/* scratch [N]. May be called in parallel_for. */
int weights_row(weights_state *s, weights_rows kind, int32_t token, float *scratch, double *out);
/* Singular values, from the eigenvalues that are their squares; 0 after the first `rank`. */
void weights_roots(double *out, const double *eigenvalues, int64_t n, int64_t rank);
double weights_effective_rank(int64_t n, const double *singular_values);
/* Eigenvalues, descending, of one or two symmetric matrices [padded, padded]. The matrices are
 * overwritten; the first `vectors` by their eigenvectors as rows, in the order of the values. */
int weights_eigen(
    weights_state *s, double *const *matrices, double *const *values, int n_matrices, int vectors);

/* Computes the sums over the vocabulary that `what` needs: s_embed, s_u, cross. */
int weights_vocabulary(weights_state *s);
int weights_frames(weights_state *s);
int weights_tokens(weights_state *s);
int weights_mlp(weights_state *s);
int weights_heads(weights_state *s);
int weights_head_tokens(weights_state *s);
int weights_composition(weights_state *s);
/* The rows of the vocabulary nearest to each of n directions [n, N]. signs: rank by |cosine|.
 * except: one token to leave out per direction, or null. */
int weights_nearest(weights_state *s, weights_rows kind, int64_t n, const double *directions,
    int signs, const int32_t *except, int32_t *ids, double *cosines);

int weights_copying_summary(weights_state *s);
int weights_composition_summary(weights_state *s);
int weights_spectra_summary(weights_state *s, const double *rank_qk, const double *rank_ov);

#endif
