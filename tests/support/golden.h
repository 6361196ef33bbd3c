/* Golden files (.safetensors), model folders, and a recorder of everything a run shows.
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

/* tests/golden/parity/name, or name/file; one of four buffers that take turns. */
const char *golden_path(const char *name, const char *file);
/* The embedded model's folder, null while it has no weights. */
const char *golden_embedded(void);

psc_tensors *golden_open(const char *path);
const psc_tensor *golden_find(const psc_tensors *tensors, const char *name);
/* The elements, which may lie at any alignment; type and number are asserted. Freed by free. */
float *golden_f32(const psc_tensor *tensor, size_t n);
double *golden_f64(const psc_tensor *tensor, size_t n);
/* I32 tensor as tokens, at most GOLDEN_MAX_TOKENS; returns how many. */
int32_t golden_tokens(const psc_tensors *tensors, psc_token *out);

/* Sessions and models that must open. isa may be null; 0 stands for the default. */
psc_model *must_model(const char *folder);
psc_session *must_session(psc_model *model, const char *isa, int32_t threads, int32_t chunk);
void must_run(psc_session *session, const psc_input *inputs, int32_t n_inputs);
void must_run_one(psc_session *session, const psc_token *tokens, int32_t n);

/* --- recordings ------------------------------------------------------------------------------ */

/* Every point of every layer, by sequence and position. Scores and pattern have `length` keys,
 * -inf and 0 beyond what an event held. */
typedef struct recording {
    psc_model_info info;
    int32_t n_sequences, length;
    int64_t width[PSC_POINT_COUNT]; /* floats of a row; 0: the model has no such point */
    size_t axes[PSC_POINT_COUNT];   /* with the rows */
    float *data[PSC_POINT_COUNT];   /* [layers][sequences][length][width], NaN until shown */
    int64_t rows[PSC_POINT_COUNT];  /* rows shown, over all layers */
} recording;

void recording_open(recording *r, const psc_model_info *info, int32_t n_sequences, int32_t length);
void recording_close(recording *r);
/* Observes every point with r as the payload. */
void recording_attach(recording *r, psc_session *session);
int32_t point_layers(const psc_model_info *info, psc_point point); /* 1 where there are none */
/* A row, [width]; layer is -1 or 0 where there is none. */
float *recording_row(
    const recording *r, psc_point point, int32_t layer, int32_t sequence, int32_t position);
/* Asserts that n rows of a sequence of a are, to the bit, those of a sequence of b. The shorter's
 * keys are compared. what is for the message. */
void recording_assert_same(const recording *a, int32_t sequence_a, const recording *b,
    int32_t sequence_b, int32_t n, const char *what);

#endif
