/* The printed summary of `attribution`: the largest estimates with the exact effects beside them,
 * how both agree, and where they do not. */
#include "attribution.h"
#include "top.h"

#include <math.h>
#include <stdio.h>

static const char *const metrics[] = {"logit", "log probability", "divergence from the source"};

/* The checked cell, or -1. */
static int32_t checked_at(const attribution_state *s, int64_t cell) {
    for (int32_t i = 0; i < s->n_checked; i++)
        if (s->checked[i].cell == cell) return i;
    return -1;
}

static int show_bars(const attribution_state *s, int32_t target) {
    static const char *const done[] = {
        "set to zero", "set to its mean", "patched from the source", "set to the set's mean"};
    enum { LABEL = ATTRIBUTION_NAME + 32 };
    const psc_host *host = s->host;
    const double *estimates = s->estimate + target * s->n_cells;
    psc_top_list top = {.k = s->top};
    top.at = host->run_alloc(s->context, (uint64_t)s->top * sizeof *top.at);
    const char **labels = host->run_alloc(s->context, (uint64_t)s->top * sizeof *labels);
    double *values = host->run_alloc(s->context, (uint64_t)s->top * sizeof *values);
    char(*names)[LABEL] = host->run_alloc(s->context, (uint64_t)s->top * sizeof *names);
    if (!top.at || !labels || !values || !names) return -1;
    psc_top_f64(&top, s->n_cells, estimates, PSC_TOP_ABSOLUTE);
    while (top.n > 0 && estimates[top.at[top.n - 1].index] == 0.0) top.n--; /* not large */
    for (int32_t i = 0; i < top.n; i++) {
        const int64_t cell = top.at[i].index;
        const attribution_cell place = attribution_place(s, cell);
        const int32_t at = checked_at(s, cell);
        char name[ATTRIBUTION_NAME];
        attribution_name(s, &place, name);
        if (at >= 0)
            snprintf(names[i], LABEL, "%s (exact %+.3f)", name,
                s->exact_effect[(int64_t)target * s->n_checked + at]);
        else
            snprintf(names[i], LABEL, "%s", name);
        labels[i] = names[i];
        values[i] = estimates[cell];
    }
    const int kl = s->metric == ATTRIBUTION_KL;
    char title[400], name[PSC_TARGET_NAME] = "";
    if (!kl) psc_target_name(&s->targets, target, s->jobs[target].slot, name);
    snprintf(title, sizeof title, "estimated change of the %s %.4f%s%.160s, each in turn %s",
        metrics[s->metric], s->value[target], kl ? "" : " of ", name, done[s->what]);
    return host->summary_bars(s->context, title, "nats", top.n, labels, values);
}

/* "Of the largest 20 estimates: bias +0.010, ..." */
static int show_agreement(const attribution_state *s, int32_t target, int set) {
    const attribution_agreement *a = &s->agreement[target * N_SETS + set];
    char text[400], who[96], bias[PSC_FIGURE], error[PSC_FIGURE], r[PSC_FIGURE], rank[PSC_FIGURE];
    if (a->n == 0) return 0;
    if (set == SET_LARGEST)
        snprintf(who, sizeof who, "The %s",
            a->n == 1 ? "largest estimate" : PSC_MANY(a->n, "largest estimate"));
    else
        snprintf(
            who, sizeof who, "%s of %s", PSC_MANY(a->n, "random place"), PSC_COMMAS(s->n_places));
    snprintf(text, sizeof text,
        "%s beside %s: bias %s, error %s nats, correlation %s, of ranks %s; %d with the wrong "
        "sign, %s with less than a quarter estimated.",
        who, a->n == 1 ? "the exact effect" : "their exact effects",
        psc_figure(bias, 0, 4, a->bias, ""), psc_figure(error, 0, 4, a->error, ""),
        psc_figure(r, 0, 3, a->correlation, ""), psc_figure(rank, 0, 3, a->spearman, ""),
        (int)a->wrong_sign, PSC_MANY(a->small, "large effect"));
    return s->host->summary_text(s->context, text);
}

/* The cases of a fault: the estimate, the one by the gradient of the changed run, and the
 * effect. */
static int show_cases(const attribution_state *s, int32_t target, attribution_fault fault) {
    int32_t cases[ATTRIBUTION_CASES];
    const int32_t n_cases = attribution_cases(s, target, fault, cases);
    char text[1800];
    if (n_cases == 0) return 0;
    size_t n = (size_t)snprintf(text, sizeof text, "%s (estimate, from the changed run, exact):",
        fault == FAULT_SIGN ? "Estimates of the wrong sign"
                            : "Large effects of which less than a quarter is estimated");
    for (int32_t i = 0; i < n_cases && n < sizeof text; i++) {
        const int64_t at = (int64_t)target * s->n_checked + cases[i];
        char name[ATTRIBUTION_NAME];
        attribution_name(s, &s->checked[cases[i]].place, name);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s %s %+.3f, %+.3f, %+.3f", i ? ";" : "",
            name, s->estimated[at], s->end[at], s->exact_effect[at]);
    }
    return s->host->summary_text(s->context, text);
}

int attribution_report(const attribution_state *s) {
    for (int32_t t = 0; t < s->n_targets; t++) {
        if (s->jobs[t].target < 0) {
            if (s->host->summary_text(
                    s->context, "next: no row has a next token, so there is no effect."))
                return -1;
            continue;
        }
        if ((s->metric != ATTRIBUTION_KL && psc_target_say_row(&s->targets, t)) || show_bars(s, t))
            return -1;
        if (s->n_checked == 0) continue;
        if (show_agreement(s, t, SET_LARGEST) || show_agreement(s, t, SET_RANDOM) ||
            show_cases(s, t, FAULT_SIGN) || show_cases(s, t, FAULT_SMALL))
            return -1;
    }
    return 0;
}
