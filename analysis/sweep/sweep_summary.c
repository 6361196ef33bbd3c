/* The printed summary of a sweep: the largest effects per target, by name. */
#include "sweep.h"

#include <stdio.h>

/* "L3H5", "L3H5 row 7 ' city'", "3_attn_out row 7 ...", "L3H5: row 9 reads row 7". */
static void name_cell(const sweep_state *s, int64_t at, char *out, size_t size) {
    static const char *const names[] = {"", "", "resid_pre", "attn_out", "mlp_out"};
    const int64_t rows = s->n_rows, heads = s->n_heads;
    if (s->over == SWEEP_HEADS) {
        snprintf(out, size, "L%dH%d", (int)(at / heads), (int)(at % heads));
        return;
    }
    const int row = (int)(at % rows), before = (int)(at / rows);
    const int position = s->run_rows[row].position;
    if (s->over == SWEEP_EDGES) {
        snprintf(out, size, "L%dH%d: row %d reads row %d %s", (int)s->layer, (int)(before / rows),
            (int)(before % rows), position,
            s->host->token_text(s->context, s->run_rows[row].token));
        return;
    }
    const char *token = s->host->token_text(s->context, s->run_rows[row].token);
    if (s->over == SWEEP_HEADS_BY_POS)
        snprintf(out, size, "L%dH%d row %d %s", (int)(before / heads), (int)(before % heads),
            position, token);
    else
        snprintf(out, size, "%d_%s row %d %s", before, names[s->over], position, token);
}

static int show_target(
    const sweep_state *s, int32_t target, psc_ranked *entries, char (*names)[96]) {
    static const char *const metrics[] = {"logit", "log probability", "KL (before || after)"};
    static const char *const done[] = {
        "set to zero", "set to its mean", "patched from the source", "cut"};
    const psc_host *host = s->host;
    if (s->metric != SWEEP_KL && psc_target_last(&s->targets, target) < 0)
        return host->summary_text(
            s->context, "next: no row has a next token, so there is no effect.");
    if (s->metric != SWEEP_KL && psc_target_say_row(&s->targets, target)) return -1;
    const double *effects = s->effect + target * s->n_cells;
    psc_top_list top = {entries, s->top, 0};
    psc_top_f64(&top, s->n_cells, effects, PSC_TOP_ABSOLUTE);
    const char *labels[SWEEP_MOST];
    double values[SWEEP_MOST];
    for (int32_t i = 0; i < top.n; i++) {
        name_cell(s, top.at[i].index, names[i], sizeof *names);
        labels[i] = names[i];
        values[i] = effects[top.at[i].index];
    }
    char title[192];
    if (s->metric == SWEEP_KL)
        snprintf(title, sizeof title, "%s at the last row, each in turn %s", metrics[s->metric],
            done[s->what]);
    else
        snprintf(title, sizeof title, "change of the %s of %s (%.4f), each in turn %s",
            metrics[s->metric], s->targets.targets[target].label, s->base_value[target],
            done[s->what]);
    return host->summary_bars(s->context, title, "nats", top.n, labels, values);
}

int sweep_summary(const sweep_state *s) {
    const psc_host *host = s->host;
    psc_ranked *entries = host->run_alloc(s->context, (uint64_t)s->top * sizeof *entries);
    char(*names)[96] = host->run_alloc(s->context, (uint64_t)s->top * sizeof *names);
    if (!entries || !names) return -1;
    for (int32_t t = 0; t < s->n_targets; t++)
        if (show_target(s, t, entries, names)) return -1;
    return 0;
}
