/* Hook points and what comes through them: rows, tensors, events, and the
 * filter that selects events.
 * Public. psc_plugin.h includes it.
 * Threads: plain structures.
 * Ownership: an event and its arrays are the host's, and live for the callback. */
#ifndef PSC_EVENTS_H
#define PSC_EVENTS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- hook points, under TransformerLens's names ----------------------------------------------
 * The letters of a shape: X(letter, extent as a member of psc_model_info). Two more are '1' and
 * 'K', the keys: the largest position in the event + 1. */
#define PSC_AXES(X) X('N', d_model) X('H', n_heads) X('D', d_head) X('M', d_mlp) X('V', d_vocab)
/* X(enumerator, name, shape after [rows], per layer). Layer names are "blocks.{l}." + name. All
 * tensors are f32. Past a row's own position, scores are -inf and the pattern is 0. */
#define PSC_POINTS(X)                                                                              \
    X(PSC_HOOK_EMBED, "hook_embed", "N", 0)                                                        \
    X(PSC_HOOK_RESID_PRE, "hook_resid_pre", "N", 1)                                                \
    X(PSC_HOOK_LN1_SCALE, "ln1.hook_scale", "1", 1)                                                \
    X(PSC_HOOK_LN1_NORMALIZED, "ln1.hook_normalized", "N", 1)                                      \
    X(PSC_HOOK_Q, "attn.hook_q", "HD", 1)                                                          \
    X(PSC_HOOK_K, "attn.hook_k", "HD", 1)                                                          \
    X(PSC_HOOK_V, "attn.hook_v", "HD", 1)                                                          \
    X(PSC_HOOK_ROT_Q, "attn.hook_rot_q", "HD", 1)                                                  \
    X(PSC_HOOK_ROT_K, "attn.hook_rot_k", "HD", 1)                                                  \
    X(PSC_HOOK_ATTN_SCORES, "attn.hook_attn_scores", "HK", 1)                                      \
    X(PSC_HOOK_PATTERN, "attn.hook_pattern", "HK", 1)                                              \
    X(PSC_HOOK_Z, "attn.hook_z", "HD", 1)                                                          \
    X(PSC_HOOK_RESULT, "attn.hook_result", "HN", 1)                                                \
    X(PSC_HOOK_ATTN_OUT, "hook_attn_out", "N", 1)                                                  \
    X(PSC_HOOK_RESID_MID, "hook_resid_mid", "N", 1) /* sequential models only */                   \
    X(PSC_HOOK_LN2_SCALE, "ln2.hook_scale", "1", 1)                                                \
    X(PSC_HOOK_LN2_NORMALIZED, "ln2.hook_normalized", "N", 1)                                      \
    X(PSC_HOOK_MLP_PRE, "mlp.hook_pre", "M", 1)                                                    \
    X(PSC_HOOK_MLP_POST, "mlp.hook_post", "M", 1)                                                  \
    X(PSC_HOOK_MLP_OUT, "hook_mlp_out", "N", 1)                                                    \
    X(PSC_HOOK_RESID_POST, "hook_resid_post", "N", 1)                                              \
    X(PSC_HOOK_LN_FINAL_SCALE, "ln_final.hook_scale", "1", 0)                                      \
    X(PSC_HOOK_LN_FINAL_NORMALIZED, "ln_final.hook_normalized", "N", 0)                            \
    X(PSC_HOOK_LOGITS, "hook_logits", "V", 0)

typedef enum psc_point {
#define PSC_POINT_ENUMERATOR(id, name, shape, layered) id,
    PSC_POINTS(PSC_POINT_ENUMERATOR)
#undef PSC_POINT_ENUMERATOR
        PSC_POINT_COUNT
} psc_point;

/* One token being processed. */
typedef struct psc_row {
    int32_t index;       /* 0-based among all rows of the run, ordered by (sequence, position) */
    int32_t sequence;    /* which sequence of the session */
    int32_t position;    /* 0-based in its sequence */
    int32_t token;       /* its id */
    int32_t next;        /* the next row's id in this run; -1 in the sequence's last row */
    uint32_t start, end; /* its bytes in the text as given; 0, 0 without a text */
} psc_row;

/* A tensor of up to four axes: element (i, j, ...) is data[i*stride[0] + j*stride[1] + ...]. The
 * last axis is contiguous. */
typedef struct psc_view {
    float *data; /* an observer must not write to it */
    int32_t n_axes;
    int64_t shape[4];
    int64_t stride[4]; /* in elements */
} psc_view;

/* What a callback receives; valid during the call. The tensor's first axis is the event's rows. A
 * long run arrives in several events (chunks), with the rows in ascending order. */
typedef struct psc_event {
    uint32_t struct_size;
    int32_t point; /* psc_point */
    int32_t layer; /* -1 where there is none */
    int32_t n_rows;
    const psc_row *rows;
    psc_view tensor;
    psc_view before; /* for observers of an edited tensor, its value before the edits; else zero */
    const int32_t *heads; /* the heads in axis 1 when the filter chose some; else null */
    int32_t n_heads;
    int32_t gradient; /* nonzero: the tensor is dm/d(point), m the run's metric (psc_metric); it is
                         the subscription's psc_gradient_mode */
} psc_event;

typedef int (*psc_event_fn)(const psc_event *event, void *payload);

typedef enum psc_rows_mode {
    PSC_ROWS_ALL = 0,
    PSC_ROWS_LAST = 1, /* the last row of each sequence in the run */
    PSC_ROWS_RANGE = 2 /* row_begin <= position < row_end */
} psc_rows_mode;

/* Events of gradients, in runs with a metric. A gradient comes once, for all rows of the run; layers
 * descend. */
typedef enum psc_gradient_mode {
    PSC_GRADIENT_SHOWN = 1, /* an editor may change it: earlier gradients come from the change */
    PSC_GRADIENT_THROUGH =
        2 /* editors only: how the gradient goes back through an edit of the value.
                                After all others saw the gradient of the edited value, each receives
                                it, the last registered first, and leaves the gradient of the value
                                before its edit: J^T g, J the edit's derivative. It maps 0 to 0 */
} psc_gradient_mode;

/* Selects the events that a client receives; zeroed: all. Tensors that no client requests are never
 * computed. Events hold the selected rows and heads only. The host copies the arrays. */
typedef struct psc_filter {
    uint32_t struct_size;
    const int32_t *layers; /* ascending */
    int32_t n_layers;      /* 0: all */
    const int32_t *heads;  /* ascending */
    int32_t n_heads;       /* 0: all; only points with an H axis */
    int32_t rows;          /* psc_rows_mode */
    int32_t row_begin, row_end;
    int32_t edited_only; /* observers: only events of an edited tensor (before.data set) */
    int32_t gradient;    /* psc_gradient_mode; 0: only events of values */
} psc_filter;
#define PSC_FILTER_INIT                                                                            \
    { sizeof(psc_filter), 0, 0, 0, 0, PSC_ROWS_ALL, 0, 0, 0, 0 }

#ifdef __cplusplus
}
#endif

#endif
