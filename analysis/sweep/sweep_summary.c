/* The printed summary of a sweep: the largest effects per target, by name. */
#include "sweep.h"

#include <stdio.h>

enum { SWEEP_NAME = 2 * PSC_ROW_NAME + 32 };

/* "L3H5", "L3H5 @7 ' city'", "3_attn_out @7 ...", "L3H5: @9 ' of' reads @7 ' city'". */
static void name_cell(const sweep_state *s, int64_t at, char *out, size_t size) {
    static const char *const names[] = {"", "", "resid_pre", "attn_out", "mlp_out"};
    const int64_t rows = s->rows.n, heads = s->n_heads;
    if (s->over == SWEEP_HEADS) {
        snprintf(out, size, "L%dH%d", (int)(at / heads), (int)(at % heads));
        return;
    }
    const int row = (int)(at % rows), before = (int)(at / rows);
    char place[PSC_ROW_NAME], reader[PSC_ROW_NAME];
    psc_row_name(s->context, s->host, &s->run_rows[row], place);
    if (s->over == SWEEP_EDGES)
        snprintf(out, size, "L%dH%d: %s reads %s", (int)s->layer, (int)(before / rows),
            psc_row_name(s->context, s->host, &s->run_rows[before % rows], reader), place);
    else if (s->over == SWEEP_HEADS_BY_POS)
        snprintf(out, size, "L%dH%d %s", (int)(before / heads), (int)(before % heads), place);
    else
        snprintf(out, size, "%d_%s %s", before, names[s->over], place);
}

/* " (7.2 on the source prompt)", or nothing. */
static void say_source(const sweep_state *s, int32_t target, char *out, size_t size) {
    *out = 0;
    if (s->source_value)
        snprintf(out, size, " (%.4f on the source prompt)", s->source_value[target]);
}

/* How far each of the largest effects goes from this prompt's value (0) to the source's (1). */
static int show_normalized(
    const sweep_state *s, int32_t target, const psc_top_list *top, char (*names)[SWEEP_NAME]) {
    char text[1024];
    size_t n = 0;
    if (s->source_value[target] == s->base_value[target])
        return s->host->summary_text(s->context,
            "The source prompt has the same value, so the effects are not normalized (NaN).");
    if (top->n == 0) return 0;
    n = (size_t)snprintf(
        text, sizeof text, "normalized, effect / (source - base); 0 is this prompt, 1 the source:");
    for (int32_t i = 0; i < top->n && i < 5 && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s %s %.3f", i ? "," : "", names[i],
            s->normalized[target * s->n_cells + top->at[i].index]);
    return s->host->summary_text(s->context, text);
}

static int show_target(
    const sweep_state *s, int32_t target, psc_ranked *entries, char (*names)[SWEEP_NAME]) {
    static const char *const metrics[] = {"logit", "log probability", "KL (before || after)"};
    static const char *const done[] = {
        "set to zero", "set to its mean", "patched from the source", "cut"};
    const psc_host *host = s->host;
    const int32_t last = sweep_slot(s, &s->rows.parts[0], target);
    if (last < 0)
        return host->summary_text(
            s->context, "next: no row has a next token, so there is no effect.");
    if (s->metric != SWEEP_KL && psc_target_say_row(&s->targets, target)) return -1;
    const double *effects = s->effect + target * s->n_cells;
    psc_top_list top = {entries, s->top, 0};
    psc_top_f64(&top, s->n_cells, effects, PSC_TOP_ABSOLUTE);
    while (top.n > 0 && effects[top.at[top.n - 1].index] == 0.0) top.n--; /* not large */
    const char *labels[SWEEP_MOST];
    double values[SWEEP_MOST];
    for (int32_t i = 0; i < top.n; i++) {
        name_cell(s, top.at[i].index, names[i], sizeof *names);
        labels[i] = names[i];
        values[i] = effects[top.at[i].index];
    }
    char title[320], name[PSC_TARGET_NAME], source[64];
    say_source(s, target, source, sizeof source);
    if (s->metric == SWEEP_KL)
        snprintf(title, sizeof title, "%s at the last row, each in turn %s", metrics[s->metric],
            done[s->what]);
    else
        snprintf(title, sizeof title, "change of the %s %.4f of %.160s%s, each in turn %s",
            metrics[s->metric], s->base_value[target],
            psc_target_name(&s->targets, target, last, name), source, done[s->what]);
    if (host->summary_bars(s->context, title, "nats", top.n, labels, values)) return -1;
    return s->normalized ? show_normalized(s, target, &top, names) : 0;
}

int sweep_summary(const sweep_state *s) {
    const psc_host *host = s->host;
    psc_ranked *entries = host->run_alloc(s->context, (uint64_t)s->top * sizeof *entries);
    char(*names)[SWEEP_NAME] = host->run_alloc(s->context, (uint64_t)s->top * sizeof *names);
    if (!entries || !names) return -1;
    for (int32_t t = 0; t < s->n_targets; t++)
        if (show_target(s, t, entries, names)) return -1;
    return 0;
}
