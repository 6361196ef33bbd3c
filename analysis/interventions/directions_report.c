/* The figures of `directions`, and the file that the editor `direction` reads:
 *
 *   mean_difference, probe [directions, width] (of two classes [width]),
 *   probe_bias, means [classes, width], components [k, width], explained_variance [k], and the mean
 *   over all examples under the place's name. With several places "<place>." precedes each name. */
#include "directions.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TENSORS = 7, NAME = 128 };

static double total(const directions_state *s, int which) {
    double n = 0.0;
    for (int32_t c = 0; c < s->n_classes; c++) n += (double)s->counts[c][which];
    return n;
}

/* The held-out accuracy of always guessing the most frequent training class. */
static double majority(const directions_state *s) {
    int32_t most = 0;
    for (int32_t c = 0; c < s->n_classes; c++)
        if (s->counts[c][0] > s->counts[most][0]) most = c;
    return total(s, 1) > 0.0 ? (double)s->counts[most][1] / total(s, 1) : NAN;
}

/* --- arrays ---------------------------------------------------------------------------------- */

static int write_axes(const directions_state *s) {
    const psc_host *host = s->base.host;
    const char **names =
        host->run_alloc(s->base.context, (uint64_t)s->base.n_sites * sizeof *names);
    if (!names) return -1;
    for (int32_t i = 0; i < s->base.n_sites; i++) names[i] = s->places[i].name;
    return host->axis_labels(s->base.context, "places", s->base.n_sites, names) ||
           host->axis_labels(s->base.context, "classes", s->n_classes, s->labels) ||
           host->axis_labels(s->base.context, "directions", s->n_directions,
               s->n_directions == 1 ? s->labels + 1 : s->labels) ||
           psc_count_axis(
               s->base.context, host, "components", 1, s->components ? s->components : 1);
}

static double cosine(int64_t n, const double *a, const double *b) {
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (int64_t i = 0; i < n; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return aa > 0.0 && bb > 0.0 ? ab / sqrt(aa * bb) : NAN;
}

static int write_arrays(const directions_state *s) {
    static const char *const place[] = {"places"}, *const each[] = {"places", "directions"},
                             *const parts[] = {"places", "components"}, *const rows[] = {"classes"};
    const psc_host *host = s->base.host;
    psc_context *context = s->base.context;
    double *accuracy = host->array(context, "accuracy", PSC_F64, 1, place);
    double *nearest = host->array(context, "accuracy_means", PSC_F64, 1, place);
    double *norm = host->array(context, "difference_norm", PSC_F64, 2, each);
    double *angle = host->array(context, "probe_cosine", PSC_F64, 2, each);
    double *explained = host->array(context, "explained", PSC_F64, 2, parts);
    int32_t *train = host->array(context, "train_rows", PSC_I32, 1, rows);
    int32_t *held = host->array(context, "held_out_rows", PSC_I32, 1, rows);
    const double tested = total(s, 1);
    if (!accuracy || !nearest || !norm || !angle || !explained || !train || !held) return -1;
    for (int32_t c = 0; c < s->n_classes; c++) {
        train[c] = (int32_t)s->counts[c][0];
        held[c] = (int32_t)s->counts[c][1];
    }
    for (int32_t i = 0; i < s->base.n_sites; i++) {
        const directions_place *p = &s->places[i];
        const int64_t stride = p->panels * DIRECTIONS_PANEL;
        if (tested > 0.0) {
            accuracy[i] = (double)p->right_probe / tested;
            nearest[i] = (double)p->right_means / tested;
        }
        for (int32_t k = 0; k < s->n_directions; k++) {
            const double *d = p->difference + k * stride;
            double squares = 0.0;
            for (int64_t j = 0; j < p->width; j++) squares += d[j] * d[j];
            norm[i * s->n_directions + k] = sqrt(squares);
            angle[i * s->n_directions + k] = cosine(p->width, d, p->probe + k * stride);
        }
        for (int32_t k = 0; k < p->n_components; k++)
            explained[i * s->components + k] = p->explained[k] / p->variance;
    }
    return 0;
}

/* --- the file -------------------------------------------------------------------------------- */

/* Adds one tensor of rows [n, width] that are `stride` doubles apart. */
static int add_tensor(const directions_state *s, psc_named_tensor *to, const char *place,
    const char *name, int32_t axes, int64_t n, int64_t width, const double *from, int64_t stride) {
    const psc_host *host = s->base.host;
    float *data = host->run_alloc(s->base.context, (uint64_t)(n * width) * sizeof *data);
    char *full = host->run_alloc(s->base.context, NAME);
    if (!data || !full) return -1;
    snprintf(full, NAME, "%s%s%s", place, *place && *name ? "." : "", name);
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i < width; i++) data[k * width + i] = (float)from[k * stride + i];
    *to = (psc_named_tensor){full, axes, {axes == 2 ? n : n * width, axes == 2 ? width : 0}, data};
    return 0;
}

static int add_place(
    const directions_state *s, const directions_place *p, psc_named_tensor *to, int32_t *n) {
    const int64_t stride = p->panels * DIRECTIONS_PANEL, width = p->width;
    const int32_t axes = s->n_directions == 1 ? 1 : 2;
    const char *name = s->base.n_sites > 1 ? p->name : "";
    double *mean = s->base.host->run_alloc(s->base.context, (uint64_t)width * sizeof *mean);
    if (!mean) return -1;
    for (int64_t i = 0; i < width; i++) {
        for (int32_t c = 0; c < s->n_classes; c++) mean[i] += p->x[c * stride + i];
        mean[i] /= total(s, 0);
    }
    to += *n;
    if (add_tensor(s, to++, name, "mean_difference", axes, s->n_directions, width, p->difference,
            stride) ||
        add_tensor(s, to++, name, "probe", axes, s->n_directions, width, p->probe, stride) ||
        add_tensor(s, to++, name, "probe_bias", 1, 1, s->n_directions, p->bias, 0) ||
        add_tensor(s, to++, name, "means", 2, s->n_classes, width, p->means, stride) ||
        add_tensor(s, to++, p->name, "", 1, 1, width, mean, 0))
        return -1;
    *n += 5;
    if (p->n_components == 0) return 0;
    *n += 2;
    return add_tensor(
               s, to++, name, "components", 2, p->n_components, width, p->components, width) ||
           add_tensor(s, to, name, "explained_variance", 1, 1, p->n_components, p->explained, 0);
}

static int save(const directions_state *s) {
    const psc_host *host = s->base.host;
    char rows[32], labels[512] = "";
    int32_t n = 0;
    psc_named_tensor *tensors =
        host->run_alloc(s->base.context, TENSORS * (uint64_t)s->base.n_sites * sizeof *tensors);
    if (!tensors) return -1;
    for (int32_t i = 0; i < s->base.n_sites; i++)
        if (add_place(s, &s->places[i], tensors, &n)) return -1;
    psc_rows_text(rows, sizeof rows, &s->base.rows);
    for (int32_t c = 0; c < s->n_classes; c++) {
        const size_t used = strlen(labels);
        snprintf(labels + used, sizeof labels - used, "%s%.100s", c ? ", " : "", s->labels[c]);
    }
    const psc_setting settings[] = {{"plugin", PSC_SETTING_TEXT, "directions", 0},
        {"model_hash", PSC_SETTING_TEXT, host->model(s->base.context)->hash, 0},
        {"point", PSC_SETTING_TEXT, s->base.at, 0},
        {"places", PSC_SETTING_NUMBER, NULL, s->base.n_sites}, {"rows", PSC_SETTING_TEXT, rows, 0},
        {"of", PSC_SETTING_TEXT, s->whole_mean ? "mean" : "each", 0},
        {"labels", PSC_SETTING_TEXT, labels, 0}, {"prompts", PSC_SETTING_TEXT, s->prompts, 0},
        {"split", PSC_SETTING_TEXT, s->split, 0},
        {"train_prompts", PSC_SETTING_NUMBER, NULL, (double)s->prompts_seen[0]},
        {"held_out_prompts", PSC_SETTING_NUMBER, NULL, (double)s->prompts_seen[1]},
        {"ridge", PSC_SETTING_NUMBER, NULL, s->ridge}};
    return host->save_tensors(s->base.context, s->save,
        (int32_t)(sizeof settings / sizeof *settings), settings, n, tensors);
}

/* --- the summary ----------------------------------------------------------------------------- */

static int say_places(const directions_state *s) {
    const psc_host *host = s->base.host;
    const double tested = total(s, 1);
    char line[240], a[PSC_FIGURE], b[PSC_FIGURE], c[PSC_FIGURE];
    snprintf(line, sizeof line, "%-28s %6s %6s %9s %9s", "place", "probe", "means", "|diff.|",
        "1st comp.");
    if (host->summary_text(s->base.context, line)) return -1;
    for (int32_t i = 0; i < s->base.n_sites; i++) {
        const directions_place *p = &s->places[i];
        double squares = 0.0;
        for (int64_t j = 0; j < p->width; j++) squares += p->difference[j] * p->difference[j];
        snprintf(line, sizeof line, "%-28.60s %s %s %9.3f %s", p->name,
            psc_figure(a, 6, 3, tested > 0.0 ? (double)p->right_probe / tested : NAN, ""),
            psc_figure(b, 6, 3, tested > 0.0 ? (double)p->right_means / tested : NAN, ""),
            sqrt(squares),
            psc_figure(c, 9, 3, p->n_components ? p->explained[0] / p->variance : NAN, ""));
        if (host->summary_text(s->base.context, line)) return -1;
    }
    snprintf(line, sizeof line,
        "probe, means: accuracy on the held-out prompts, of the least-squares probe and of the "
        "nearest mean; the most frequent class: %s.",
        psc_figure(a, 1, 3, majority(s), ""));
    return host->summary_text(s->base.context, line);
}

int directions_write(directions_state *s) {
    const psc_host *host = s->base.host;
    char sentence[420];
    snprintf(sentence, sizeof sentence,
        "Directions of %d classes from %s training prompts (%s examples); %s prompts (%s examples) "
        "are held out. LAPACK computes the last bits of probe and components.",
        (int)s->n_classes, PSC_COMMAS(s->prompts_seen[0]), PSC_COMMAS(total(s, 0)),
        PSC_COMMAS(s->prompts_seen[1]), PSC_COMMAS(total(s, 1)));
    if (host->summary_text(s->base.context, sentence) || write_axes(s) || write_arrays(s) ||
        say_places(s) || host->value_number(s->base.context, "majority", majority(s)) ||
        host->value_number(s->base.context, "train_prompts", (double)s->prompts_seen[0]) ||
        host->value_number(s->base.context, "held_out_prompts", (double)s->prompts_seen[1]) ||
        host->value_number(s->base.context, "ridge", s->ridge))
        return -1;
    if (*s->prompts && host->value_text(s->base.context, "prompts", s->prompts)) return -1;
    if (!*s->save) return 0;
    snprintf(sentence, sizeof sentence, "They are in %.200s, which --direction reads as file=.",
        s->save);
    return save(s) ? -1 : host->summary_text(s->base.context, sentence);
}
