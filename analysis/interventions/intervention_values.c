/* Where an edit's values come from.
 *
 *   file     one vector [width] (intervention_files.c)
 *   mean     the mean over all rows of the BASE run:       (1/T) sum_j x_j, in f64, rounded once
 *   change   of two SOURCE prompts, at their last rows or their means:  x_plus - x_minus
 *   rows     a SOURCE prompt's rows, as they are
 *
 * Those runs are not edited; the values are kept until the next run of the same kind. */
#include "intervention.h"

#include <stdlib.h>
#include <string.h>

int intervention_prepare_values(intervention *self) {
    const int sums = self->values == VALUES_MEAN || self->values == VALUES_CHANGE;
    if (self->values == VALUES_NONE || self->values == VALUES_ROWS) return 0;
    for (int32_t i = 0; i < self->n_sites; i++) {
        intervention_site *site = &self->sites[i];
        const uint64_t width = (uint64_t)site->width;
        site->vector = self->host->life_alloc(self->context, width * sizeof(float));
        if (!site->vector) return -1;
        if (!sums && intervention_read_vector(site)) return -1;
        if (sums) site->sum = self->host->life_alloc(self->context, 2 * width * sizeof(double));
        if (sums && !site->sum) return -1;
    }
    return 0;
}

void intervention_free_values(intervention *self) {
    for (int32_t i = 0; i < self->n_sites; i++) free(self->sites[i].rows);
}

/* --- values of a run ------------------------------------------------------------------------- */

intervention_stretch intervention_row(
    const intervention_site *site, const psc_event *event, int32_t r) {
    const psc_view *t = &event->tensor;
    const int axes3 = t->n_axes == 3;
    intervention_stretch s = {t->data + r * t->stride[0], axes3 ? t->shape[1] : 1,
        t->shape[t->n_axes - 1], axes3 ? t->stride[1] : 0};
    if (site->width == 0) s.n2 = event->rows[r].position + 1;
    if (site->neuron >= 0) {
        s.data += site->neuron;
        s.n2 = 1;
    }
    return s;
}

void intervention_add_row(
    const intervention_site *site, const psc_event *event, int32_t r, double *sum) {
    const intervention_stretch s = intervention_row(site, event, r);
    for (int64_t h = 0; h < s.n1; h++)
        for (int64_t i = 0; i < s.n2; i++) sum[h * s.n2 + i] += (double)s.data[h * s.stride + i];
}

static int on_mean(const psc_event *event, void *payload) {
    intervention_site *site = payload;
    for (int32_t r = 0; r < event->n_rows; r++) intervention_add_row(site, event, r, site->sum);
    return 0;
}

/* Which of the two source prompts this run is on, or -1. */
static int source_slot(const intervention *self) {
    const int32_t number = self->host->source(self->context);
    for (int k = 0; k < 2; k++)
        if (number >= 0 && self->source[k] == number) return k;
    return -1;
}

static int on_change(const psc_event *event, void *payload) {
    intervention_site *site = payload;
    double *sum = site->sum + (source_slot(site->owner) == 1 ? site->width : 0);
    for (int32_t r = 0; r < event->n_rows; r++) intervention_add_row(site, event, r, sum);
    return 0;
}

static int on_rows(const psc_event *event, void *payload) {
    intervention_site *site = payload;
    const int64_t length = site->owner->length[0];
    const int32_t heads = intervention_site_heads(site);
    for (int32_t r = 0; r < event->n_rows; r++) {
        const intervention_stretch s = intervention_row(site, event, r);
        const int64_t wide = site->width ? s.n2 : length;
        float *out =
            site->rows + event->rows[r].position * (site->width ? site->width : heads * length);
        for (int64_t h = 0; h < s.n1; h++)
            memcpy(out + h * wide, s.data + h * s.stride, (size_t)s.n2 * sizeof *out);
    }
    return 0;
}

const float *intervention_values_at(const intervention_site *site, const psc_row *to, int *none) {
    const intervention *self = site->owner;
    const int64_t length = self->length[0];
    *none = 0;
    if (self->values != VALUES_ROWS) return site->vector;
    int64_t row = to->position;
    if (self->by == BY_RESAMPLE) row %= length;
    *none = row >= length;
    const int64_t width = site->width ? site->width : intervention_site_heads(site) * length;
    return site->rows + (*none ? 0 : row * width);
}

int intervention_observe(intervention_site *site, psc_event_fn callback, int32_t rows) {
    const intervention *self = site->owner;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &site->layer;
    filter.n_layers = site->layer >= 0;
    filter.heads = &site->head;
    filter.n_heads = site->head >= 0;
    filter.rows = rows;
    return self->host->observe(self->context, site->point, &filter, callback, site);
}

static int make_rows(intervention_site *site) {
    const intervention *self = site->owner;
    const uint64_t length = (uint64_t)self->length[0];
    const uint64_t heads = (uint64_t)intervention_site_heads(site);
    const uint64_t width = site->width ? (uint64_t)site->width : heads * length;
    free(site->rows);
    site->rows = calloc(length * width, sizeof *site->rows);
    if (site->rows) return 0;
    return self->host->fail(self->context,
        "not enough memory for %.0f MB of a source prompt's values",
        (double)(length * width) * 4e-6);
}

static int record_source(intervention *self) {
    const int k = source_slot(self);
    if (k < 0) return 0;
    int32_t n = 0;
    const psc_row *rows = self->host->rows(self->context, &n);
    if (rows[0].position != 0 || rows[n - 1].sequence != rows[0].sequence)
        return self->host->fail(
            self->context, "a source prompt must be one sequence and begin at position 0");
    self->length[k] = n;
    self->complete[k] = 0;
    const int whole = self->values == VALUES_ROWS || self->whole_mean;
    for (int32_t i = 0; i < self->n_sites; i++) {
        intervention_site *site = &self->sites[i];
        if (self->values == VALUES_ROWS && make_rows(site)) return -1;
        if (self->values == VALUES_CHANGE)
            memset(site->sum + (k ? site->width : 0), 0, (size_t)site->width * sizeof(double));
        if (intervention_observe(site, self->values == VALUES_ROWS ? on_rows : on_change,
                whole ? PSC_ROWS_ALL : PSC_ROWS_LAST))
            return -1;
    }
    return 0;
}

static int record_mean(intervention *self) {
    int32_t n = 0;
    self->host->rows(self->context, &n);
    self->n_averaged = n;
    self->averaged = 0;
    for (int32_t i = 0; i < self->n_sites; i++) {
        intervention_site *site = &self->sites[i];
        memset(site->sum, 0, (size_t)site->width * sizeof(double));
        if (intervention_observe(site, on_mean, PSC_ROWS_ALL)) return -1;
    }
    return 0;
}

/* In a run with edits, or the BASE run before it: fails if a source prompt was not run or does not
 * have the length that a patch needs. */
static int check_sources(const intervention *self) {
    const psc_host *host = self->host;
    for (int k = 0; k < 2; k++)
        if (self->source[k] >= 0 && !self->complete[k])
            return host->fail(self->context,
                "source prompt %d is missing; pass it with --source, --source-file or "
                "--source-tokens",
                (int)self->source[k] + 1);
    int32_t n = 0;
    const psc_row *rows = host->rows(self->context, &n);
    if (self->values != VALUES_ROWS || self->by == BY_RESAMPLE) return 0;
    for (int32_t i = 0, begin = 0; i < n; i++) {
        if (i + 1 < n && rows[i + 1].sequence == rows[i].sequence) continue;
        if (rows[begin].position == 0 && i + 1 - begin != self->length[0])
            return host->fail(self->context,
                "source prompt %d has %d tokens and this prompt has %d; a patch needs equally many",
                (int)self->source[0] + 1, (int)self->length[0], (int)(i + 1 - begin));
        begin = i + 1;
    }
    return 0;
}

int intervention_record(intervention *self, psc_phase phase) {
    if (phase == PSC_PHASE_SOURCE) return record_source(self);
    if (check_sources(self)) return -1;
    if (self->values != VALUES_MEAN) return 0;
    if (phase == PSC_PHASE_BASE) return record_mean(self);
    if (self->averaged) return 0;
    return self->host->fail(
        self->context, "by=mean needs a run of the unchanged prompt first, or file=");
}

void intervention_finish_values(intervention *self, psc_phase phase) {
    const int mean = self->values == VALUES_MEAN && phase == PSC_PHASE_BASE;
    const int k = phase == PSC_PHASE_SOURCE ? source_slot(self) : -1;
    if (k >= 0) self->complete[k] = 1;
    const int change = self->values == VALUES_CHANGE && phase == PSC_PHASE_SOURCE &&
                       self->complete[0] && self->complete[1];
    for (int32_t i = 0; i < self->n_sites; i++) {
        intervention_site *site = &self->sites[i];
        const double n0 = self->whole_mean ? self->length[0] : 1;
        const double n1 = self->whole_mean ? self->length[1] : 1;
        for (int64_t d = 0; mean && d < site->width; d++)
            site->vector[d] = (float)(site->sum[d] / (double)self->n_averaged);
        for (int64_t d = 0; change && d < site->width; d++)
            site->vector[d] = (float)(site->sum[d] / n0 - site->sum[site->width + d] / n1);
    }
    if (mean) self->averaged = 1;
}
