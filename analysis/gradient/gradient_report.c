/* The printed summary of `gradient`: the tokens with the largest attributions, and what is left. */
#include "gradient.h"
#include "top.h"

#include <math.h>
#include <stdio.h>

#define MOST_SHOWN 4 /* jobs with bars */

static const char *const names[] = {"logit", "log probability"};

static int show_bars(const gradient_state *s, const gradient_job *job) {
    const psc_host *host = s->host;
    const double *values = (s->integrated ? s->integrated : s->times_input) + job->at * s->n_rows;
    psc_top_list top = {.k = s->top};
    top.at = host->run_alloc(s->context, (uint64_t)s->top * sizeof *top.at);
    const char **labels = host->run_alloc(s->context, (uint64_t)s->top * sizeof *labels);
    double *shown = host->run_alloc(s->context, (uint64_t)s->top * sizeof *shown);
    char(*rows)[PSC_ROW_NAME] = host->run_alloc(s->context, (uint64_t)s->top * sizeof *rows);
    if (!top.at || !labels || !shown || !rows) return -1;
    psc_top_f64(&top, s->n_rows, values, PSC_TOP_ABSOLUTE);
    for (int32_t i = 0; i < top.n; i++) {
        const int64_t r = top.at[i].index;
        labels[i] = psc_row_name(s->context, host, &s->run_rows[r], rows[i]);
        shown[i] = values[r];
    }
    char title[480], name[PSC_TARGET_NAME], at[PSC_ROW_NAME];
    snprintf(title, sizeof title, "%s of the %s %.4f of %.160s at %s",
        s->integrated ? "Integrated gradients" : "Gradient times input", names[s->metric],
        job->value, psc_target_name(&s->targets, job->metric.target, job->metric.slot, name),
        psc_row_name(s->context, host, psc_chosen_row(&s->targets, job->metric.slot), at));
    return host->summary_bars(s->context, title, "nats", top.n, labels, shown);
}

static int show_gaps(const gradient_state *s, const gradient_job *job) {
    static const char *const baselines[] = {"zero", "the mean embedding", "the baseline's token"};
    const psc_host *host = s->host;
    const double difference = job->value - job->base, gap = s->input_gap[job->at];
    char text[400];
    snprintf(text, sizeof text,
        "With %s in place of all embeddings the %s is %.4f, a difference of %.4f. Gradient times "
        "input sums to %.4f and leaves %.4f.",
        baselines[s->baseline], names[s->metric], job->base, difference, difference - gap, gap);
    if (host->summary_text(s->context, text)) return -1;
    if (!s->integrated) return 0;
    snprintf(text, sizeof text, "Integrated gradients sum to %.4f with %d steps and leave %.2g%s",
        job->total, (int)job->steps, difference - job->total,
        job->done ? "." : ": more than error= allows; give more steps or another baseline.");
    return host->summary_text(s->context, text);
}

int gradient_report(const gradient_state *s) {
    for (int32_t j = 0; j < s->n_jobs && j < MOST_SHOWN; j++) {
        const gradient_job *job = &s->jobs[j];
        if (psc_target_say_row(&s->targets, job->metric.target) || show_bars(s, job) ||
            show_gaps(s, job))
            return -1;
    }
    if (s->n_jobs <= MOST_SHOWN) return 0;
    char text[160];
    snprintf(text, sizeof text, "The arrays have %d targets and rows; the first %d are shown.",
        (int)s->n_jobs, MOST_SHOWN);
    return s->host->summary_text(s->context, text);
}
