/* HeadVis's folder for attention heads, as Neuronpedia's programs read it
 * (github.com/hijohnnylin/neuronpedia, utils/neuronpedia-utils/neuronpedia_utils/headvis):
 *
 *   config.json               the model, the corpus, the settings
 *   scatter_data.json         six metrics per head
 *   heads/L{l}H{h}.json       windows by bucket, distances, tokens, histogram (headvis_head.c)
 *   server_config.json, attributions/manifest.json   empty objects: a static folder
 *
 *   a metric = S/n over the rows of all windows of two rows or more; its variance is of the distances
 *   of all rows together: sum (var_k + m_k^2)/n - (sum m_k/n)^2, m_k and var_k of row k */
#include "attention_contexts.h"
#include "growing.h"
#include "headvis_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const metrics[][2] = {
    {"self_attention_score", "attention of a token to itself, mean over tokens"},
    {"prev_token_score", "attention to the token before, mean over tokens that have one"},
    {"pattern_entropy", "entropy of a token's attention in nats, mean over tokens"},
    {"qk_distance", "distance in tokens that a token looks back, mean over attention and tokens"},
    {"qk_distance_variance", "variance of that distance over attention and tokens"},
    {"induction_score",
        "attention to the token after an earlier occurrence of the same token, mean "
        "over tokens that have one; weights below 0.01 count as 0"}};
enum { N_METRICS = sizeof metrics / sizeof *metrics };

static int put_constant(const headvis *v, const char *name) {
    psc_growing text = {0};
    psc_growing_put(&text, "{}\n");
    return headvis_put_file(v, name, &text);
}

/* --- metrics --------------------------------------------------------------------------------- */

static void find_metrics(const headvis *v, int64_t cell, double out[N_METRICS]) {
    const double *sums = v->sums + cell * SUM_COUNT, *n = v->counts;
    const double mean = psc_mean(sums[SUM_DISTANCE], n[COUNT_ROWS]);
    const double variance = psc_mean(sums[SUM_SQUARE], n[COUNT_ROWS]) - mean * mean;
    out[0] = psc_mean(sums[SUM_SELF], n[COUNT_ROWS]);
    out[1] = psc_mean(sums[SUM_PREVIOUS], n[COUNT_LATER]);
    out[2] = psc_mean(sums[SUM_ENTROPY], n[COUNT_ROWS]);
    out[3] = mean;
    out[4] = variance < 0.0 ? 0.0 : variance;
    out[5] = psc_mean(sums[SUM_INDUCTION], n[COUNT_REPEATS]);
}

/* Also the results' array: headvis_metrics [layers, heads, metrics]. */
static int write_scatter(const headvis *v) {
    static const char *const axes[] = {"layers", "heads", "metrics"};
    const attention_contexts *c = v->c;
    const char *names[N_METRICS];
    psc_growing text = {0};
    for (int i = 0; i < N_METRICS; i++) names[i] = metrics[i][0];
    if (c->host->axis_labels(c->context, "metrics", N_METRICS, names)) return -1;
    double *out = c->host->array(c->context, "headvis_metrics", PSC_F64, 3, axes);
    if (!out) return -1;
    psc_growing_put(&text, "[");
    for (int64_t cell = 0; cell < c->n_cells; cell++) {
        double *values = out + cell * N_METRICS;
        find_metrics(v, cell, values);
        psc_growing_put(&text, "%s{\"layer\": %d, \"head\": %d", cell ? ",\n" : "",
            (int)(cell / v->n_heads), (int)(cell % v->n_heads));
        for (int i = 0; i < N_METRICS; i++) {
            psc_growing_put(&text, ", \"%s\": ", names[i]);
            headvis_put_number(&text, values[i]);
        }
        psc_growing_put(&text, "}");
    }
    psc_growing_put(&text, "]\n");
    return headvis_put_file(v, "scatter_data.json", &text);
}

/* --- config.json ----------------------------------------------------------------------------- */

static void put_text(psc_growing *text, const char *key, const char *value) {
    psc_growing_put(text, "\"%s\": ", key);
    headvis_put_string(text, value, strlen(value));
}

/* The last part of a path or of owner/name. */
static const char *last_part(const char *path, size_t *n) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    *n = end - begin;
    return path + begin;
}

/* The names of model and corpus. Neuronpedia's name of a model is its own without the owner. */
static void put_names(const headvis *v, psc_growing *text) {
    const attention_contexts *c = v->c;
    size_t n = 0;
    const int automatic = strcmp(c->model, "auto") == 0;
    const char *last = last_part(automatic ? c->host->model(c->context)->path : c->model, &n);
    psc_growing_put(text, "{\n  \"model_name\": ");
    if (automatic)
        headvis_put_string(text, last, n);
    else
        headvis_put_string(text, c->model, strlen(c->model));
    psc_growing_put(text, ",\n  \"np_model_id\": ");
    headvis_put_string(text, last, n);
    psc_growing_put(text, ",\n  ");
    put_text(text, "dataset_name", c->dataset);
}

static void put_metrics(psc_growing *text) {
    psc_growing_put(text, ",\n  \"metrics\": [");
    for (int i = 0; i < N_METRICS; i++)
        psc_growing_put(text, "%s\"%s\"", i ? ", " : "", metrics[i][0]);
    psc_growing_put(text, "],\n  \"metric_descriptions\": {");
    for (int i = 0; i < N_METRICS; i++)
        psc_growing_put(text, "%s\n    \"%s\": \"%s\"", i ? "," : "", metrics[i][0], metrics[i][1]);
    psc_growing_put(text, "}");
}

static void put_settings(const headvis *v, psc_growing *text) {
    const attention_contexts *c = v->c;
    psc_growing_put(text,
        ",\n  \"pipeline_config\": {\"n_sequences\": %.0f, \"seq_len\": %.0f, \"dtype\": \"float32\", "
        "\"attn_implementation\": \"pythiascope\", \"n_intervals\": %d, \"samples_per_interval\": %d, "
        "\"samples_per_top_interval\": %d, \"sparse_topk_per_row\": %d, \"sparse_threshold\": 0.005, "
        "\"induction_attention_threshold\": 0.01, \"num_hidden_layers\": %d, "
        "\"num_attention_heads\": %d, ",
        v->counts[COUNT_WINDOWS], v->longest, HEADVIS_BUCKETS, HEADVIS_SAMPLES, (int)c->kept,
        HEADVIS_KEYS, (int)v->n_layers, (int)v->n_heads);
    put_text(text, "model_hash", c->host->model(c->context)->hash);
    psc_growing_put(text, "}\n}\n");
}

static int write_config(const headvis *v) {
    psc_growing text = {0};
    put_names(v, &text);
    psc_growing_put(&text,
        ",\n  \"n_layers\": %d, \"n_heads\": %d, \"n_intervals\": %d,\n  \"heads\": [",
        (int)v->n_layers, (int)v->n_heads, HEADVIS_BUCKETS);
    for (int64_t cell = 0; cell < v->c->n_cells; cell++)
        psc_growing_put(&text, "%s[%d, %d]", cell ? ", " : "", (int)(cell / v->n_heads),
            (int)(cell % v->n_heads));
    psc_growing_put(&text, "]");
    put_metrics(&text);
    psc_growing_put(&text,
        ",\n  \"head_data_pattern\": \"L{layer}H{head}.json\", \"has_umap\": false, \"umap_heads\": "
        "[],\n  \"custom_plots\": [{\"key\": \"qk_distance_histogram\", \"label\": \"Distance\"}, "
        "{\"key\": \"histogram\", \"label\": \"Largest attention\"}],\n"
        "  \"custom_tables\": [{\"key\": \"top_query_tokens\", \"label\": \"Query tokens\"}, "
        "{\"key\": \"top_key_tokens\", \"label\": \"Key tokens\"}],\n"
        "  \"statistics_display\": {\"n_samples\": {\"label\": \"Windows kept\", \"format\": "
        "\"default\"}, \"mean_max_activation\": {\"label\": \"Mean largest attention\", "
        "\"format\": \"default\"}}");
    put_settings(v, &text);
    return headvis_put_file(v, "config.json", &text);
}

/* --- the folder ------------------------------------------------------------------------------ */

/* "headvis/NAME", the name with what a path cannot have replaced. */
static void name_folder(headvis *v) {
    int n = snprintf(v->folder, sizeof v->folder, "headvis/");
    for (const char *c = v->c->dataset; *c && n < (int)sizeof v->folder - 1; c++, n++) {
        const int good = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                         (*c >= '0' && *c <= '9') || *c == '_' || (*c == '.' && c != v->c->dataset);
        v->folder[n] = (char)(good ? *c : '-');
    }
    v->folder[n] = 0;
}

static int read_totals(headvis *v) {
    const attention_contexts *c = v->c;
    const psc_host *host = c->host;
    const uint64_t width = (uint64_t)(c->n_cells + c->n_cells % 2) * sizeof *v->ranked;
    v->sums = host->run_alloc(c->context, (uint64_t)(c->n_cells * SUM_COUNT) * sizeof *v->sums);
    v->ranked = host->run_alloc(c->context, HEADVIS_RANKED * width);
    if (!v->sums || !v->ranked ||
        host->accumulated(c->context, c->sums, 0, c->n_cells * SUM_COUNT, v->sums) ||
        host->accumulated(c->context, c->counts, 0, COUNT_COUNT, v->counts) ||
        host->accumulated(c->context, c->longest, 0, 1, &v->longest))
        return -1;
    if (!(v->longest > 0.0)) v->longest = 0.0;
    v->n_ranked = host->accumulated_records(c->context, c->ranked, 0, NULL, v->ranked);
    return v->n_ranked < 0 ? -1 : 0;
}

static int make_room(headvis *v) {
    const attention_contexts *c = v->c;
    const psc_host *host = c->host;
    const int32_t n[2] = {HEADVIS_SAMPLED, c->kept};
    for (int list = 0; list < 2; list++) {
        v->entries[list] = host->run_alloc(c->context, (uint64_t)n[list] * sizeof(psc_top));
        v->records[list] = host->run_alloc(c->context, (uint64_t)n[list] * c->record_bytes);
        if (!v->entries[list] || !v->records[list]) return -1;
    }
    const uint64_t vocab = (uint64_t)c->n_vocab * sizeof *v->query;
    v->chosen = host->run_alloc(c->context, HEADVIS_CHOSEN * sizeof *v->chosen);
    v->all = host->run_alloc(c->context, (uint64_t)c->n_cells * HEADVIS_CHOSEN * sizeof *v->all);
    v->query = host->run_alloc(c->context, vocab);
    v->key = host->run_alloc(c->context, vocab);
    return v->chosen && v->all && v->query && v->key ? 0 : -1;
}

/* The places of all heads' windows, in order, for their numbers. */
static int number_windows(headvis *v) {
    int64_t n = 0;
    for (int64_t cell = 0; cell < v->c->n_cells; cell++) {
        if (headvis_choose(v, cell)) return -1;
        for (int32_t i = 0; i < v->n_chosen; i++) v->all[n++] = v->chosen[i];
    }
    qsort(v->all, (size_t)n, sizeof *v->all, headvis_by_place);
    for (int64_t i = 0; i < n; i++)
        if (v->n_all == 0 || headvis_by_place(&v->all[v->n_all - 1], &v->all[i]) != 0)
            v->all[v->n_all++] = v->all[i];
    return 0;
}

int headvis_write(const attention_contexts *c, int32_t n_layers, int32_t n_heads) {
    headvis v = {.c = c, .n_layers = n_layers, .n_heads = n_heads};
    char sentence[240];
    name_folder(&v);
    if (read_totals(&v) || make_room(&v) || number_windows(&v) || write_config(&v) ||
        write_scatter(&v) || put_constant(&v, "server_config.json") ||
        put_constant(&v, "attributions/manifest.json"))
        return -1;
    for (int64_t cell = 0; cell < c->n_cells; cell++)
        if (headvis_choose(&v, cell) || headvis_head(&v, cell)) return -1;
    snprintf(sentence, sizeof sentence,
        "HeadVis's folder %s of the output folder has %d heads in %lld of %.0f windows.", v.folder,
        (int)c->n_cells, (long long)v.n_all, v.counts[COUNT_WINDOWS]);
    return c->host->value_number(c->context, "headvis_windows", v.counts[COUNT_WINDOWS]) ||
           c->host->summary_text(c->context, sentence);
}
