/* The plugin `activations`: hook points of a corpus's rows on disk, as shards
 * that other programs read.
 *
 *   array [rows, width of the point] = the tensors of the chosen rows, in the order of the corpus
 *
 * The values are the hooks' own f32, or rounded once to f16 or bf16. The host places the rows,
 * names the files and goes on after a kill; this plugin chooses rows and converts. */
#include "activations.h"

#include <stdio.h>
#include <string.h>

static const char *const elements[] = {"f32", "f16", "bf16", NULL};

static const psc_option_description activations_options[] = {
    {"out", "", "a new folder for the shards", PSC_OPTION_TEXT, offsetof(activations_state, folder),
        0, 0, NULL},
    {"points", "blocks.*.hook_resid_post", "hook points joined by +; * stands for any characters",
        PSC_OPTION_TEXT, offsetof(activations_state, points), 0, 0, NULL},
    {"dtype", "f32", "of the values, rounded to the nearest", PSC_OPTION_WORD,
        offsetof(activations_state, element), 0, 0, elements},
    {"rows", "16384", "of a shard; the last one may have fewer", PSC_OPTION_COUNT,
        offsetof(activations_state, shard_rows), 1, 1 << 30, NULL},
    {"sample", "1", "the part of the rows that is kept", PSC_OPTION_NUMBER,
        offsetof(activations_state, sample), 0, 1, NULL},
    {"seed", "0", "of the sample", PSC_OPTION_COUNT, offsetof(activations_state, seed), 0,
        INT32_MAX, NULL},
    {"from", "0", "the first position of a window that is kept", PSC_OPTION_COUNT,
        offsetof(activations_state, from), 0, 1, NULL},
    {"tokens", "", "ids joined by +: only rows of these tokens", PSC_OPTION_TEXT,
        offsetof(activations_state, tokens), 0, 0, NULL},
    {"limit", "100", "most gigabytes on disk; more is refused", PSC_OPTION_NUMBER,
        offsetof(activations_state, limit), 1e-6, 1e9, NULL},
    {0},
};

/* --- a run ----------------------------------------------------------------------------------- */

typedef struct convert_task {
    activations_state *s;
    const psc_event *event;
    const activations_array *array;
    char *out;
    int32_t begin;    /* the event's first row that is converted */
    double *overflow; /* [rows] */
} convert_task;

/* A part of consecutive chosen rows; heads may lie apart in the tensor. */
static void convert_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const convert_task *t = payload;
    const psc_view *v = &t->event->tensor;
    const int64_t outer = t->array->n_axes > 1 ? t->array->shape[0] : 1;
    const int64_t inner = t->array->width / outer;
    const int64_t step = t->array->n_axes > 1 ? v->stride[1] : 0;
    const int32_t element = t->s->element;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        double overflow = 0;
        for (int64_t h = 0; h < outer; h++) {
            const float *x = v->data + (t->begin + r) * v->stride[0] + h * step;
            const int64_t at = r * t->array->width + h * inner;
            if (element == ACTIVATIONS_F32)
                memcpy(t->out + 4 * at, x, 4 * (size_t)inner);
            else if (element == ACTIVATIONS_F16)
                overflow += (double)activations_to_f16((uint16_t *)(void *)t->out + at, x, inner);
            else
                activations_to_bf16((uint16_t *)(void *)t->out + at, x, inner);
        }
        t->overflow[r] = overflow;
    }
}

/* Rows begin..begin+n-1 of the event, all chosen. */
static int write_rows(activations_state *s, const psc_event *event, const activations_array *array,
    int32_t begin, int32_t n) {
    const psc_view *v = &event->tensor;
    const psc_host *host = s->host;
    const int32_t number = (int32_t)(array - s->arrays);
    const int32_t slot = s->slot[event->rows[begin].index];
    const int dense =
        v->stride[0] == array->width && (array->n_axes < 2 || v->stride[1] == array->shape[1]);
    if (s->element == ACTIVATIONS_F32 && dense)
        return host->shards_write(
            s->context, number, slot, n, v->data + (int64_t)begin * v->stride[0]);
    char *room = psc_kept_alloc(
        &s->values, s->context, host, (uint64_t)event->n_rows * (8 + 4 * (uint64_t)array->width));
    if (!room) return -1;
    convert_task task = {
        s, event, array, room + 8 * (int64_t)event->n_rows, begin, (double *)(void *)room};
    host->parallel_for(s->context, n, convert_rows, &task);
    for (int32_t i = 0; i < n; i++) s->overflowed += task.overflow[i];
    return host->shards_write(s->context, number, slot, n, task.out);
}

static int on_tensor(const psc_event *event, void *payload) {
    activations_state *s = payload;
    const int64_t layers = s->host->model(s->context)->n_layers + 1;
    const int32_t which = s->array_of[event->point * layers + event->layer + 1];
    for (int32_t r = 0, end; r < event->n_rows; r = end) {
        for (end = r; end < event->n_rows && s->slot[event->rows[end].index] >= 0; end++) continue;
        if (end > r && write_rows(s, event, &s->arrays[which], r, end - r)) return -1;
        if (end == r) end++;
    }
    return 0;
}

static int activations_run_begin(psc_context *context, void *state) {
    activations_state *s = state;
    const int32_t *chosen = activations_choose(s);
    s->overflowed = 0.0;
    return chosen ? s->host->shards_rows(context, s->n_chosen, chosen) : -1;
}

static int activations_run_end(psc_context *context, void *state, int status) {
    activations_state *s = state;
    if (status || s->overflowed == 0.0) return 0;
    return s->host->accumulate(context, s->overflows, 0, 1, &s->overflowed);
}

/* --- opening --------------------------------------------------------------------------------- */

/* One subscription per point, of the layers that were named. */
static int subscribe(activations_state *s) {
    const int32_t n_layers = s->host->model(s->context)->n_layers;
    int32_t *layers = s->host->life_alloc(s->context, (uint64_t)n_layers * sizeof *layers);
    if (!layers) return -1;
    for (int32_t point = 0; point < PSC_POINT_COUNT; point++) {
        psc_filter filter = PSC_FILTER_INIT;
        const int32_t *of = s->array_of + (int64_t)point * (n_layers + 1);
        int any = of[0] >= 0;
        for (int32_t l = 0; l < n_layers; l++)
            if (of[l + 1] >= 0) layers[filter.n_layers++] = l;
        any = any || filter.n_layers > 0;
        filter.layers = filter.n_layers > 0 ? layers : NULL;
        if (any && s->host->observe(s->context, (psc_point)point, &filter, on_tensor, s)) return -1;
    }
    return 0;
}

static int open_shards(activations_state *s) {
    psc_shard_array *arrays =
        s->host->life_alloc(s->context, (uint64_t)s->n_arrays * sizeof *arrays);
    if (!arrays) return -1;
    for (int32_t i = 0; i < s->n_arrays; i++) {
        arrays[i] = (psc_shard_array){s->arrays[i].name, s->arrays[i].n_axes, {0}};
        memcpy(arrays[i].shape, s->arrays[i].shape, sizeof s->arrays[i].shape);
    }
    return s->host->shards_open(
        s->context, &(psc_shard_options){.struct_size = sizeof(psc_shard_options),
                        .folder = s->folder,
                        .element = s->element,
                        .rows = s->shard_rows,
                        .share = s->sample,
                        .most_bytes = (uint64_t)(s->limit * 1e9),
                        .n_arrays = s->n_arrays,
                        .arrays = arrays});
}

static int activations_open(psc_context *context, const psc_host *host, void **state) {
    activations_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    if (!host->accumulating(context))
        return host->fail(context,
            "activations needs a corpus: use the verb corpus; analyze --capture keeps one text's");
    if (!*s->folder) return host->fail(context, "out= is missing; name a new folder for the rows");
    if (activations_find_points(s) || activations_read_tokens(s) || open_shards(s)) return -1;
    s->overflows = host->accumulator(context, "overflows", PSC_ACCUMULATE_COUNT, 1, 0);
    return s->overflows < 0 ? -1 : subscribe(s);
}

/* --- results --------------------------------------------------------------------------------- */

static int activations_report(psc_context *context, void *state) {
    activations_state *s = state;
    const psc_host *host = s->host;
    char sentence[400];
    int64_t rows = 0;
    double overflows = 0.0;
    if (host->shards_close(context, &rows) ||
        host->accumulated(context, s->overflows, 0, 1, &overflows) ||
        host->value_number(context, "rows", (double)rows) ||
        host->value_number(context, "overflows", overflows) ||
        host->value_text(context, "folder", s->folder))
        return -1;
    snprintf(sentence, sizeof sentence, "%s of %s as %s, in %.200s.", PSC_MANY(rows, "row"),
        PSC_MANY(s->n_arrays, "tensor"), elements[s->element], s->folder);
    if (host->summary_text(context, sentence)) return -1;
    if (overflows == 0.0) return 0;
    snprintf(sentence, sizeof sentence,
        "%s values are beyond f16 and were written as infinity; use dtype=bf16 or f32.",
        PSC_COMMAS(overflows));
    return host->summary_text(context, sentence);
}

const psc_plugin *psc_builtin_activations(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "activations",
        .summary = "hook points of a corpus's rows on disk, as safetensors shards",
        .options = activations_options,
        .corpus = PSC_CORPUS_OVERLAPS,
        .open = activations_open,
        .run_begin = activations_run_begin,
        .run_end = activations_run_end,
        .report = activations_report,
        .points = "any except scores and pattern",
    };
    return &plugin;
}
