/* A sparse dictionary in memory: packed weights, latents of rows, rows of latents.
 * Private to runtime/ and tests/. Includes coder_config.h, model.h and team.h.
 * Threads: encode and decode use the team, one call at a time; psc_coder_vector is reentrant.
 * Ownership: a coder owns its weights and buffers and borrows the model and the kernels. */
#ifndef CODER_H
#define CODER_H

#include "coder_config.h"
#include "model.h"
#include "team.h"

enum { PSC_CODER_ROWS = 256 }; /* rows of a tile at most */

/* One latent of one row. */
typedef struct psc_coder_entry {
    int32_t id;
    float value;
} psc_coder_entry;

/* The latents of one row that some of the panels gave, ascending unless they were cut to k. */
typedef struct psc_coder_entries {
    psc_coder_entry *at;
    size_t n, capacity;
    float bound; /* a value must be above it, an ABSTOPK's size */
    bool cut;
} psc_coder_entries;

/* Buffers of encode. Lists are [n_parts, PSC_CODER_ROWS]: part p has the latents of its panels. */
typedef struct psc_coder_work {
    float *rows;         /* [PSC_CODER_ROWS, d_in] the input of the product */
    float *gain, *shift; /* [PSC_CODER_ROWS] */
    float **blocks;      /* [n_threads][PSC_CODER_ROWS, outputs of a block] */
    void *room;          /* of the calling thread's kernels */
    psc_coder_entries *lists;
    int64_t begin[PSC_CODER_ROWS + 1]; /* of the rows in ids and values */
    int32_t *ids;
    float *values;
    size_t ids_capacity, values_capacity;
    int32_t n_threads, n_parts;
} psc_coder_work;

typedef struct psc_coder {
    psc_coder_config config;
    psc_dictionary info;
    char in_name[PSC_CODER_TEXT], out_name[PSC_CODER_TEXT];
    const psc_kernels *kernels;
    const float *gamma, *beta; /* of the in point, with in.affine; else null */
    psc_packed encoder, skip;  /* [F, d_in], [d_out, d_in]; skip.panels is null without one */
    float *decoder;            /* [F, d_out] */
    float *b_enc;              /* [F]; null for GATED */
    float *b_dec;              /* [d_out] */
    float *limits;             /* [F] a product must be above it: JUMPRELU, GATED; else null */
    float *rate, *b_mag;       /* [F] of GATED: f = rate product + b_mag; else null */
    psc_coder_work work;
    bool busy; /* encode is in progress */
} psc_coder;

/* point: null, or in place of the folder's (coder_config.h). An error names the file. */
psc_status psc_coder_open(psc_coder **out, const char *path, const char *point,
    const psc_model *model, const psc_kernels *kernels, psc_error *error);
/* A hash of what it computes with: kinds, points and all weights. */
uint64_t psc_coder_contents(const psc_coder *coder);
/* *coder may be null and becomes null. */
void psc_coder_close(psc_coder **coder);

/* psc_host.dictionary_encode; *stopped becomes what fn returned. team null: on this thread. */
psc_status psc_coder_encode(psc_coder *coder, psc_team *team, const float *x, size_t stride,
    int64_t n_rows, psc_latents_fn fn, void *payload, int *stopped, psc_error *error);
/* psc_host.dictionary_decode; latents->ids lie in 0..F-1. */
psc_status psc_coder_decode(psc_coder *coder, psc_team *team, const psc_latents *latents,
    const float *x, size_t stride, float *y, psc_error *error);
/* psc_host.dictionary_skip. */
void psc_coder_skip(
    const psc_coder *coder, bool pullback, float *y, const float *x, int64_t n_rows);
/* Row id of W_enc or W_dec. */
void psc_coder_vector(const psc_coder *coder, int side, int32_t id, float *out);

/* --- parts of the coder, for its own files --- */
/* Reads, checks and packs the tensors of the coder's config (coder_weights.c). */
psc_status psc_coder_read_weights(psc_coder *coder, psc_error *error);
/* Makes the buffers for this many threads, unless they are there (coder_encode.c). */
psc_status psc_coder_make_work(psc_coder *coder, int n_threads, psc_error *error);
void psc_coder_free_work(psc_coder_work *work);
/* out = gamma x + beta, or x itself without in.affine [d_in] (coder_encode.c). */
void psc_coder_affine(const psc_coder *coder, float *out, const float *x);
/* Offers products h [n] of the latents first..first+n-1 to a row's list; false without memory
 * (coder_select.c). */
bool psc_coder_offer(
    const psc_coder *coder, psc_coder_entries *list, const float *h, int32_t first, size_t n);
/* What a row keeps of its n entries, in the order of their ids: returns how many. unordered: they
 * may have any order. */
size_t psc_coder_keep(const psc_coder *coder, psc_coder_entry *entries, size_t n, bool unordered);

#endif
