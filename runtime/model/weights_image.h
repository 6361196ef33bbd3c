/* A model's packed weights as one block of bytes, in memory or in a file.
 * Private to runtime/ and tests/. Includes model_weights.h, model.h and files.h.
 * Threads: one at a time.
 * Ownership: a plan borrows the checkpoint and the model; its opener closes it. */
#ifndef WEIGHTS_IMAGE_H
#define WEIGHTS_IMAGE_H

#include "files.h"
#include "model.h"
#include "model_weights.h"

/* To be raised when the order of the pieces, their alignment, or the rounding of the mean
 * unembedding (a pullback) changes. PSC_PACK_LAYOUT (kernels.h) is the version of the panels.
 * 2: images of weights that are not finite are no longer made. */
#define PSC_IMAGE_VERSION 2

typedef enum psc_piece_kind {
    PSC_PIECE_ROWS,   /* as in the file */
    PSC_PIECE_PANELS, /* psc_pack */
    PSC_PIECE_FLOATS, /* a vector, widened */
    PSC_PIECE_MEAN    /* W_U^T 1 / V, the mean of the unembedding's rows */
} psc_piece_kind;

/* Outputs o = 0..out-1 of a matrix or vector: rows first_row + o / group * stride + o % group of
 * its source. floats or panels is the model's pointer to them. */
typedef struct psc_piece {
    psc_piece_kind kind;
    const psc_weight *source;
    size_t out, first_row, group, stride;
    uint64_t offset, bytes;
    const float **floats;
    const void **panels;
} psc_piece;

/* The pieces follow the order of the tensors in the identity, so that one pass over the files
 * hashes and packs; each begins at a multiple of 64 bytes. A plan depends on the config and the
 * tensors' types alone, so offsets are never read from a cache file. */
typedef struct psc_image_plan {
    psc_piece *pieces;
    size_t n, capacity;
    uint64_t bytes;
    const psc_checkpoint *checkpoint;
    psc_model *model;
} psc_image_plan;

/* Makes a plan. model->layers must be allocated; the call sets the shapes of its matrices. */
psc_status psc_image_plan_open(
    psc_image_plan *out, psc_model *model, const psc_checkpoint *checkpoint, psc_error *error);
void psc_image_plan_close(psc_image_plan *plan);
/* A digest that differs between different plans. */
uint64_t psc_image_plan_digest(const psc_image_plan *plan);

/* Points the model into the image, which the caller still owns. */
void psc_image_attach(const psc_image_plan *plan, const unsigned char *image);

/* Receives the image's next bytes; nonzero ends the packing with PSC_ERROR_IO. */
typedef int (*psc_image_sink)(const void *data, size_t size, void *payload);
/* Packs everything except the mean unembedding, which is the last piece, into memory (plan->bytes
 * of zeros) or, slice by slice, to sink; one of the two is null. hex receives the model's identity.
 * The call gives back pages of the files tensor by tensor. */
psc_status psc_image_pack(char hex[33], const psc_image_plan *plan, unsigned char *memory,
    psc_image_sink sink, void *payload, psc_error *error);
/* The mean unembedding [d_model], from the packed image. */
psc_status psc_image_mean(
    float *mean, const psc_image_plan *plan, const unsigned char *image, psc_error *error);

#endif
