/* Calls of the public interface in any order, with any arguments: each byte chooses a call, the next
 * bytes its arguments. Up to two sessions and one corpus live at a time; a failed call must leave all
 * of them usable. */
#include "fuzz.h"
#include "psc_corpus.h"

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

static const char *const plugins[] = {"logits", "ln", "mlp", "lens", "sampling", "sweep", "means",
    "frozen", "graph", "edges", "roles", "attention", "partition", "neurons", "weights", "spans",
    "treebank", "words", "forms", "probe", "ablate", "scale", "steer", "knockout", "patch",
    "direction", "directions", "effects", "none"};
static const char *const options[] = {NULL, "", "rows=all", "top=3", "level=head+neuron",
    "centered=yes", "at=embed", "at=embed,along=L0N1.in", "at=embed,labels=a\nb", "at=L0H1,by=zero",
    "at=L1H0,source=1", "heads=L0H0,keys=0-1", "rows=0-1", "layer=2", "over=resid_pre", "metric=kl",
    "at=*_mlp_out,alpha=2", "show=all"};
static const char *const targets[] = {"next", "top:3", "#5", "the", "#-1", "#319", "top:0", ""};
static const char *const points[] = {"all", "blocks.*.attn.hook_pattern", "hook_logits:rows=-1",
    "blocks.0.hook_resid_post:rows=0+1", "blocks.9.hook_z", "hook_embed", "*"};
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
    fuzz_check(psc_session_open(at, fuzz_model(), &o, &w->error), &w->error);
}

static void run_session(world *w, psc_session *s) {
    psc_token tokens[24];
    psc_input inputs[3];
    psc_run_options o = PSC_RUN_OPTIONS_INIT;
    psc_copy copy = PSC_COPY_INIT;
    const int32_t n_inputs = (int32_t)(fuzz_byte(&w->in) % 4);
    for (int i = 0; i < 24; i++)
        tokens[i] = (psc_token){(int32_t)fuzz_byte(&w->in) * 2 - 4 * (i == 23), 0, 0};
    for (int i = 0; i < 3; i++)
        inputs[i] = (psc_input){i + signed_byte(w) / 100, signed_byte(w) % 9, tokens + 8 * i};
    o.logits = signed_byte(w) % 4;
    o.no_logits = (int32_t)(fuzz_byte(&w->in) & 1);
    o.phase = signed_byte(w) % 5;
    o.source = signed_byte(w) % 3;
    o.stop_at_layer = signed_byte(w) % 6;
    if (fuzz_byte(&w->in) & 1) o.text = "the text", o.text_bytes = 8;
    if (fuzz_byte(&w->in) & 1) {
        copy.point = signed_byte(w) % 30;
        copy.layer = signed_byte(w) % 5;
        copy.rows = signed_byte(w) % 5;
        copy.out = w->memory;
        copy.capacity = fuzz_byte(&w->in) * 16;
        o.copies = &copy;
        o.n_copies = 1;
    }
    if (fuzz_byte(&w->in) & 1) o.stop = stop_at_once, o.payload = w;
    if (fuzz_byte(&w->in) & 1) {
        o.logits_memory = w->memory;
        o.logits_capacity = signed_byte(w) * 16;
    }
    fuzz_check(psc_session_run(s, n_inputs ? inputs : NULL, n_inputs, &o, &w->error), &w->error);
}

static void hook(world *w, psc_session *s) {
    psc_filter filter = PSC_FILTER_INIT;
    const int32_t layers[2] = {signed_byte(w) % 4, signed_byte(w) % 4};
    filter.layers = layers;
    filter.n_layers = signed_byte(w) % 3;
    filter.rows = signed_byte(w) % 5;
    filter.row_begin = signed_byte(w);
    filter.row_end = signed_byte(w);
    const psc_point point = (psc_point)(signed_byte(w) % 30);
    const psc_filter *given = fuzz_byte(&w->in) & 1 ? &filter : NULL;
    psc_status status = fuzz_byte(&w->in) & 1
                            ? psc_session_observe(s, point, given, on_event, w, &w->error)
                            : psc_session_edit(s, point, given, on_event, w, &w->error);
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

static void call(world *w) {
    const unsigned kind = fuzz_byte(&w->in) % 14;
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
        first = PICK(w, plugins);
        second = PICK(w, options);
        fuzz_check(psc_session_plugin(s, first, second, &w->error), &w->error);
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
    default:
        psc_session_truncate(s, signed_byte(w) % 4, signed_byte(w));
        (void)psc_session_length(s, signed_byte(w));
        (void)psc_session_capture_bytes(s, signed_byte(w), NULL);
        sample(w, s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    world w = {.in = {data, size}};
    fuzz_expect(chdir(fuzz_folder()) == 0, "cannot enter the scratch folder");
    open_session(&w);
    for (int i = 0; i < 40 && w.in.size > 0; i++) call(&w);
    psc_corpus_close(&w.corpus);
    psc_results_close(&w.results);
    psc_session_close(&w.sessions[0]);
    psc_session_close(&w.sessions[1]);
    return 0;
}
