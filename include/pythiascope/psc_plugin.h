/* The one header of a plugin's author: events, the plugin's callbacks, the host's table.
 * Public. A plugin includes this and links nothing of pythiascope's; built-ins do the same.
 * Threads: callbacks run one at a time, on the thread that is calling into the session.
 * Ownership: the host owns what it hands out; each declaration states how long that lives.
 *
 * A plugin is a shared object with one symbol, psc_plugin_entry, which returns a const psc_plugin.
 * The life of an instance: open -> (run_begin -> events -> run_end -> report)* -> close. Over a
 * corpus, psc_session_report calls report, not each run. In open or run_begin a plugin subscribes
 * to the tensors that it reads (host->observe) or changes (host->edit). A callback that returns
 * nonzero aborts the run; host->fail sets the sentence that says why. A run whose error is set
 * fails, whatever the callback returns. The file is long because an author includes no other. */
#ifndef PSC_PLUGIN_H
#define PSC_PLUGIN_H

#include <stdint.h>

#include "psc_dictionary.h"
#include "psc_edges.h"
#include "psc_error.h"
#include "psc_events.h"
#include "psc_metric.h"
#include "psc_reductions.h"
#include "psc_shards.h"
#include "psc_treebank.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A host loads plugins of its own ABI only. Within one ABI, the host table and the structures that
 * open with struct_size grow at their end; other structures never change. */
#define PSC_PLUGIN_ABI 2

/* --- what the host provides ------------------------------------------------------------------ */

/* The form of the MLP's activation, gelu(a) = a * gate(a). */
typedef enum psc_gelu {
    PSC_GELU_ERF, /* gate = (1 + erf(a/sqrt 2))/2 */
    PSC_GELU_TANH /* gate = (1 + tanh(sqrt(2/pi) (a + 0.044715 a^3)))/2 */
} psc_gelu;

typedef struct psc_model_info {
    uint32_t struct_size;
    int32_t n_layers, n_heads, d_model, d_head, d_mlp, d_vocab, n_ctx;
    int32_t rotary_dims;
    int32_t parallel_residual, tied;
    float layer_norm_eps;
    const char *hash; /* XXH3-128 as 32 hex digits */
    const char *path; /* the folder */
    const char *name; /* for people: "EleutherAI/pythia-160m@step3000", or the folder's last part */
    int32_t gelu;     /* psc_gelu */
} psc_model_info;

/* Weight matrices, y = W x. W_Q, W_K, W_V: [H*D, N]; W_O: [N, H*D]; W_IN: [M, N]; W_OUT: [N, M];
 * W_U (unembedding): [V, N]. */
typedef enum psc_matrix {
    PSC_W_Q,
    PSC_W_K,
    PSC_W_V,
    PSC_W_O,
    PSC_W_IN,
    PSC_W_OUT,
    PSC_W_U,
    PSC_MATRIX_COUNT
} psc_matrix;

typedef enum psc_ln { PSC_LN1, PSC_LN2, PSC_LN_FINAL } psc_ln;

typedef enum psc_target_kind {
    PSC_TARGET_TOKEN,    /* one id */
    PSC_TARGET_NEXT,     /* the text's own next token (psc_row.next) */
    PSC_TARGET_TOP,      /* the rank-th most probable at each row */
    PSC_TARGET_CONTRAST, /* z_a - z_b */
    PSC_TARGET_EXAMPLE   /* of each sequence its own (psc_example): z_a, or z_a - z_b */
} psc_target_kind;

typedef struct psc_target {
    int32_t kind;      /* psc_target_kind */
    int32_t a, b;      /* ids; -1 where absent */
    int32_t rank;      /* 0-based, PSC_TARGET_TOP */
    const char *label; /* ' Emerald', #50280, next, top:1, ' he' - ' she', example */
} psc_target;

typedef enum psc_component_kind {
    PSC_COMPONENT_EMBED,     /* embed */
    PSC_COMPONENT_HEAD,      /* L0H3 */
    PSC_COMPONENT_ATTN_BIAS, /* 0_attn_bias */
    PSC_COMPONENT_ATTN_OUT,  /* 0_attn_out */
    PSC_COMPONENT_NEURON,    /* L0N12 */
    PSC_COMPONENT_MLP_BIAS,  /* 0_mlp_bias */
    PSC_COMPONENT_MLP_OUT,   /* 0_mlp_out */
    PSC_COMPONENT_EDIT       /* edit */
} psc_component_kind;

/* Added to a psc_element (psc_error.h), it leaves the array's contents undefined. For a plugin that
 * writes every element itself: filling a large array takes as long as computing it. */
#define PSC_UNFILLED 16

/* The purpose of a run. Only plugins that set `phases` see PSC_PHASE_SOURCE and PSC_PHASE_BASE;
 * over a corpus, BASE only those with PSC_PHASES_COMPARES. */
typedef enum psc_phase {
    PSC_PHASE_ONLY = 0,   /* an ordinary run */
    PSC_PHASE_SOURCE = 1, /* another prompt, whose values will be put into the changed run */
    PSC_PHASE_BASE = 2,   /* the prompt unchanged; editors must not edit */
    PSC_PHASE_CHANGED = 3 /* the prompt with the changes */
} psc_phase;

/* The source() of the k-th prompt of a whole set is PSC_SOURCE_SET + k (whole_set). */
enum { PSC_SOURCE_SET = 1 << 30 };

/* --- accumulation over documents -------------------------------------------------------------
 * An accumulator is n slots under a name. The host holds, merges, saves and loads it, so any split,
 * order or resumption gives the same bits. A plugin adds each sequence's partial once. */
typedef enum psc_accumulate {
    PSC_ACCUMULATE_SUM = 0, /* f64 partials, each rounded once to 128-bit fixed point, grid 2^-40 */
    PSC_ACCUMULATE_COUNT = 1, /* whole numbers >= 0, as 64-bit integers */
    PSC_ACCUMULATE_MIN = 2,   /* f64; +inf before the first */
    PSC_ACCUMULATE_MAX = 3,   /* f64; -inf before the first */
    PSC_ACCUMULATE_TOP = 4    /* the k largest values of each slot, with their rows */
} psc_accumulate;

/* One of a slot's largest values, and the row that it comes from. */
#define PSC_TOP_BEFORE 12 /* tokens kept before the row */
#define PSC_TOP_AFTER 4   /* and after it */
typedef struct psc_top {
    double value;
    int64_t document; /* its number in the corpus; ties go to the lower document, then position */
    int32_t position; /* of the row in its document, in tokens */
    int32_t tokens[PSC_TOP_BEFORE + 1 + PSC_TOP_AFTER]; /* around the row; -1 outside the window */
} psc_top;

/* --- variants: the same run with changes ------------------------------------------------------ */
typedef enum psc_change_kind {
    PSC_CHANGE_SCALE = 0, /* value * alpha; +0 where alpha is 0 */
    PSC_CHANGE_SET = 1,   /* value = values */
    PSC_CHANGE_ADD = 2,   /* value + alpha * values, one fused multiply-add */
    PSC_CHANGE_CUT = 3,   /* the score of `key` = -inf (PSC_HOOK_ATTN_SCORES) */
    PSC_CHANGE_FIX = 4    /* as SET, at points without keys. In host->gradients the value is a
                             constant: its own gradient is 0, so is what goes through it; of a SET
                             or SCALE the gradient goes through as if a constant were added */
} psc_change_kind;

/* An edit of one point, on rows row_begin <= position < row_end of one sequence. */
typedef struct psc_change {
    uint32_t struct_size; /* exactly this structure's: they are an array */
    int32_t kind;         /* psc_change_kind */
    int32_t point, layer; /* psc_point, up to the last layer's hook_resid_post; -1: no layer */
    int32_t sequence, row_begin, row_end;
    int32_t head; /* of points with an H axis; -1: all */
    int32_t key;  /* of scores and pattern: one key's position; -1: all keys, SCALE only */
    float alpha;  /* of SCALE and ADD; finite */
    const float
        *values;    /* of SET, FIX and ADD: [rows, heads, width]; heads is 1 for one head or without
                            an H axis, width is 1 for one key */
    int64_t stride; /* floats from one row of values to the next; 0: one row for all */
} psc_change;

typedef struct psc_variant {
    uint32_t struct_size;
    int32_t n_changes;         /* at least 1; 0 with edges */
    const psc_change *changes; /* all of one sequence */
    int32_t row_end;           /* only rows with position < row_end are computed and shown, and may
                                  change; 0: to the end of the sequence */
    const psc_edges *edges;    /* psc_edges.h; null: none */
    int32_t n_token_ids;      /* 0: the logits of all tokens; else those of token_ids alone, so that
                                  the event's tensor is [rows, n_token_ids] in their order */
    const int32_t *token_ids; /* [n_token_ids], each 0..d_vocab-1; one may occur twice */
} psc_variant;

/* Receives the logits of one variant's rows, valid during the call; nonzero ends host->variants.
 * Variants come in ascending order, once each. */
typedef int (*psc_variant_fn)(int32_t variant, const psc_event *logits, void *payload);

/* Added to a point in host->gradients: the values there of a variant with
 * changes, not the gradient. */
enum { PSC_POINT_VALUES = 256 };

/* Receives the gradient of one variant's metric at one point and layer, of the variant's rows in
 * the order of the run; valid during the call. Nonzero ends host->gradients. */
typedef int (*psc_gradient_fn)(int32_t variant, const psc_event *gradient, void *payload);

/* --- folders of parameters --------------------------------------------------------------------
 * config.json (one object) beside params.safetensors, as common libraries lay them out. */
typedef enum psc_setting_kind {
    PSC_SETTING_TEXT = 0,
    PSC_SETTING_NUMBER = 1,
    PSC_SETTING_BOOLEAN = 2
} psc_setting_kind;

typedef struct psc_setting { /* an entry of config.json */
    const char *key;
    int32_t kind; /* psc_setting_kind */
    const char *text;
    double number; /* of a boolean 0 or 1 */
} psc_setting;

typedef struct psc_named_tensor {
    const char *name;
    int32_t n_axes;
    int64_t shape[4];
    const float *data; /* row-major */
} psc_named_tensor;

/* --- sampling ---------------------------------------------------------------------------------
 * How the next token is drawn: divide the logits by the temperature; keep the top_k largest; then
 * the smallest set with a mass >= top_p; then the tokens with at least min_p times the probability
 * of the top token. Ties go to the lower id. */
typedef struct psc_strategy {
    uint32_t struct_size;
    double temperature; /* >= 0; 0: greedy, whatever the other members say */
    int32_t top_k;      /* 0: off; d_vocab or more keeps all */
    double top_p;       /* in (0, 1]; 0 or 1: off */
    double min_p;       /* in [0, 1]; 0: off */
} psc_strategy;
#define PSC_STRATEGY_INIT                                                                          \
    { sizeof(psc_strategy), 1.0, 0, 0.0, 0.0 }

/* A prefix of the order of logits (descending, ties to the lower id): the n tokens above bound, and
 * those equal to bound with ids up to `last`. Every strategy keeps a prefix. */
typedef struct psc_kept_prefix {
    uint32_t struct_size;
    float bound;
    int32_t last, n;
} psc_kept_prefix;

/* --- options ----------------------------------------------------------------------------------
 * A plugin describes its options in a table. The host checks every value before open, fills a
 * structure of the plugin from the table (host->options), and prints the table as help. */
typedef enum psc_option_kind { /* the field's type: the values it takes */
    PSC_OPTION_TEXT = 0,       /* const char *: any text; lives as long as the instance */
    PSC_OPTION_WORD = 1,       /* int32_t: the index of one of `words` */
    PSC_OPTION_WORDS = 2,  /* uint32_t: words joined by +, each the bit 1 << its index; a last word
                                  "all" sets the bits of all words before it */
    PSC_OPTION_YES_NO = 3, /* int32_t: "yes" is 1, "no" is 0 */
    PSC_OPTION_COUNT = 4,  /* int32_t: a whole number >= 0 in low..high */
    PSC_OPTION_NUMBER = 5, /* double: a finite number in low..high */
    PSC_OPTION_ROWS = 6,   /* psc_filter: last, all, a position A, A-B (both included), or auto:
                                  last, over a corpus all */
    PSC_OPTION_LAYER = 7,  /* int32_t: a layer, 0..n_layers-1 */
    PSC_OPTION_LAYERS = 8, /* psc_range: none, all, a layer A, A-B, or auto: all layers of a model
                                  with d_model <= 128, else the middle layer */
    PSC_OPTION_HEADS = 9   /* psc_range: all, a head A of each layer, or A-B */
} psc_option_kind;

typedef struct psc_range {
    int32_t first, n; /* first..first+n-1; n is 0 for none */
} psc_range;

typedef struct psc_option_description {
    const char *key, *default_value, *help; /* key: 1 to 64 letters, digits, _ or - */
    int32_t kind;                           /* psc_option_kind */
    uint32_t offset;          /* offsetof the field in the structure that host->options fills */
    double low, high;         /* of COUNT and NUMBER, both included */
    const char *const *words; /* of WORD and WORDS: 1 to 31, then null */
} psc_option_description;

typedef struct psc_option { /* as the caller gives it */
    const char *key, *value;
} psc_option;

typedef struct psc_context psc_context; /* one plugin instance, opaque */
typedef void (*psc_range_fn)(int64_t begin, int64_t end, int32_t thread, void *payload);

/* The host's table, in the order of a plugin's life. It grows at its end: check struct_size before
 * using a member that an older host lacks. Unless stated otherwise, a call that fails sets the
 * run's error and returns nonzero, or null where it returns a pointer. Return that failure from the
 * callback: a plugin cannot recover, and the run fails even if the callback returns 0. Inside
 * parallel_for, only `fail` and the calls marked [p] are allowed, from several threads at once; of
 * several failures the one of the lowest part counts. A call at another time or on another thread
 * fails, and so do null pointers that are not said to be allowed, and lengths below 0: void calls
 * then do nothing, dot and log_sum_exp return NaN. */
typedef struct psc_host {
    uint32_t struct_size;
    uint32_t abi;

    /* --- at any time --- */
    /* Sets the error sentence; the host puts the plugin's name before it. Returns nonzero. */
    int (*fail)(psc_context *, const char *format, ...) PSC_PRINTF(2, 3);
    /* [p] The model; lives as long as the session. */
    const psc_model_info *(*model)(psc_context *);
    /* Zeroed memory, 64-byte aligned. The host frees it after close; run_alloc's after the run.
     * What a run takes counts against retained_cap, which can refuse it: null then. */
    void *(*life_alloc)(psc_context *, uint64_t bytes);
    void *(*run_alloc)(psc_context *, uint64_t bytes); /* from run_begin to report */
    /* Texts that live as long as the instance; "?" after an error. A component's label: "L0H3",
     * "0_mlp_bias"; a token in quotes: ' Emerald', or #50280 when it has no text. */
    const char *(*label)(psc_context *, psc_component_kind, int32_t layer, int32_t index);
    const char *(*token_text)(psc_context *, int32_t token);

    /* --- open --- */
    /* Fills the fields of *out that the option table names, from the values given or defaults. */
    int (*options)(psc_context *, void *out);
    /* Subscribes, in open or run_begin; in run_begin for this run only. filter may be null: all
     * events. Editors, which may write to the tensor, run before observers; both in order. */
    int (*observe)(psc_context *, psc_point, const psc_filter *, psc_event_fn, void *payload);
    int (*edit)(psc_context *, psc_point, const psc_filter *, psc_event_fn, void *payload);
    /* Nonzero when the session's runs are documents of a corpus. They have no results: in run_end a
     * plugin adds partials to accumulators; in report, where rows is empty, it writes results. */
    int (*accumulating)(psc_context *);
    /* Only then: a new accumulator of n slots; k: entries per slot of PSC_ACCUMULATE_TOP, else 0.
     * Returns a handle >= 0, or -1 after setting the error. */
    int (*accumulator)(psc_context *, const char *name, psc_accumulate kind, int64_t n, int32_t k);

    /* --- run_begin --- */
    /* [p] All rows of the run, from run_begin to report. */
    const psc_row *(*rows)(psc_context *, int32_t *n_rows);
    /* The text that the rows' byte ranges refer to; null without a text. */
    const char *(*text)(psc_context *, uint64_t *bytes);
    /* The run's psc_phase. source: the prompt's number, from 0, in PSC_PHASE_SOURCE; else -1. */
    int (*phase)(psc_context *);
    int (*source)(psc_context *);
    /* The targets, valid until the run ends. Without any given: the top prediction, over a corpus
     * `next`; there they are known in open, too. */
    const psc_target *(*targets)(psc_context *, int32_t *n_targets);
    /* Nonzero when a plugin or client edits this point in this run; final from the first event. */
    int (*has_editor)(psc_context *, psc_point);
    /* Keeps a tensor until the run is over. Returns a handle >= 0, or -1 after setting the error.
     * The session caps the retained bytes. */
    int (*retain)(psc_context *, psc_point, const psc_filter *);
    /* Retains what `variants` starts from. */
    int (*prepare_variants)(psc_context *);

    /* --- results, from run_begin to report (over a corpus: in report); they live until the next
     * run. A name has 1 to 64 letters, digits, _ . - or /, and is unique in the instance --- */
    /* An axis is a name and its entries, labels or integers. The host copies them. */
    int (*axis_labels)(psc_context *, const char *name, int64_t n, const char *const *labels);
    int (*axis_numbers)(psc_context *, const char *name, int64_t n, const int32_t *numbers);
    /* A row-major array over up to 6 named axes, for the plugin to write. It is filled with NaN
     * (integers: -1) unless PSC_UNFILLED is added to the element type. */
    void *(*array)(
        psc_context *, const char *name, psc_element, int32_t n_axes, const char *const *axes);
    /* A named value. NaN is written as null. */
    int (*value_number)(psc_context *, const char *name, double value);
    int (*value_text)(psc_context *, const char *name, const char *value);
    /* One more entry of a named list, whose entries are all numbers or all texts. */
    int (*append_number)(psc_context *, const char *name, double value);
    int (*append_text)(psc_context *, const char *name, const char *value);
    /* The printed summary, in the order of the calls: a sentence, or a ranked list of signed bars.
     * The host copies all texts and values; unit: "nats", "", ... */
    int (*summary_text)(psc_context *, const char *sentence);
    int (*summary_bars)(psc_context *, const char *title, const char *unit, int32_t n,
        const char *const *labels, const double *values);
    /* A file of the output folder: a graph, a table, a page. The host copies the bytes and writes
     * them as "<plugin>.<kind>"; kind has letters, digits and dots: "json", "dot". A kind with a
     * slash is the file's own path in the folder, "headvis/books/config.json": names of letters,
     * digits, _ - and dots, none first, at most 200 bytes. */
    int (*document)(psc_context *, const char *kind, const char *bytes, uint64_t n);

    /* --- events --- */
    /* The ids of a target at a row: ids[1] is -1 unless it is a contrast; both are -1 when the row
     * has none (`next` at the last row, `example` without one). Only PSC_TARGET_TOP needs logits
     * [V]; ties go to the lower id. */
    int (*target_ids)(
        psc_context *, int32_t target, const psc_row *row, const float *logits, int32_t ids[2]);

    /* --- run_end --- */
    /* The retained rows of one layer (-1 where the point has none) as one event over all chunks,
     * valid until the run is over. The keys are the longest row's. */
    int (*fetch)(psc_context *, int handle, int32_t layer, psc_event *out);
    /* Computes each variant as a run with such editors would, to the bit, but only the layers and
     * rows that change. logit_rows: PSC_ROWS_ALL (from the first changed row on) or PSC_ROWS_LAST
     * (the last before row_end). All variants have the struct_size of the first. Fails in an edited
     * run. */
    int (*variants)(psc_context *, int32_t n, const psc_variant *variants, int32_t logit_rows,
        psc_variant_fn fn, void *payload);
    /* One sequence's partial for slots begin..begin+n-1; of a top list, one row's value. A sum that
     * is not finite or overflows is an error. accumulate also works in events, and inside
     * parallel_for on different slots [p]: the host adds those partials after run_end, unless the
     * run failed. So a plugin needs no table of all sequences. */
    int (*accumulate)(psc_context *, int handle, int64_t begin, int64_t n, const double *partial);
    int (*accumulate_top)(psc_context *, int handle, int64_t slot, double value, const psc_row *);
    void (*progress)(psc_context *, double done); /* 0..1 of its work in run_end or report */
    /* [p] Nonzero: return soon. apply, pullback, the norms, fetch and variants then fail. */
    int (*cancelled)(psc_context *);

    /* --- report --- */
    /* The totals so far. Of a top list up to k entries, largest first, into out (nullable); returns
     * how many, or -1 after setting the error. */
    int (*accumulated)(psc_context *, int handle, int64_t begin, int64_t n, double *out);
    int32_t (*accumulated_top)(psc_context *, int handle, int64_t slot, psc_top *out);

    /* --- weights; pointers live as long as the instance; PSC_LN_FINAL and W_U ignore layer. [p],
     * except bias --- */
    int (*ln_parameters)(psc_context *, psc_ln, int32_t layer, const float **gamma,
        const float **beta); /* [N] each */
    /* The bias of y = W x + b, [outputs]: zeros in a model without biases, null for W_U. */
    const float *(*bias)(psc_context *, psc_matrix, int32_t layer);
    int (*embedding)(psc_context *, int32_t token, float *row);   /* [N] */
    int (*unembedding)(psc_context *, int32_t token, float *row); /* [N] */
    const float *(*unembedding_mean)(psc_context *);              /* [N] over all V rows */

    /* --- mathematics, with the bits that docs/numerics.md defines; large calls use the team --- */
    /* [p] Calls fn over 0..n-1 in contiguous parts: at most one per thread, and the same parts in
     * every call with this n. Any free thread takes the next part. Returns when all parts are done.
     * In a part it calls fn(0, n). fn must not leave by longjmp or an exception. */
    void (*parallel_for)(psc_context *, int64_t n, psc_range_fn fn, void *payload);
    /* The following four are [p], and then use the calling thread alone.
     * Y[R, outputs] = X[R, inputs] W^T, without the bias. Rows are contiguous; no overlap. */
    int (*apply)(
        psc_context *, psc_matrix, int32_t layer, float *y, const float *x, int64_t n_rows);
    /* Y[R, inputs] = U[R, outputs] W. */
    int (*pullback)(
        psc_context *, psc_matrix, int32_t layer, float *y, const float *u, int64_t n_rows);
    /* |W[o,:]| for each output o; |W[:,i]| for each input i. centered: of each vector minus its own
     * mean, that is P(W[:,i]). */
    int (*row_norms)(psc_context *, psc_matrix, int32_t layer, int centered, double *out);
    int (*column_norms)(psc_context *, psc_matrix, int32_t layer, int centered, double *out);
    float (*dot)(psc_context *, int64_t n, const float *a, const float *b); /* [p] */
    void (*exp)(psc_context *, int64_t n, float *y, const float *x);        /* [p] y may be x */
    void (*erf)(psc_context *, int64_t n, float *y, const float *x);        /* [p] */
    void (*log)(psc_context *, int64_t n, double *y, const double *x);      /* [p] */
    double (*log_sum_exp)(psc_context *, int64_t n, const float *x);        /* [p] */
    /* [p] y[i] = (x[i] * w[i]) / divisor (x[i] / divisor where w is null), each rounded to f32;
     * then, in ascending i, sums[l] += y[i] and sums[16 + l] += |y[i]| in f64, l = (first + i) mod
     * 16. y may be x. */
    void (*shares)(psc_context *, double sums[32], float *y, const float *x, const float *w,
        int64_t n, int64_t first, float divisor);
    /* [p] What a strategy keeps of logits [V], as generation does: the ids, ascending, and their
     * weights exp((z - max z)/T), in 0..1 and not normalized. Both arrays have room for V. Returns
     * how many; -1, without an error, for a NaN, no finite largest, or an invalid strategy. */
    int32_t (*keep)(
        psc_context *, const psc_strategy *, const float *logits, int32_t *ids, double *weights);
    /* [p] Rotates one head's q or k [d_head] in place as the model does at a position, or back with
     * inverse nonzero (the transpose). */
    int (*rotate)(psc_context *, int32_t position, int inverse, float *x);

    /* --- files, from open to report --- */
    /* A tensor of a safetensors file as f32, row-major (from F32, F16, BF16 or F64); name null: the
     * only one. The host checks the whole file. The memory lives as long as the instance. */
    const float *(*read_tensor)(
        psc_context *, const char *path, const char *name, int32_t *n_axes, int64_t shape[8]);
    /* Folders of parameters. load_setting: 1 when config.json has the key (a text lives as long as
     * the instance), 0 when not, -1 after setting the error. save_folder: the folder is new or
     * empty and appears whole or not at all; without tensors the host only checks that it could. */
    int (*load_setting)(psc_context *, const char *folder, const char *key, psc_setting *out);
    int (*save_folder)(psc_context *, const char *folder, int32_t n_settings,
        const psc_setting *settings, int32_t n_tensors, const psc_named_tensor *tensors);

    /* --- labelled sentences (psc_treebank.h) and the bytes of tokens --- */
    /* The labels that the caller gave to the run's text, with ascending starts in it, from
     * run_begin to report; null, without an error, when it gave none. */
    const psc_sentence *(*sentences)(psc_context *, int32_t *n);
    /* From open to report: the sentences of a CoNLL-U file, which live as long as the instance. The
     * same path returns the same sentences; the host reads it once. */
    const psc_sentence *(*read_sentences)(psc_context *, const char *path, int32_t *n);
    /* [p] A token's own bytes, perhaps part of a character; null, without an error, when it has no
     * text. They live as long as the model and have no 0 byte after them. */
    const char *(*token_bytes)(psc_context *, int32_t token, uint64_t *bytes);

    /* From open to report: writes a file whole or not at all, in place of an older one. bytes null:
     * only checks that the host could write it. */
    int (*save_file)(psc_context *, const char *path, const char *bytes, uint64_t n);

    /* --- results --- */
    /* The integers of this I32 array are token ids, or negative for none. Once the run is over, the
     * host adds their texts to the results (psc_results_vocabulary_at). */
    int (*token_ids)(psc_context *, const char *array);
    /* --- records over documents: top lists whose entries hold bytes of the plugin's own --- */
    /* In open: PSC_ACCUMULATE_TOP with a record of `bytes` bytes, a multiple of 8, in each of the
     * n * k entries. States hold records as they are; a plugin checks what it reads from them. */
    int (*accumulator_records)(
        psc_context *, const char *name, int64_t n, int32_t k, uint64_t bytes);
    /* In run_end, as accumulate_top. Returns 1 if the slot keeps the entry, else 0; -1 after
     * setting the error. record null: only asks, so that a record need not be made in vain. Records
     * do not rank: a plugin gives entries of the same row and value the same record. */
    int (*accumulate_record)(
        psc_context *, int handle, int64_t slot, double value, const psc_row *, const void *record);
    /* As accumulated_top; records [k, bytes], nullable. */
    int32_t (*accumulated_records)(
        psc_context *, int handle, int64_t slot, psc_top *out, void *records);
    /* In a run of documents: the row's document and its position there, as in psc_top. */
    int (*place)(psc_context *, const psc_row *, int64_t *document, int32_t *position);
    void (*tanh)(psc_context *, int64_t n, float *y, const float *x); /* [p] y may be x */
    /* From open to report: as read_tensor, without leading axes of length 1; index >= 0: only that
     * entry of the first axis, without that axis. or_only: a file's only
     * tensor may have any name. */
    const float *(*read_entry)(psc_context *, const char *path, const char *name, int or_only,
        int64_t index, int32_t *n_axes, int64_t shape[8]);
    /* In report over documents: the name of the document with this number, such as "books/alice.md"
     * or "docs.jsonl, document 17"; "" when it is unknown. Valid until the next call. */
    const char *(*document_name)(psc_context *, int64_t document);
    /* [p] apply for the outputs begin..end-1 alone: Y[R, end - begin].
     * begin is a multiple of 16. */
    int (*apply_outputs)(psc_context *, psc_matrix, int32_t layer, float *y, const float *x,
        int64_t n_rows, int64_t begin, int64_t end);
    /* The table of psc_reductions.h, from open to close; it lives as long as the instance. */
    const psc_reductions *(*reductions)(psc_context *);
    /* [p] The shortest prefix of logits [V] whose weights [V] reach target, as generation finds it
     * for top-p; weights null: 1 each, for top-k. scratch [V]. The logits are numbers
     * below infinity. */
    int (*prefix)(psc_context *, psc_kept_prefix *out, const float *logits, const double *weights,
        double target, int32_t *scratch);
    /* [p] Rows begin..end-1 of W [outputs, inputs], exactly, as out [end - begin, inputs]. */
    int (*matrix_rows)(
        psc_context *, psc_matrix, int32_t layer, float *out, int64_t begin, int64_t end);
    /* From run_begin to run_end: 1 if an earlier window of the row's document had its
     * token, so that the row is context only; 0 if not, and where windows do not overlap;
     * -1 after setting the error. */
    int (*repeated)(psc_context *, const psc_row *);
    /* --- rows of a corpus on disk, in a session over documents; once per instance --- */
    /* In open: what the shards hold. The folder is checked; nothing is written
     * before the first run. */
    int (*shards_open)(psc_context *, const psc_shard_options *);
    /* In run_begin, once: the rows of this run that go to disk, by psc_row.index, ascending. */
    int (*shards_rows)(psc_context *, int32_t n, const int32_t *index);
    /* In events and run_end: rows first..first+n-1 of these, of one array, dense, as the element
     * says. A plugin writes every row of every array. If the run fails, its rows do not count. */
    int (*shards_write)(psc_context *, int32_t array, int32_t first, int32_t n, const void *values);
    /* In report: writes the last shard and the index; out, nullable: the rows of all shards. In the
     * report of merged parts: the index of all parts' shards, which must be in the folder. */
    int (*shards_close)(psc_context *, int64_t *rows);
    /* --- sets of examples: a sequence of the run and one of the source run are a pair --- */
    /* [p] From run_begin to report: the number of a sequence's example in its set; -1, without an
     * error, in a run without examples. */
    int64_t (*example)(psc_context *, int32_t sequence);
    /* [p] From run_begin to report: the position that a row of this run is aligned with in the
     * source run, in the sequence of the same number; *position is -1 where it has none. Without
     * examples it is the row's own position, and the source prompt is one sequence. */
    int (*source_row)(psc_context *, const psc_row *, int32_t *position);
    /* --- one safetensors file, from open to report --- */
    /* 1 with *out the text under a key of its __metadata__, which lives as long as the instance; 0
     * without such a key; -1 after setting the error. */
    int (*read_note)(psc_context *, const char *path, const char *key, const char **out);
    /* Writes tensors as f32 and the settings as texts of __metadata__, whole or not at all, in
     * place of an older file. Without tensors the host only checks that it could. */
    int (*save_tensors)(psc_context *, const char *path, int32_t n_settings,
        const psc_setting *settings, int32_t n_tensors, const psc_named_tensor *tensors);
    /* --- sparse dictionaries --- */
    /* In open: reads a folder with cfg.json and its weights, or a file of transcoder weights, and
     * checks it whole against the model. point: null, or the hook point in place of that which the
     * folder says, "IN+OUT" for a transcoder. Fills *out, which begins as PSC_DICTIONARY_INIT; its
     * pointers live as long as the instance. Returns a handle >= 0, or -1
     * after setting the error. */
    int (*dictionary_open)(psc_context *, const char *path, const char *point, psc_dictionary *out);
    /* From open to report: the latents of rows x [n_rows, d_in], `stride` floats apart, as the in
     * point shows them. Memory is bounded: fn receives some rows at a time. */
    int (*dictionary_encode)(psc_context *, int handle, const float *x, int64_t stride,
        int64_t n_rows, psc_latents_fn fn, void *payload);
    /* y [n_rows, d_out] of latents, dense. x: as given to encode, whose row `first` is that of row
     * 0; it may be null without a skip connection. A caller may pass latents that it changed. */
    int (*dictionary_decode)(psc_context *, int handle, const psc_latents *latents, const float *x,
        int64_t stride, float *y);
    /* [p] Row ids[i] of W_enc ([d_in], as W_enc n has it; of GATED times exp(r_mag)) or of W_dec
     * ([d_out]), as out [n, width]. */
    int (*dictionary_vectors)(
        psc_context *, int handle, int side, int64_t n, const int32_t *ids, float *out);
    /* y [n_rows, d_out] = W_skip x of rows x that in_affine has changed already, or with pullback
     * nonzero y [n_rows, d_in] = W_skip^T x; dense; 0 without a skip connection. */
    int (*dictionary_skip)(
        psc_context *, int handle, int pullback, float *y, const float *x, int64_t n_rows);
    /* --- gradients of the run and of its variants --- */
    /* In run_begin, once, for `gradients`. The run keeps what the backward pass reads, and the
     * logits of n rows (psc_row.index, ascending) for metrics of the run itself: memory that
     * retained_cap caps. n = 0: only variants with changes will be asked for. */
    int (*prepare_gradients)(psc_context *, int32_t n, const int32_t *rows);
    /* In run_end: for each variant the value of its metric, and the gradient at the points
     * [n_points] of all layers, to fn. A variant without changes is the run itself, and costs one
     * backward pass. Its rows are all rows of the run, and its metric reads prepared rows. One with
     * changes is a run with such editors, to the bit, of its whole sequence; some of them share a
     * pass. variants null: all are the run itself. Terms of metrics [n] name tokens, and rows of
     * the run; `recompute` is not read: a variant's pass and the run's compute again what
     * retained_cap leaves no room for, with the same bits. fn gets the last layer first, and variants
     * in any order; values (PSC_POINT_VALUES) come before, some rows at a time, each time the first
     * layer first. Fails in an edited run. */
    int (*gradients)(psc_context *, int32_t n, const psc_variant *variants,
        const psc_metric *metrics, int32_t n_points, const int32_t *points, psc_gradient_fn fn,
        void *payload);
    /* [p] pullback of the outputs begin..end-1 alone, U[R, end - begin].
     * begin is a multiple of 16. */
    int (*pullback_outputs)(psc_context *, psc_matrix, int32_t layer, float *y, const float *u,
        int64_t n_rows, int64_t begin, int64_t end);
    /* [p] Y[R, 16 n_panels] = X[R, size] times the lanes of panels [n_panels, size, 16], with
     * the bits of apply: 16 columns of a matrix of the plugin's own are a panel, size by
     * size. 64-byte aligned. */
    int (*panel_products)(psc_context *, float *y, const float *x, const float *panels,
        int64_t n_rows, int64_t size, int64_t n_panels);
    /* [p] Y[R, H, N]: what each head of a layer writes, W_O,h z_h, from Z[R, H*D]: hook_result. */
    int (*head_writes)(psc_context *, int32_t layer, float *y, const float *z, int64_t n_rows);
    /* --- sets of examples --- */
    /* In open: before the first pair of a set, this plugin alone sees all its corrupt prompts, or
     * its clean ones if it has none: runs of PSC_PHASE_SOURCE, one prompt each, in an order that
     * the file's does not change. source() is PSC_SOURCE_SET for the first of them. */
    int (*whole_set)(psc_context *);
    /* --- memory --- */
    /* From run_begin to report: fails if retained_cap leaves fewer bytes. Nothing is taken, so a
     * plugin can refuse early what this run or one after it will take. */
    int (*foretell)(psc_context *, uint64_t bytes);
} psc_host;

/* --- what a plugin gives --------------------------------------------------------------------- */

/* Whether a plugin works in a session over documents (host->accumulating). */
typedef enum psc_plugin_corpus {
    PSC_CORPUS_UNSAID, /* its own calls decide: axes, arrays and values in a run fail there */
    PSC_CORPUS_YES,
    PSC_CORPUS_NO,      /* the host refuses to load it there, in one sentence */
    PSC_CORPUS_NO_RUNS, /* it is loaded, and reports without a run; runs are refused */
    PSC_CORPUS_OVERLAPS /* as YES; and where windows overlap it counts no token twice (repeated) */
} psc_plugin_corpus;

enum { PSC_PHASES_COMPARES = 2 }; /* a value of psc_plugin.phases */

typedef struct psc_plugin {
    uint32_t abi; /* PSC_PLUGIN_ABI */
    uint32_t struct_size;
    const char *name, *version,
        *summary;       /* name: 1 to 64 letters, digits, _ or -; a null version or
                                             summary counts as "" */
    const char *points; /* for help: the points that it may request, by name, one space between; may
                           be null */
    const psc_option_description *options; /* ends with a null key; null: none */
    int32_t phases; /* nonzero: sees runs of every phase (psc_phase), and asks the caller for them.
                       PSC_PHASES_COMPARES: sees them if another plugin asks, over a corpus too */
    /* Any callback may be null. state is what open stored, null before. After a nonzero return from
     * open no callback follows, after one from run_begin none of this run. */
    int (*open)(psc_context *, const psc_host *, void **state);
    int (*run_begin)(psc_context *, void *state);
    /* status: 0, or the psc_status of a failed run, whose results the host drops. */
    int (*run_end)(psc_context *, void *state, int status);
    /* Writes axes, arrays, values and the summary, after a run that succeeded. */
    int (*report)(psc_context *, void *state);
    void (*close)(psc_context *, void *state);
    /* Nonzero: every sequence must begin with the model's beginning-of-text token. Callers ask
     * psc_session_needs_bos and put it there; the host refuses other runs, and a model without. */
    int32_t needs_bos;
    int32_t reserved; /* 0 */
    int32_t
        corpus; /* psc_plugin_corpus; older plugins, whose struct_size ends before it, say nothing */
    /* Of a plugin with `phases`, once after open: nonzero if it reads source prompts as its options
     * are. 0: it sees no run of PSC_PHASE_SOURCE, but for those of whole_set. Calls nothing of the
     * host. Null: it may read them. */
    int (*takes_source)(psc_context *, const void *state);
} psc_plugin;

typedef const psc_plugin *(*psc_plugin_entry_fn)(void);

/* The one symbol of a shared object, in C and in C++. */
#ifdef __cplusplus
#define PSC_PLUGIN_SYMBOL extern "C" PSC_API
#else
#define PSC_PLUGIN_SYMBOL PSC_API
#endif
#define PSC_PLUGIN_EXPORT                                                                          \
    PSC_PLUGIN_SYMBOL const psc_plugin *psc_plugin_entry(void);                                    \
    PSC_PLUGIN_SYMBOL const psc_plugin *psc_plugin_entry(void)

#ifdef __cplusplus
}
#endif
#endif
