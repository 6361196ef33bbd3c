/* The plugin `means`: the mean of hook points over a corpus, saved as a folder that `ablate` reads.
 *
 *   mean [width of the point] = sum over rows of all documents / rows, separately for each layer
 *
 * Position 0 is left out by default, because it is an attention sink. The tensors of
 * FOLDER/params.safetensors have the hook points' names and, with an H axis, the shape [H, D]:
 *   --ablate L0H3:by=mean,file=FOLDER/params.safetensors */
#include "common.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 48, MOST_POINTS = PSC_POINT_COUNT };

/* A point's place in the tables: all its layers, one after the other. */
typedef struct means_point {
    psc_point point;
    const char *name;
    int32_t layered, layers, heads; /* heads 0: no axis H */
    int64_t width, begin;
} means_point;

typedef struct means_state {
    psc_context *context;
    const psc_host *host;
    const char *folder, *points_text;
    int32_t from, n_points;
    means_point points[MOST_POINTS];
    int64_t n;      /* widths of all points and layers */
    int sums, rows; /* accumulators [n], [1] */
    double *sum;    /* run: [sequences, n] */
    int32_t *place; /* run: [rows] the sequence's place; -1: not counted */
    int32_t n_sequences;
    double *counted; /* run: [sequences] */
} means_state;

static const psc_option_description means_options[] = {
    {"points", "attn.hook_z+hook_attn_out+hook_mlp_out+mlp.hook_post+hook_resid_pre",
        "hook points without the layer, joined by +", PSC_OPTION_TEXT,
        offsetof(means_state, points_text), 0, 0, NULL},
    {"save", "", "a new folder for the means", PSC_OPTION_TEXT, offsetof(means_state, folder), 0, 0,
        NULL},
    {"from", "1", "the first position that counts", PSC_OPTION_COUNT, offsetof(means_state, from),
        0, 1, NULL},
    {0},
};

/* --- points ---------------------------------------------------------------------------------- */

/* Returns 0 if the width depends on the number of keys or on the vocabulary. */
static int64_t width_of(const char *shape, const psc_model_info *model) {
    if (strcmp(shape, "N") == 0) return model->d_model;
    if (strcmp(shape, "M") == 0) return model->d_mlp;
    if (strcmp(shape, "HD") == 0) return (int64_t)model->n_heads * model->d_head;
    if (strcmp(shape, "HN") == 0) return (int64_t)model->n_heads * model->d_model;
    return strcmp(shape, "1") == 0;
}

static int add_point(means_state *s, const char *name, size_t length) {
    static const struct {
        const char *name, *shape;
        int layered;
    } known[] = {
#define PSC_POINT_ROW(id, name, shape, layered) {name, shape, layered},
        PSC_POINTS(PSC_POINT_ROW)
#undef PSC_POINT_ROW
    };
    const psc_model_info *model = s->host->model(s->context);
    for (int i = 0; i < PSC_POINT_COUNT; i++) {
        const int64_t width = width_of(known[i].shape, model);
        if (strlen(known[i].name) != length || strncmp(known[i].name, name, length) != 0) continue;
        if (width == 0)
            return s->host->fail(s->context,
                "points: %.40s has no mean, because its width is the number of keys or tokens; "
                "leave it out",
                known[i].name);
        for (int32_t j = 0; j < s->n_points; j++)
            if ((int)s->points[j].point == i)
                return s->host->fail(
                    s->context, "points: %.40s is given twice; give it once", known[i].name);
        const int32_t layers = known[i].layered ? model->n_layers : 1;
        s->points[s->n_points++] = (means_point){(psc_point)i, known[i].name, known[i].layered,
            layers, known[i].shape[0] == 'H' ? model->n_heads : 0, width, s->n};
        s->n += layers * width;
        return 0;
    }
    return s->host->fail(
        s->context, "points: '%.*s' is not a hook point", (int)(length < 40 ? length : 40), name);
}

static int parse_points(means_state *s, const char *value) {
    for (;;) {
        const size_t length = strcspn(value, "+");
        if (add_point(s, value, length)) return -1;
        if (!value[length]) return 0;
        value += length + 1;
    }
}

static int means_open(psc_context *context, const psc_host *host, void **state) {
    means_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    if (!*s->folder) s->folder = NULL;
    if (!host->accumulating(context))
        return host->fail(context,
            "means needs a corpus: use the verb corpus; ablate by=mean takes one text's means");
    if (parse_points(s, s->points_text) ||
        (s->folder && host->save_folder(context, s->folder, 0, NULL, 0, NULL)))
        return -1;
    s->sums = host->accumulator(context, "sums", PSC_ACCUMULATE_SUM, s->n, 0);
    s->rows = s->sums < 0 ? -1 : host->accumulator(context, "rows", PSC_ACCUMULATE_COUNT, 1, 0);
    return s->rows < 0 ? -1 : 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

typedef struct event_task {
    means_state *s;
    const psc_event *event;
    const means_point *point;
} event_task;

/* A thread owns its columns and adds rows in ascending order, so no sum depends on chunks or
 * threads. */
static void add_columns(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const event_task *task = payload;
    const means_point *p = task->point;
    const psc_view *t = &task->event->tensor;
    const int64_t layer = task->event->layer < 0 ? 0 : task->event->layer;
    const int64_t inner = p->heads ? t->shape[2] : p->width;
    (void)thread;
    for (int32_t r = 0; r < task->event->n_rows; r++) {
        const int32_t place = task->s->place[task->event->rows[r].index];
        if (place < 0) continue;
        double *sum = task->s->sum + place * task->s->n + p->begin + layer * p->width;
        const float *x = t->data + r * t->stride[0];
        for (int64_t i = begin; i < end; i++)
            sum[i] += (double)x[p->heads ? i / inner * t->stride[1] + i % inner : i];
    }
}

static int on_event(const psc_event *event, void *payload) {
    means_state *s = payload;
    event_task task = {s, event, NULL};
    for (int32_t i = 0; i < s->n_points; i++)
        if ((int32_t)s->points[i].point == event->point) task.point = &s->points[i];
    if (!task.point) return 0;
    s->host->parallel_for(s->context, task.point->width, add_columns, &task);
    return 0;
}

static int means_run_begin(psc_context *context, void *state) {
    means_state *s = state;
    const psc_host *host = s->host;
    int32_t n_rows = 0;
    const psc_row *rows = host->rows(context, &n_rows);
    s->place = host->run_alloc(context, (uint64_t)n_rows * sizeof *s->place);
    if (!s->place) return -1;
    s->n_sequences = 0;
    for (int32_t r = 0; r < n_rows; r++) {
        s->n_sequences += r == 0 || rows[r].sequence != rows[r - 1].sequence;
        s->place[r] = rows[r].position >= s->from ? s->n_sequences - 1 : -1;
    }
    s->sum = host->run_alloc(context, (uint64_t)s->n_sequences * (uint64_t)s->n * sizeof *s->sum);
    s->counted = host->run_alloc(context, (uint64_t)s->n_sequences * sizeof *s->counted);
    if (!s->sum || !s->counted) return -1;
    for (int32_t r = 0; r < n_rows; r++)
        if (s->place[r] >= 0) s->counted[s->place[r]] += 1.0;
    for (int32_t i = 0; i < s->n_points; i++)
        if (host->observe(context, s->points[i].point, NULL, on_event, s)) return -1;
    return 0;
}

static int means_run_end(psc_context *context, void *state, int status) {
    means_state *s = state;
    for (int32_t q = 0; q < s->n_sequences && status == 0; q++)
        if (s->host->accumulate(context, s->sums, 0, s->n, s->sum + q * s->n) ||
            s->host->accumulate(context, s->rows, 0, 1, &s->counted[q]))
            return -1;
    return 0;
}

/* --- the means ------------------------------------------------------------------------------- */

static int save(const means_state *s, const float *means, int32_t n_tensors) {
    const psc_host *host = s->host;
    psc_named_tensor *tensors = host->life_alloc(s->context, (uint64_t)n_tensors * sizeof *tensors);
    char(*names)[NAME] = host->life_alloc(s->context, (uint64_t)n_tensors * sizeof *names);
    const psc_setting settings[] = {
        {"model_hash", PSC_SETTING_TEXT, host->model(s->context)->hash, 0},
        {"from_position", PSC_SETTING_NUMBER, NULL, s->from}};
    if (!tensors || !names) return -1;
    int32_t n = 0;
    for (int32_t i = 0; i < s->n_points; i++) {
        const means_point *p = &s->points[i];
        for (int32_t l = 0; l < p->layers; l++, n++) {
            if (p->layered)
                snprintf(names[n], NAME, "blocks.%d.%s", (int)l, p->name);
            else
                snprintf(names[n], NAME, "%s", p->name);
            tensors[n] = (psc_named_tensor){names[n], p->heads ? 2 : 1,
                {p->heads ? p->heads : p->width, p->heads ? p->width / p->heads : 0},
                means + p->begin + l * p->width};
        }
    }
    return host->save_folder(s->context, s->folder, 2, settings, n, tensors);
}

static int means_report(psc_context *context, void *state) {
    means_state *s = state;
    const psc_host *host = s->host;
    double rows = 0.0;
    double *sum = host->life_alloc(context, (uint64_t)s->n * sizeof *sum);
    float *means = host->life_alloc(context, (uint64_t)s->n * sizeof *means);
    char sentence[320];
    if (!sum || !means || host->accumulated(context, s->sums, 0, s->n, sum) ||
        host->accumulated(context, s->rows, 0, 1, &rows))
        return -1;
    if (rows == 0.0)
        return host->summary_text(
            context, "The corpus has no counted rows, so there are no means.");
    int32_t n_tensors = 0;
    for (int32_t i = 0; i < s->n_points; i++) n_tensors += s->points[i].layers;
    for (int64_t i = 0; i < s->n; i++) means[i] = (float)(sum[i] / rows);
    if (s->folder && save(s, means, n_tensors)) return -1;
    snprintf(sentence, sizeof sentence, "Means of %s over %s%s%.200s%s.",
        PSC_MANY(n_tensors, "tensor"), PSC_MANY(rows, "row"),
        s->folder ? ", saved in " : "; use save=FOLDER to keep them", s->folder ? s->folder : "",
        s->folder ? "/params.safetensors" : "");
    return host->value_number(context, "rows", rows) || host->summary_text(context, sentence);
}

const psc_plugin *psc_builtin_means(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "means",
        .summary = "means of hook points over a corpus, saved for ablate by=mean,file=...",
        .options = means_options,
        .corpus = PSC_CORPUS_YES,
        .open = means_open,
        .run_begin = means_run_begin,
        .run_end = means_run_end,
        .report = means_report,
        .points = "any except scores, pattern and logits",
    };
    return &plugin;
}
