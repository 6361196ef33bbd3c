/* The plugin `directions`: fits directions that tell labelled prompts apart.
 *
 *   x: an example, the chosen rows of a prompt at a place, each alone or their mean
 *   difference of means, principal components, a least-squares probe (directions_fit.c)
 *
 * Every run is of PSC_PHASE_SOURCE and holds prompts of one class c, one per sequence: source 2 c
 * trains, 2 c + 1 is held out. All training comes first. The verb directions makes these runs. */
#include "directions.h"

#include <stddef.h>
#include <string.h>

static const char *const ofs[] = {"each", "mean", NULL};

#define TEXT(key, value, help, field)                                                              \
    { key, value, help, PSC_OPTION_TEXT, offsetof(directions_state, field), 0, 0, NULL }

static const psc_option_description directions_options[] = {
    TEXT("at", "", "components and hook points, joined by +: blocks.*.hook_resid_post, L0H3",
        base.at),
    TEXT("labels", "", "the classes, one per line; of two, the second is the positive one",
        labels_text),
    {"rows", "last", "rows of each prompt", PSC_OPTION_ROWS, offsetof(directions_state, base.rows),
        0, 0, NULL},
    {"of", "each", "each row is an example, or the mean of a prompt's rows", PSC_OPTION_WORD,
        offsetof(directions_state, whole_mean), 0, 0, ofs},
    {"components", "10", "most principal components", PSC_OPTION_COUNT,
        offsetof(directions_state, components), 0, 4096, NULL},
    {"ridge", "0.01", "the probe's ridge, in units of the training examples", PSC_OPTION_NUMBER,
        offsetof(directions_state, ridge), 1e-12, 1e12, NULL},
    {"memory", "1024", "most MiB that sums may take", PSC_OPTION_COUNT,
        offsetof(directions_state, memory), 1, 1 << 20, NULL},
    TEXT("save", "", "a safetensors file for the directions", save),
    TEXT("prompts", "", "a hash of the prompts, to be recorded", prompts),
    TEXT("split", "", "how prompts were held out, to be recorded", split),
    {"layers", "all", "restricts `at` to these layers", PSC_OPTION_LAYERS,
        offsetof(directions_state, base.layers), 0, 0, NULL},
    {"heads", "all", "restricts `at` to these heads", PSC_OPTION_HEADS,
        offsetof(directions_state, base.heads), 0, 0, NULL},
    {0},
};

/* --- open ------------------------------------------------------------------------------------ */

static int read_labels(directions_state *s) {
    const psc_host *host = s->base.host;
    for (const char *p = s->labels_text; *p || s->n_classes > 0; p++) {
        const size_t length = strcspn(p, "\n");
        char *label = host->life_alloc(s->base.context, (uint64_t)length + 1);
        if (!label) return -1;
        memcpy(label, p, length);
        for (int32_t i = 0; i < s->n_classes; i++)
            if (strcmp(s->labels[i], label) == 0)
                return host->fail(s->base.context, "labels= names '%.60s' twice", label);
        if (s->n_classes == DIRECTIONS_CLASSES)
            return host->fail(
                s->base.context, "labels= names more than %d classes", (int)DIRECTIONS_CLASSES);
        s->labels[s->n_classes++] = label;
        p += length;
        if (!*p) break;
    }
    s->n_directions = s->n_classes == 2 ? 1 : s->n_classes;
    if (s->n_classes >= 2) return 0;
    return host->fail(s->base.context,
        "prompts of two classes or more are needed, and labels= names %d", (int)s->n_classes);
}

static int directions_open(psc_context *context, const psc_host *host, void **out) {
    directions_state *s = *out = host->life_alloc(context, sizeof *s);
    if (!s) return -1;
    intervention *base = &s->base;
    base->file = base->tensor = base->index = base->keys_text = "";
    if (host->options(context, s)) return -1;
    base->context = context;
    base->host = host;
    base->kind = INTERVENTION_DIRECTION;
    base->source[0] = base->source[1] = -1;
    if (!host->accumulating(context))
        return host->fail(context, "there are no labelled prompts; use the verb directions");
    s->reductions = host->reductions(context);
    if (!s->reductions || read_labels(s) || intervention_parse_sites(base)) return -1;
    if (*s->save && host->save_tensors(context, s->save, 0, NULL, 0, NULL)) return -1;
    s->places = host->life_alloc(context, (uint64_t)base->n_sites * sizeof *s->places);
    if (!s->places) return -1;
    for (int32_t i = 0; i < base->n_sites; i++) {
        directions_place *place = &s->places[i];
        place->site = &base->sites[i];
        place->width = base->sites[i].width;
        place->panels = (place->width + DIRECTIONS_PANEL - 1) / DIRECTIONS_PANEL;
        intervention_site_name(place->site, place->name, sizeof place->name);
        for (int32_t j = 0; j < i; j++)
            if (strcmp(s->places[j].name, place->name) == 0)
                return host->fail(
                    context, "at= names %.80s twice; name each place once", place->name);
    }
    return directions_sums_make(s);
}

/* --- a run ----------------------------------------------------------------------------------- */

/* Adds the rows of an event to their examples. */
static int on_rows(const psc_event *event, void *payload) {
    const intervention_site *site = payload;
    const directions_state *s = (const directions_state *)site->owner;
    const directions_place *place = &s->places[site - s->base.sites];
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t example = s->example_of[event->rows[r].index];
        if (example < 0) continue;
        const intervention_stretch x = intervention_row(site, event, r);
        double *to = place->run + example * place->row_stride;
        for (int64_t h = 0, i = 0; h < x.n1; h++)
            for (int64_t j = 0; j < x.n2; j++, i++)
                to[i / DIRECTIONS_PANEL * place->panel_stride + i % DIRECTIONS_PANEL] +=
                    (double)x.data[h * x.stride + j];
    }
    return 0;
}

/* Numbers the examples of the run in the order of its rows. */
static int find_examples(directions_state *s, const psc_row_set *set) {
    const psc_host *host = s->base.host;
    int32_t n = 0;
    const psc_row *rows = host->rows(s->base.context, &n);
    s->example_of = host->run_alloc(s->base.context, (uint64_t)n * sizeof *s->example_of + 1);
    s->n_rows = host->run_alloc(s->base.context, (uint64_t)set->n * sizeof *s->n_rows + 1);
    if (!s->example_of || !s->n_rows) return -1;
    for (int32_t r = 0; r < n; r++) s->example_of[r] = -1;
    s->n_examples = 0;
    for (int32_t k = 0; k < set->n; k++) {
        const int same = s->whole_mean && k > 0 &&
                         rows[set->index[k]].sequence == rows[set->index[k - 1]].sequence;
        s->n_examples += !same;
        s->example_of[set->index[k]] = s->n_examples - 1;
        s->n_rows[s->n_examples - 1]++;
    }
    s->n_prompts = 0;
    for (int32_t r = 0; r < n; r++)
        s->n_prompts += r == 0 || rows[r].sequence != rows[r - 1].sequence;
    return 0;
}

static int directions_run_begin(psc_context *context, void *state) {
    directions_state *s = state;
    const psc_host *host = s->base.host;
    const int32_t source = host->source(context);
    psc_row_set set;
    s->of_class = -1;
    if (host->phase(context) != PSC_PHASE_SOURCE || source < 0 || source >= 2 * s->n_classes)
        return host->fail(context,
            "a run needs PSC_PHASE_SOURCE and as source 2 c to train class c, 2 c + 1 to test it");
    if (s->solved && source % 2 == 0)
        return host->fail(context, "training prompts must come before those that are held out");
    s->of_class = source / 2;
    s->held = source % 2;
    if (s->held && directions_solve(s)) return -1;
    if (psc_rows_resolve(context, host, "rows", &s->base.rows, 0, &set) || find_examples(s, &set))
        return -1;
    for (int32_t i = 0; i < s->base.n_sites; i++) {
        directions_place *place = &s->places[i];
        const int64_t padded = place->panels * DIRECTIONS_PANEL;
        place->run =
            host->run_alloc(context, (uint64_t)(s->n_examples * padded) * sizeof *place->run + 1);
        if (!place->run) return -1;
        place->panel_stride = s->held ? DIRECTIONS_PANEL : s->n_examples * DIRECTIONS_PANEL;
        place->row_stride = s->held ? padded : DIRECTIONS_PANEL;
        psc_filter filter = set.filter;
        filter.layers = &place->site->layer;
        filter.n_layers = place->site->layer >= 0;
        filter.heads = &place->site->head;
        filter.n_heads = place->site->head >= 0;
        if (host->observe(context, place->site->point, &filter, on_rows, place->site)) return -1;
    }
    return 0;
}

static void average(const directions_state *s, const directions_place *place) {
    for (int64_t e = 0; e < s->n_examples; e++)
        for (int64_t i = 0; i < place->width && s->n_rows[e] > 1; i++)
            place->run[e * place->row_stride + i / DIRECTIONS_PANEL * place->panel_stride +
                       i % DIRECTIONS_PANEL] /= s->n_rows[e];
}

static int directions_run_end(psc_context *context, void *state, int status) {
    directions_state *s = state;
    (void)context;
    if (status || s->of_class < 0) return 0;
    for (int32_t i = 0; i < s->base.n_sites; i++) average(s, &s->places[i]);
    if (s->held && directions_test(s)) return -1;
    if (!s->held) directions_sums_add(s);
    s->counts[s->of_class][s->held] += s->n_examples;
    s->prompts_seen[s->held] += s->n_prompts;
    return 0;
}

static int directions_report(psc_context *context, void *state) {
    directions_state *s = state;
    (void)context;
    return directions_solve(s) ? -1 : directions_write(s);
}

static const psc_plugin directions_plugin = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof(psc_plugin),
    .name = "directions",
    .summary = "directions that tell labelled prompts apart, saved for the editor direction",
    .options = directions_options,
    .corpus = PSC_CORPUS_YES,
    .open = directions_open,
    .run_begin = directions_run_begin,
    .run_end = directions_run_end,
    .report = directions_report,
    .points = "the points that at= names",
    .phases = 1,
};

const psc_plugin *psc_builtin_directions(void) {
    return &directions_plugin;
}
