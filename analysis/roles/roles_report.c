/* Statistics of the roles over rows, with and without position 0; the map of the residuals that are
 * strong in a role; the printed summary. */
#include "roles.h"
#include "top.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const role_names[] = {"predictor", "attractor", "influencer"};
static const char letters[] = {'P', 'A', 'I'};

typedef struct statistic {
    double mean, deviation, largest;
    int32_t largest_row; /* -1: no row has the role */
} statistic;

/* Over row `first` and later rows, without NaN. */
static statistic describe(const double *values, int32_t first, int32_t n_rows) {
    statistic s = {NAN, NAN, NAN, -1};
    double sum = 0.0, squares = 0.0;
    int32_t n = 0;
    for (int32_t j = first; j < n_rows; j++) {
        if (isnan(values[j])) continue;
        sum += values[j];
        n++;
        if (s.largest_row >= 0 && !(values[j] > s.largest)) continue;
        s.largest = values[j];
        s.largest_row = j;
    }
    if (n == 0) return s;
    s.mean = sum / n;
    for (int32_t j = first; j < n_rows; j++)
        if (!isnan(values[j])) squares += (values[j] - s.mean) * (values[j] - s.mean);
    s.deviation = sqrt(squares / n);
    return s;
}

/* Marks the rows above the layer's mean by more than a standard deviation; both leave out
 * position 0. */
static void mark(roles_state *s, int role, int32_t layer, const statistic *without) {
    const double *values = s->roles[role] + (int64_t)layer * s->n_rows;
    int32_t *map = s->map + (int64_t)layer * s->n_rows;
    for (int32_t j = 0; j < s->n_rows; j++) {
        if (role == 0) map[j] = 0;
        if (values[j] > without->mean + without->deviation) map[j] |= 1 << role;
    }
}

int roles_statistics(roles_state *s) {
    static const char *const names[] = {"mean", "deviation", "largest"};
    static const char *const axes[] = {"populations", "layers", "roles"};
    const psc_host *host = s->host;
    const int32_t n_layers = s->model->n_layers + 1;
    double *tables[3];
    if (psc_populations_axis(s->context, host) ||
        host->axis_labels(s->context, "roles", N_ROLES, role_names))
        return -1;
    for (int i = 0; i < 3; i++) {
        tables[i] = host->array(s->context, names[i], PSC_F64, 3, axes);
        if (!tables[i]) return -1;
    }
    int32_t *largest_row = host->array(s->context, "largest_row", PSC_I32, 3, axes);
    if (!largest_row) return -1;
    for (int32_t p = 0; p < N_POPULATIONS; p++)
        for (int32_t l = 0; l < n_layers; l++)
            for (int r = 0; r < N_ROLES; r++) {
                const int64_t at = ((int64_t)p * n_layers + l) * N_ROLES + r;
                const statistic d = describe(s->roles[r] + (int64_t)l * s->n_rows, p, s->n_rows);
                tables[0][at] = d.mean;
                tables[1][at] = d.deviation;
                tables[2][at] = d.largest;
                largest_row[at] = d.largest_row;
                if (p == 1) mark(s, r, l, &d);
            }
    return 0;
}

/* --- the summary ----------------------------------------------------------------------------- */

enum { MOST_BARS = 6, MAP_ROWS = 60, MAP_LAYERS = 13, NAME = 160 };

static void name_residual(const roles_state *s, int role, int64_t at, char *out) {
    const int32_t layer = (int32_t)(at / s->n_rows), row = (int32_t)(at % s->n_rows);
    const int32_t target = s->targets.ids[2 * row];
    char place[PSC_ROW_NAME];
    const int used = snprintf(out, NAME, "layer %d, %s", (int)layer,
        psc_row_name(s->context, s->host, &s->rows[row], place));
    if (role == PREDICTOR && target >= 0 && used > 0 && used < NAME)
        snprintf(out + used, (size_t)(NAME - used), " -> %.36s",
            s->host->token_text(s->context, target));
}

/* The largest values of a role at any layer, without position 0. */
static int strongest(roles_state *s, int role) {
    static const char *const units[] = {"nats", "", ""};
    char names[MOST_BARS][NAME], title[64];
    const char *labels[MOST_BARS];
    double values[MOST_BARS];
    psc_ranked entries[MOST_BARS];
    psc_top_list top = {entries, MOST_BARS, 0};
    for (int64_t at = 0; at < (s->model->n_layers + 1) * (int64_t)s->n_rows; at++)
        if (at % s->n_rows != 0 && s->roles[role][at] > 0.0)
            psc_top_offer(&top, s->roles[role][at], at);
    if (top.n == 0) return 0;
    for (int32_t i = 0; i < top.n; i++) {
        name_residual(s, role, top.at[i].index, names[i]);
        labels[i] = names[i];
        values[i] = top.at[i].key;
    }
    snprintf(title, sizeof title, "strongest as %s (without position 0)", role_names[role]);
    return s->host->summary_bars(s->context, title, units[role], top.n, labels, values);
}

/* One line per layer, one character per row: evenly sampled layers and the last rows. */
static int show_map(roles_state *s) {
    const int32_t n_layers = s->model->n_layers + 1;
    const int32_t lines = n_layers < MAP_LAYERS ? n_layers : MAP_LAYERS;
    const int32_t first = s->n_rows > MAP_ROWS ? s->n_rows - MAP_ROWS : 0;
    char line[MAP_ROWS + 32], sentence[200];
    snprintf(sentence, sizeof sentence,
        "Map of rows @%d to @%d, one line per layer: P predicts, A attracts, I influences, * several "
        "(above the layer's mean by a standard deviation).",
        (int)first, (int)s->n_rows - 1);
    if (s->host->summary_text(s->context, sentence)) return -1;
    for (int32_t i = 0; i < lines; i++) {
        const int32_t l = lines > 1 ? (int32_t)((int64_t)i * (n_layers - 1) / (lines - 1)) : 0;
        int used = snprintf(line, sizeof line, "%3d ", (int)l);
        for (int32_t j = first; j < s->n_rows; j++) {
            const int32_t mask = s->map[(int64_t)l * s->n_rows + j];
            char c = mask ? '*' : '.';
            for (int r = 0; r < N_ROLES; r++)
                if (mask == 1 << r) c = letters[r];
            line[used++] = c;
        }
        line[used] = 0;
        if (s->host->summary_text(s->context, line)) return -1;
    }
    return 0;
}

static int show_overlap(roles_state *s) {
    char sentence[320];
    if (s->angle_layers.n == 0 || isnan(s->overlap[0] + s->overlap[1] + s->overlap[2])) return 0;
    snprintf(sentence, sizeof sentence,
        "Overlap of the roles' subspaces (mean squared cosine, chance level in brackets): "
        "predictor and attractor %.3f (%.3f), predictor and influencer %.3f (%.3f), attractor and "
        "influencer %.3f (%.3f).",
        s->overlap[0], s->chance[0], s->overlap[1], s->chance[1], s->overlap[2], s->chance[2]);
    return s->host->summary_text(s->context, sentence);
}

int roles_summary(roles_state *s) {
    for (int r = 0; r < N_ROLES; r++)
        if (strongest(s, r)) return -1;
    return show_map(s) || show_overlap(s);
}
