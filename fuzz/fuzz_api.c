/* Calls of the public interface in any order, with any arguments: each byte chooses a call, the
 * next bytes its arguments. Up to two sessions and one corpus live at a time; a failed call must
 * leave all of them usable. */
#include "fuzz.h"
#include "psc_corpus.h"
#include "psc_pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct world {
    fuzz_bytes in;
    psc_session *sessions[2];
    psc_results *results;
    psc_corpus *corpus;
    int documents;
    float memory[4096]; /* of copies, and of logits until the next run */
    psc_error error;
} world;

/* A plugin, with options that it takes. */
static const struct {
    const char *name, *options;
} plugins[] = {{"logits", "rows=all,level=head+neuron"}, {"ln", "target_rows=all"},
    {"mlp", "target_rows=all"}, {"lens", "rows=all"}, {"sampling", ""}, {"sweep", "metric=kl"},
    {"means", ""}, {"frozen", ""}, {"graph", "threshold=0,nodes=9"}, {"edges", ""}, {"roles", ""},
    {"attention", ""}, {"partition", ""}, {"neurons", "geometry=none"}, {"weights", "what=spectra"},
    {"spans", ""}, {"treebank", ""}, {"words", ""}, {"forms", "draws=2"}, {"probe", "tasks=upos"},
    {"ablate", "at=L0H1,by=resample"}, {"scale", "at=*_mlp_out"}, {"steer", "at=embed,of=mean"},
    {"knockout", "at=L*H*,keys=0-1"}, {"patch", "at=L1H0"}, {"effects", "rows=all"},
    {"loss", "early=1,late=3"}, {"sweep", "over=edges,do=patch"}, {"sweep", "over=resid_pre"},
    {"gradient", "steps=4,baseline=mean"}, {"gradient", "target_rows=all,steps=0,metric=log_prob"},
    {"attribution", "do=patch,exact=2,sample=2"}, {"attribution", "over=edges,exact=1,sample=1"},
    {"attribution", "over=neurons,do=mean,exact=1,sample=1"},
    {"circuit", "edges=3,minimal=3,check=3,steps=2"}, {"circuit", "path=L1H1.q<-L0H1"},
    {"circuit", "scores=eap_ig,steps=2,metric=kl,edges=2,order=greedy"},
    {"direction", "at=L*H1,do=add,of=mean"}, {"direction", "at=embed,along=W_E:#3,do=swap"},
    {"direction", "at=blocks.*.hook_resid_pre,along=L0N3.in+L1H1.O"},
    {"directions", "at=embed,labels=a\nb,components=1"}, {"sae", "path=dictionary"},
    {"sae", "path=dictionary,contexts=2,loss=no,shares=yes"}, {"sae", ""}, {"none", ""}};
static const char *const options[] = {NULL, "", "rows=all", "top=3", "level=head+neuron",
    "centered=yes", "at=embed", "at=embed,along=L0N1.in", "at=embed,labels=a\nb", "at=L0H1,by=zero",
    "at=L1H0,source=1", "heads=L0H0,keys=0-1", "rows=0-1", "layer=2", "over=resid_pre", "metric=kl",
    "at=*_mlp_out,alpha=2", "show=all"};
static const char *const targets[] = {
    "next", "top:3", "#5", "the", "#-1", "#319", "top:0", "", "example", "text:example"};
static const char *const points[] = {"all", "blocks.*.attn.hook_pattern", "hook_logits:rows=-1",
    "blocks.0.hook_resid_post:rows=0+1", "blocks.9.hook_z", "hook_embed", "*", "all_grad",
    "blocks.*.hook_resid_post_grad", "blocks.1.attn.hook_*_grad:rows=-1", "hook_logits_grad"};
static const char *const sets[] = {
    "{\"clean\":\"some text\",\"corrupt\":\"some tent\",\"target\":\"a\",\"contrast\":\"b\"}\n"
    "{\"clean\":\"other\",\"corrupt\":\"oth\",\"target\":7,\"group\":\"g\"}\n",
    "{\"clean\":[1,2,3,4],\"target\":5}\n{\"clean\":\"the end\",\"target\":\"s\",\"contrast\":9}\n"
    "{\"clean\":[7],\"target\":8}\n",
    "{\"clean\":\"abcd\",\"corrupt\":[1,2,3],\"target\":\"a\",\"spans\":{\"x\":[0,1]}}\n"};
#define PICK(w, list) (list)[fuzz_byte(&(w)->in) % (sizeof(list) / sizeof(list)[0])]

static psc_session *session_of(world *w) {
    return w->sessions[fuzz_byte(&w->in) & 1];
}

static int signed_byte(world *w) {
    return (int8_t)fuzz_byte(&w->in);
}

/* --- callbacks ------------------------------------------------------------------------------- */

/* Reads all of the event, and sometimes fails or edits. payload: the world. */
static int on_event(const psc_event *event, void *payload) {
    world *w = payload;
    const psc_view *v = &event->tensor;
    int64_t n = 1;
    for (int i = 0; i < v->n_axes; i++) n *= v->shape[i];
    if (n > 0) fuzz_read(v->data, (size_t)v->shape[v->n_axes - 1] * sizeof(float));
    return fuzz_byte(&w->in) == 255;
}

/* The same for an editor, which changes the first value. */
static int on_edit(const psc_event *event, void *payload) {
    const int failed = on_event(event, payload);
    int64_t n = 1;
    for (int i = 0; i < event->tensor.n_axes; i++) n *= event->tensor.shape[i];
    if (n > 0) event->tensor.data[0] += 0.5f;
    return failed;
}

static int next_document(psc_source_document *out, void *payload) {
    static const int32_t ids[] = {1, 2, 3, 400, 5};
    world *w = payload;
    const unsigned kind = fuzz_byte(&w->in);
    if (w->documents++ > 6 || kind == 0) out->end = 1;
    if (kind & 1) out->text = "some text, the end", out->bytes = 18;
    if (kind & 2) out->ids = ids, out->n = (int32_t)(kind >> 4) % 6;
    if (kind & 4) out->fault = "is not there";
    return kind == 255;
}

static int stop_at_once(void *payload) {
    return fuzz_byte(&((world *)payload)->in) > 250;
}

/* --- calls ----------------------------------------------------------------------------------- */

static void open_session(world *w) {
    psc_session_options o = PSC_SESSION_OPTIONS_INIT;
    psc_session **at = &w->sessions[fuzz_byte(&w->in) & 1];
    psc_session_close(at);
    o.threads = 1;
    o.chunk = signed_byte(w);
    o.n_sequences = signed_byte(w) % 5;
    o.capacity = signed_byte(w);
    o.accumulate = (int32_t)(fuzz_byte(&w->in) & 1);
    o.retained_cap = fuzz_byte(&w->in) & 3 ? 0 : 1000;
    if (fuzz_byte(&w->in) & 1) {
        o.shared_tokens = signed_byte(w) * 4;
        o.overlap = (int32_t)(fuzz_byte(&w->in) & 1);
        o.part = signed_byte(w) % 4;
        o.n_parts = signed_byte(w) % 4;
        o.check_plugins = (int32_t)(fuzz_byte(&w->in) & 1);
    }
    fuzz_check(psc_session_open(at, fuzz_model(), &o, &w->error), &w->error);
}

/* All that the options of a run borrow. */
typedef struct run {
    psc_token tokens[24];
    psc_input inputs[3];
    int32_t repeated[3], source_positions[24];
    psc_example examples[3];
    psc_copy copy;
    psc_metric_term terms[3];
    psc_metric metric;
    double value;
    float logits[512]; /* of another run */
    psc_run_options options;
} run;

/* Three inputs of up to eight tokens, and what they are in a document or a set. */
static void fill_inputs(world *w, run *r) {
    for (int i = 0; i < 24; i++)
        r->tokens[i] = (psc_token){(int32_t)fuzz_byte(&w->in) * 5 / 4 - 4 * (i == 23), 0, 0};
    for (int i = 0; i < 3; i++)
        r->inputs[i] = (psc_input){i + signed_byte(w) / 100, signed_byte(w) % 9, r->tokens + 8 * i};
    if (fuzz_byte(&w->in) & 1) {
        for (int i = 0; i < 3; i++) r->repeated[i] = signed_byte(w) % 9;
        r->options.repeated = r->repeated;
    }
    if (!(fuzz_byte(&w->in) & 1)) return;
    for (int i = 0; i < 24; i++) r->source_positions[i] = signed_byte(w) % 16;
    for (int i = 0; i < 3; i++)
        r->examples[i] = (psc_example){signed_byte(w), signed_byte(w), signed_byte(w),
            fuzz_byte(&w->in) & 1 ? r->source_positions + 8 * i : NULL};
    r->options.examples = r->examples;
}

static void fill_copy(world *w, run *r) {
    r->copy = (psc_copy)PSC_COPY_INIT;
    r->copy.point = signed_byte(w) % 30;
    r->copy.layer = signed_byte(w) % 5;
    r->copy.rows = signed_byte(w) % 5;
    r->copy.out = w->memory;
    r->copy.capacity = fuzz_byte(&w->in) * 16;
    r->copy.gradient = (int32_t)(fuzz_byte(&w->in) & 1);
    r->options.copies = &r->copy;
    r->options.n_copies = 1;
}

static void fill_metric(world *w, run *r) {
    r->metric = (psc_metric)PSC_METRIC_INIT;
    for (int i = 0; i < 512; i++) r->logits[i] = (float)(i % 7);
    for (int i = 0; i < 3; i++) {
        psc_metric_term *term = &r->terms[i];
        *term = (psc_metric_term)PSC_METRIC_TERM_INIT;
        term->kind = (int32_t)(fuzz_byte(&w->in) % 4);
        term->row = signed_byte(w) / 8;
        term->token = fuzz_byte(&w->in) & 1 ? -1 : signed_byte(w);
        term->target = signed_byte(w) % 4;
        term->weight = signed_byte(w) / 16.0;
        if (term->weight > 7.5) term->weight = (double)INFINITY;
        term->logits = fuzz_byte(&w->in) & 3 ? r->logits : NULL;
    }
    if (fuzz_byte(&w->in) == 7) r->logits[3] = NAN;
    r->metric.n_terms = (int32_t)(fuzz_byte(&w->in) % 4);
    r->metric.terms = r->terms;
    r->metric.value = fuzz_byte(&w->in) & 1 ? &r->value : NULL;
    r->metric.recompute = (int32_t)(fuzz_byte(&w->in) & 1);
    r->options.metric = &r->metric;
}

static void run_session(world *w, psc_session *s) {
    run r = {.options = PSC_RUN_OPTIONS_INIT};
    psc_run_options *o = &r.options;
    const int32_t n_inputs = (int32_t)(fuzz_byte(&w->in) % 4);
    fill_inputs(w, &r);
    o->logits = signed_byte(w) % 4;
    o->no_logits = (int32_t)(fuzz_byte(&w->in) & 1);
    o->phase = signed_byte(w) % 5;
    o->source = signed_byte(w) % 3;
    o->stop_at_layer = signed_byte(w) / 20;
    if (fuzz_byte(&w->in) & 1) o->text = "the text", o->text_bytes = 8;
    if (fuzz_byte(&w->in) & 1) fill_copy(w, &r);
    if (fuzz_byte(&w->in) & 1) o->stop = stop_at_once, o->payload = w;
    if (fuzz_byte(&w->in) & 1) {
        o->logits_memory = w->memory;
        o->logits_capacity = signed_byte(w) * 16;
    }
    if (fuzz_byte(&w->in) & 1) fill_metric(w, &r);
    const psc_input *inputs = n_inputs ? r.inputs : NULL;
    const psc_status status = psc_session_run(s, inputs, n_inputs, o, &w->error);
    fuzz_check(status, &w->error);
    if (!status) fuzz_expect(!isnan(r.value), "a metric that is not a number");
}

/* A set of pairs, and its results in any format. */
static void run_pairs(world *w, psc_session *s) {
    psc_pairs_options o = PSC_PAIRS_OPTIONS_INIT;
    psc_pairs_run_options how = PSC_PAIRS_RUN_OPTIONS_INIT;
    psc_pairs *pairs = NULL;
    psc_results *out = NULL;
    char *text = NULL;
    const char *set = PICK(w, sets);
    o.align = signed_byte(w) % 5;
    o.bos = (int32_t)(fuzz_byte(&w->in) & 1);
    how.draws = signed_byte(w) % 20;
    if (how.draws == 0) how.draws = -1; /* 0: 10,000, which takes seconds here */
    how.level = signed_byte(w) / 100.0;
    how.most_bytes = fuzz_byte(&w->in) * 100;
    if (fuzz_byte(&w->in) & 1) how.stop = stop_at_once, how.payload = w;
    fuzz_check(
        psc_pairs_read(&pairs, fuzz_model(), set, strlen(set), "set", &o, &w->error), &w->error);
    if (pairs) fuzz_check(psc_pairs_run(&out, s, pairs, &how, &w->error), &w->error);
    if (out)
        fuzz_check(psc_results_write_memory(
                       &text, NULL, out, (psc_format)(signed_byte(w) % 6), NULL, &w->error),
            &w->error);
    psc_free(text);
    psc_results_close(&out);
    psc_pairs_close(&pairs);
}

static void hook(world *w, psc_session *s) {
    psc_filter filter = PSC_FILTER_INIT;
    const int32_t layers[2] = {signed_byte(w) % 4, signed_byte(w) % 4};
    filter.layers = layers;
    filter.n_layers = signed_byte(w) % 3;
    filter.rows = signed_byte(w) % 5;
    filter.row_begin = signed_byte(w);
    filter.row_end = signed_byte(w);
    filter.gradient = (int32_t)(fuzz_byte(&w->in) & 1);
    const psc_point point = (psc_point)(signed_byte(w) % 30);
    const psc_filter *given = fuzz_byte(&w->in) & 1 ? &filter : NULL;
    psc_status status = fuzz_byte(&w->in) & 1
                            ? psc_session_observe(s, point, given, on_event, w, &w->error)
                            : psc_session_edit(s, point, given, on_edit, w, &w->error);
    fuzz_check(status, &w->error);
}

static void use_results(world *w, psc_session *s) {
    const psc_results *r = psc_session_results(s);
    psc_array array = {0};
    char *text = NULL;
    switch (fuzz_byte(&w->in) % 5) {
    case 0:
        psc_results_close(&w->results);
        fuzz_check(psc_session_take_results(&w->results, s, &w->error), &w->error);
        break;
    case 1: {
        const psc_session *other = w->sessions[fuzz_byte(&w->in) & 1];
        if (other) fuzz_check(psc_session_adopt(s, other, "control", &w->error), &w->error);
        break;
    }
    case 2: {
        const psc_format format = (psc_format)(signed_byte(w) % 6);
        fuzz_check(psc_results_write_memory(&text, NULL, r, format, NULL, &w->error), &w->error);
        break;
    }
    case 3:
        fuzz_check(psc_session_array(s, "logits.logits", &array, &w->error), &w->error);
        break;
    default: {
        const psc_results *both[2] = {w->results ? w->results : r, r};
        static const char *const labels[] = {"a", "b"};
        psc_results *stack = NULL;
        fuzz_check(psc_results_stack(&stack, both, labels, 2, &w->error), &w->error);
        psc_results_close(&stack);
    }
    }
    psc_free(text);
}

static void use_state(world *w, psc_session *s) {
    const char *path = fuzz_path("api.state");
    switch (fuzz_byte(&w->in) % 4) {
    case 0:
        fuzz_check(psc_session_state_save(s, path, "x", 1, &w->error), &w->error);
        break;
    case 1:
        fuzz_check(psc_session_state_load(s, path, &w->error), &w->error);
        break;
    case 2:
        fuzz_check(psc_session_state_merge(s, path, &w->error), &w->error);
        break;
    default:
        fuzz_check(psc_session_report_until(s, NULL, stop_at_once, w, &w->error), &w->error);
    }
}

static void use_corpus(world *w) {
    psc_corpus_options o = PSC_CORPUS_OPTIONS_INIT;
    psc_window window;
    char *place = NULL;
    switch (fuzz_byte(&w->in) % 4) {
    case 0:
        psc_corpus_close(&w->corpus);
        w->documents = 0;
        o.window = signed_byte(w);
        o.bos = (int32_t)(fuzz_byte(&w->in) & 1);
        o.strict = (int32_t)(fuzz_byte(&w->in) & 1);
        o.n_shards = signed_byte(w) % 3;
        o.shard = signed_byte(w) % 3;
        o.limit = signed_byte(w);
        fuzz_check(
            psc_corpus_open_source(&w->corpus, fuzz_model(), next_document, w, &o, &w->error),
            &w->error);
        break;
    case 1:
        if (w->corpus) fuzz_check(psc_corpus_next(&window, w->corpus, &w->error), &w->error);
        break;
    case 2:
        if (w->corpus) fuzz_check(psc_corpus_tell(&place, w->corpus, &w->error), &w->error);
        if (place) fuzz_check(psc_corpus_seek(w->corpus, place, &w->error), &w->error);
        psc_free(place);
        break;
    default:
        if (w->corpus) (void)psc_corpus_progress(w->corpus);
    }
}

static void use_model(world *w) {
    float floats[320];
    psc_token *tokens = NULL;
    char *text = NULL;
    size_t bytes = 0;
    int32_t n = 0, ids[4];
    const psc_model *model = fuzz_model();
    const int layer = signed_byte(w);
    const int64_t room = fuzz_byte(&w->in) * 2;
    for (int i = 0; i < 4; i++) ids[i] = signed_byte(w) * 4;
    fuzz_check(
        psc_model_ln(floats, NULL, 16, model, (psc_ln)(layer % 4), layer, &w->error), &w->error);
    fuzz_check(
        psc_model_embedding(floats, room < 320 ? room : 320, model, layer, ids[0], &w->error),
        &w->error);
    fuzz_check(psc_model_bias(floats, room < 320 ? room : 320, model,
                   (psc_matrix)(signed_byte(w) % 9), layer, &w->error),
        &w->error);
    fuzz_check(psc_model_decode(&text, &bytes, model, ids, 4, &w->error), &w->error);
    if (text)
        fuzz_check(psc_model_encode(&tokens, &n, model, text, bytes, true, &w->error), &w->error);
    (void)psc_model_token_bytes(model, ids[0], &bytes);
    psc_free(tokens);
    psc_free(text);
}

static void sample(world *w, psc_session *s) {
    psc_sampler sampler = PSC_SAMPLER_INIT;
    psc_generated_token token = {0};
    int32_t id = 0;
    const float *logits = psc_session_logits(s, signed_byte(w));
    sampler.strategy.temperature = signed_byte(w) / 16.0;
    sampler.strategy.top_k = signed_byte(w);
    sampler.strategy.top_p = signed_byte(w) / 100.0;
    sampler.strategy.min_p = signed_byte(w) / 100.0;
    if (logits) fuzz_check(psc_session_sample(&id, s, &sampler, logits, &w->error), &w->error);
    fuzz_check(psc_session_token(&token, s, signed_byte(w), signed_byte(w), &w->error), &w->error);
}

/* A plugin with its own options, or with any. */
static void load(world *w, psc_session *s) {
    const unsigned which = fuzz_byte(&w->in) % (sizeof plugins / sizeof plugins[0]);
    const char *given = fuzz_byte(&w->in) & 1 ? PICK(w, options) : plugins[which].options;
    fuzz_check(psc_session_plugin(s, plugins[which].name, given, &w->error), &w->error);
}

static void measure(world *w, psc_session *s) {
    (void)psc_session_length(s, signed_byte(w));
    (void)psc_session_capture_bytes(s, signed_byte(w), NULL);
    (void)psc_session_gradient_bytes(s, signed_byte(w), signed_byte(w), signed_byte(w));
}

static void call(world *w) {
    const unsigned kind = fuzz_byte(&w->in) % 16;
    if (kind == 0) open_session(w);
    if (kind == 1) use_corpus(w);
    if (kind == 2) use_model(w);
    psc_session *s = kind > 2 ? session_of(w) : NULL;
    if (!s) return;
    const char *first, *second;
    switch (kind) {
    case 3:
    case 4:
        run_session(w, s);
        break;
    case 5:
        load(w, s);
        break;
    case 6:
        fuzz_check(psc_session_target(s, PICK(w, targets), &w->error), &w->error);
        break;
    case 7:
        first = PICK(w, targets);
        second = PICK(w, targets);
        fuzz_check(psc_session_contrast(s, first, second, &w->error), &w->error);
        break;
    case 8:
        fuzz_check(psc_session_capture(s, PICK(w, points), &w->error), &w->error);
        break;
    case 9:
        hook(w, s);
        break;
    case 10:
        psc_session_unhook(s, w);
        break;
    case 11:
        use_results(w, s);
        break;
    case 12:
        use_state(w, s);
        break;
    case 13:
        run_pairs(w, s);
        break;
    case 14:
        measure(w, s);
        break;
    default:
        psc_session_truncate(s, signed_byte(w) % 4, signed_byte(w));
        sample(w, s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    world w = {.in = {data, size}};
    fuzz_expect(chdir(fuzz_folder()) == 0, "cannot enter the scratch folder");
    fuzz_dictionary();
    open_session(&w);
    for (int i = 0; i < 40 && w.in.size > 0; i++) call(&w);
    psc_corpus_close(&w.corpus);
    psc_results_close(&w.results);
    psc_session_close(&w.sessions[0]);
    psc_session_close(&w.sessions[1]);
    return 0;
}
