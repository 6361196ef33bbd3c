/* The printed summary of `lens`: one line per layer, for the first target at its own last row. */
#include "lens.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LINE = 400 };

static void append(char *line, const char *text) {
    const size_t used = strlen(line);
    snprintf(line + used, LINE - used, "%s", text);
}

static int heading(lens_state *s, int64_t row, int32_t target) {
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    char line[LINE], name[192] = "", shown[PSC_TARGET_NAME], place[PSC_ROW_NAME];
    if (target >= 0)
        snprintf(
            name, sizeof name, ", target %.160s", psc_target_name(&s->targets, target, row, shown));
    snprintf(line, sizeof line, "The %s lens at %s, divided by %s LayerNorm scale (sigma)%s:",
        s->weight ? "affine" : "logit",
        psc_row_name(s->context, s->host, &rows[s->rows.index[row]], place),
        s->sigma_final ? "the final residual's" : "each residual's own", name);
    if (s->host->summary_text(s->context, line)) return -1;
    snprintf(line, sizeof line, "%-10s %8s %8s%s  %s", "layer", "entropy", "KL",
        target >= 0 ? "    log p    rank" : "", "top tokens (probability)");
    return s->host->summary_text(s->context, line);
}

static int site_line(lens_state *s, int32_t site, int64_t row, int32_t target) {
    const lens_tables *tables = &s->tables;
    const int64_t at = (int64_t)site * s->rows.n + row;
    char line[LINE], part[160];
    snprintf(line, sizeof line, "%-10s %8.3f %8.3f", s->labels[site], tables->entropy[at],
        tables->kl[at]);
    if (target >= 0) {
        const int64_t of = ((int64_t)target * s->n_sites + site) * s->rows.n + row;
        snprintf(part, sizeof part, " %8.3f %7d", tables->log_prob[of], (int)tables->rank[of]);
        append(line, part);
    }
    append(line, " ");
    for (int32_t i = 0; i < s->top && i < (target >= 0 ? 2 : 3); i++) {
        const int32_t id = tables->top_ids[at * s->top + i];
        if (id < 0) continue;
        snprintf(part, sizeof part, " %.60s %.3f", s->host->token_text(s->context, id),
            (double)tables->top_probs[at * s->top + i]);
        append(line, part);
    }
    return s->host->summary_text(s->context, line);
}

/* Names the first layer from which on the final top token leads. */
static int settled_sentence(lens_state *s, int64_t row) {
    const int32_t last = s->n_layers;
    const int32_t *ids = s->tables.top_ids;
    const int32_t final = ids[((int64_t)last * s->rows.n + row) * s->top];
    int32_t site = last;
    while (site > 0 && ids[((int64_t)(site - 1) * s->rows.n + row) * s->top] == final) site--;
    char line[LINE];
    if (final < 0) return 0;
    snprintf(line, sizeof line, "%.80s leads from %s on. KL is KL(final || lens) in nats.",
        s->host->token_text(s->context, final), s->labels[site]);
    return s->host->summary_text(s->context, line);
}

int lens_summary(lens_state *s) {
    int32_t row = -1;
    const int32_t target = psc_target_first(&s->targets, &row);
    if (row < 0) return 0;
    if (target >= 0 && psc_target_say_row(&s->targets, target)) return -1;
    if (heading(s, row, target)) return -1;
    for (int32_t site = 0; site < s->n_sites; site++)
        if (site_line(s, site, row, target)) return -1;
    return settled_sentence(s, row);
}
