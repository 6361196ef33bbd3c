/* Golden files (.safetensors), model folders, and a recorder of every hook point of a run.
 * Private to tests/; failures are Criterion assertions.
 * Threads: one at a time.
 * Ownership: golden tensors live until psc_tensors_close; a recording owns its data. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "psc.h"
#include "safetensors.h"

#define GOLDEN_MAX_TOKENS 512

/* Folders under tests/golden/parity; ends with null. */
extern const char *const golden_variants[];

/* tests/golden/parity/name, or name/file; in one of four rotating buffers. */
const char *golden_path(const char *name, const char *file);
/* The embedded model's folder, or null if it has no weights. */
const char *golden_embedded(void);

psc_tensors *golden_open(const char *path);
const psc_tensor *golden_find(const psc_tensors *tensors, const char *name);
/* The elements, at any alignment; asserts type and number. The caller frees them with free. */
float *golden_f32(const psc_tensor *tensor, size_t n);
double *golden_f64(const psc_tensor *tensor, size_t n);
/* I32 tensor as tokens, at most GOLDEN_MAX_TOKENS; returns their number. */
int32_t golden_tokens(const psc_tensors *tensors, psc_token *out);

/* Opens sessions and models, or fails the test. isa may be null; 0 means the default. */
psc_model *must_model(const char *folder);
psc_session *must_session(psc_model *model, const char *isa, int32_t threads, int32_t chunk);
void must_run(psc_session *session, const psc_input *inputs, int32_t n_inputs);
void must_run_one(psc_session *session, const psc_token *tokens, int32_t n);

/* --- recordings ------------------------------------------------------------------------------ */

/* Every point of every layer, by sequence and position. Scores and pattern have `length` keys, with
 * -inf and 0 past the keys of an event. */
typedef struct recording {
    psc_model_info info;
    int32_t n_sequences, length;
    int64_t width[PSC_POINT_COUNT]; /* floats of a row; 0: the model lacks the point */
    size_t axes[PSC_POINT_COUNT];   /* with the rows */
    float *data[PSC_POINT_COUNT];   /* [layers][sequences][length][width], NaN until recorded */
    int64_t rows[PSC_POINT_COUNT];  /* rows recorded, over all layers */
} recording;

void recording_open(recording *r, const psc_model_info *info, int32_t n_sequences, int32_t length);
void recording_close(recording *r);
/* Observes every point with r as the payload. */
void recording_attach(recording *r, psc_session *session);
int32_t point_layers(const psc_model_info *info, psc_point point); /* 1 for points outside layers */
/* A row, [width]; layer is -1 or 0 for points outside layers. */
float *recording_row(
    const recording *r, psc_point point, int32_t layer, int32_t sequence, int32_t position);
/* Asserts that n rows of a sequence of a equal those of a sequence of b, to the bit. Compares the
 * keys of the shorter one. what is for the message. */
void recording_assert_same(const recording *a, int32_t sequence_a, const recording *b,
    int32_t sequence_b, int32_t n, const char *what);

#endif
