/* Where an edit's values come from.
 *
 *   file     one vector [width] (intervention_files.c)
 *   mean     the mean over all rows of the BASE run:       (1/T) sum_j x_j, in f64, rounded once
 *   change   of two SOURCE prompts, at their last rows or their means:  x_plus - x_minus
 *   rows     a SOURCE prompt's rows, as they are
 *
 * In a set of pairs (host->example) each sequence has its own mean, and the rows of its own source,
 * as they are aligned (host->source_row).
 *
 * Those runs are not edited; the values are kept until the next run of the same kind. */
#include "intervention.h"

#include <stdlib.h>
#include <string.h>

int intervention_prepare_values(intervention *self) {
    const int sums = self->values == VALUES_CHANGE;
    if (!sums && self->values != VALUES_FILE) return 0;
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
    free(self->parts);
}

/* --- parts ----------------------------------------------------------------------------------- */

/* Notes the sequences of this run; one part for all rows unless it is of a set of pairs. */
static int make_parts(intervention *self) {
    int32_t n = 0;
    const psc_row *rows = self->host->rows(self->context, &n);
    self->paired = self->host->example(self->context, rows[0].sequence) >= 0;
    self->n_parts = self->paired ? rows[n - 1].sequence + 1 : 1;
    free(self->parts);
    self->parts = calloc((size_t)self->n_parts, sizeof *self->parts);
    if (!self->parts) return self->host->fail(self->context, "not enough memory for the sequences");
    for (int32_t i = 0; i < n; i++) self->parts[self->paired ? rows[i].sequence : 0].length++;
    for (int32_t k = 1; k < self->n_parts; k++) {
        const intervention_part *before = &self->parts[k - 1];
        self->parts[k].begin = before->begin + before->length;
        self->parts[k].square = before->square + (int64_t)before->length * before->length;
    }
    return 0;
}

static int32_t part_of(const intervention *self, const psc_row *row) {
    return self->paired ? row->sequence : 0;
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
    for (int32_t r = 0; r < event->n_rows; r++)
        intervention_add_row(
            site, event, r, site->sum + part_of(site->owner, &event->rows[r]) * site->width);
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

/* Row `position` of a part of the site's rows. */
static float *row_at(
    const intervention_site *site, const intervention_part *part, int64_t position) {
    const int64_t heads = intervention_site_heads(site);
    return site->width ? site->rows + (part->begin + position) * site->width
                       : site->rows + heads * (part->square + position * part->length);
}

static int on_rows(const psc_event *event, void *payload) {
    intervention_site *site = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const intervention_part *part = &site->owner->parts[part_of(site->owner, &event->rows[r])];
        const intervention_stretch s = intervention_row(site, event, r);
        const int64_t wide = site->width ? s.n2 : part->length;
        float *out = row_at(site, part, event->rows[r].position);
        for (int64_t h = 0; h < s.n1; h++)
            memcpy(out + h * wide, s.data + h * s.stride, (size_t)s.n2 * sizeof *out);
    }
    return 0;
}

const float *intervention_values_at(const intervention_site *site, const psc_row *to, int *none) {
    const intervention *self = site->owner;
    *none = 0;
    if (self->values == VALUES_MEAN) return site->rows + part_of(self, to) * site->width;
    if (self->values != VALUES_ROWS) return site->vector;
    const intervention_part *part = &self->parts[part_of(self, to)];
    int32_t row = -1;
    if (self->by == BY_RESAMPLE)
        row = part->length > 0 ? to->position % part->length : -1;
    else if (self->host->source_row(self->context, to, &row)) {
        *none = -1;
        return NULL;
    }
    *none = row < 0 || row >= part->length;
    return row_at(site, part, *none ? 0 : row);
}

int64_t intervention_keys_at(const intervention_site *site, const psc_row *row) {
    const intervention *self = site->owner;
    return self->values == VALUES_ROWS ? self->parts[part_of(self, row)].length : 0;
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

/* Memory for `floats` values of a site that outlive the run. */
static int make_rows(intervention_site *site, uint64_t floats) {
    free(site->rows);
    site->rows = calloc(floats + 1, sizeof *site->rows);
    if (site->rows) return 0;
    return site->owner->host->fail(site->owner->context,
        "not enough memory for %.0f MB of another run's values", (double)floats * 4e-6);
}

/* The floats that all rows of the run have at a site. */
static uint64_t floats_of(const intervention_site *site) {
    const intervention_part *last = &site->owner->parts[site->owner->n_parts - 1];
    const int64_t heads = intervention_site_heads(site);
    return (uint64_t)(site->width ? (last->begin + last->length) * site->width
                                  : heads * (last->square + (int64_t)last->length * last->length));
}

static int record_source(intervention *self) {
    const int k = source_slot(self);
    if (k < 0) return 0;
    int32_t n = 0;
    const psc_row *rows = self->host->rows(self->context, &n);
    if (make_parts(self)) return -1;
    if (rows[0].position != 0 || (!self->paired && rows[n - 1].sequence != rows[0].sequence))
        return self->host->fail(
            self->context, "a source prompt must be one sequence and begin at position 0");
    self->length[k] = n;
    self->complete[k] = 0;
    const int whole = self->values == VALUES_ROWS || self->whole_mean;
    for (int32_t i = 0; i < self->n_sites; i++) {
        intervention_site *site = &self->sites[i];
        if (self->values == VALUES_ROWS && make_rows(site, floats_of(site))) return -1;
        if (self->values == VALUES_CHANGE)
            memset(site->sum + (k ? site->width : 0), 0, (size_t)site->width * sizeof(double));
        if (intervention_observe(site, self->values == VALUES_ROWS ? on_rows : on_change,
                whole ? PSC_ROWS_ALL : PSC_ROWS_LAST))
            return -1;
    }
    return 0;
}

static int record_mean(intervention *self) {
    self->averaged = 0;
    if (make_parts(self)) return -1;
    for (int32_t i = 0; i < self->n_sites; i++) {
        intervention_site *site = &self->sites[i];
        const uint64_t n = (uint64_t)self->n_parts * (uint64_t)site->width;
        site->sum = self->host->run_alloc(self->context, n * sizeof *site->sum + 1);
        if (!site->sum || make_rows(site, n) || intervention_observe(site, on_mean, PSC_ROWS_ALL))
            return -1;
    }
    return 0;
}

/* Fails if the values are those of other pairs, or of none. */
static int other_pairs(const intervention *self) {
    int32_t n = 0;
    const psc_row *rows = self->host->rows(self->context, &n);
    const int paired = self->host->example(self->context, rows[0].sequence) >= 0;
    if (paired == self->paired && (!paired || rows[n - 1].sequence < self->n_parts)) return 0;
    return self->host->fail(
        self->context, "the values are those of other pairs; run their source or base first");
}

/* In a set of pairs: scores and patterns are patched only where each row stands where its source
 * does, as its keys then do. */
static int check_keys(const intervention *self, const psc_row *rows, int32_t n) {
    int keys = 0;
    for (int32_t i = 0; i < self->n_sites; i++) keys |= self->sites[i].width == 0;
    for (int32_t i = 0; keys && i < n; i++) {
        int32_t position = -1;
        if (self->host->source_row(self->context, &rows[i], &position)) return -1;
        if (position >= 0 && position != rows[i].position)
            return self->host->fail(self->context,
                "row %d is aligned with row %d of its source, but scores and patterns are patched at "
                "equal positions only; use --align start or equal",
                (int)rows[i].position, (int)position);
    }
    return 0;
}

int intervention_no_source(const psc_host *host, psc_context *context, int32_t number) {
    int32_t n = 0;
    const psc_row *rows = host->rows(context, &n);
    const int set = n > 0 && host->example(context, rows[0].sequence) >= 0;
    if (set && number == 1)
        return host->fail(context,
            "the pair has no \"corrupt\" prompt, which is its source prompt 1; add it to every pair, or "
            "choose values without a source");
    if (set)
        return host->fail(context,
            "source prompt %d is missing; the only one of a pair is its \"corrupt\" prompt, 1",
            (int)number);
    return host->fail(context,
        "source prompt %d is missing; pass it with --source, --source-file or --source-tokens",
        (int)number);
}

/* In a run with edits, or the BASE run before it: fails if a source prompt was not run or does not
 * have the length that a patch needs. */
static int check_sources(const intervention *self) {
    const psc_host *host = self->host;
    for (int k = 0; k < 2; k++)
        if (self->source[k] >= 0 && !self->complete[k])
            return intervention_no_source(host, self->context, self->source[k] + 1);
    int32_t n = 0;
    const psc_row *rows = host->rows(self->context, &n);
    if (self->values != VALUES_ROWS) return 0;
    if (other_pairs(self)) return -1;
    if (self->by == BY_RESAMPLE) return 0;
    if (self->paired) return check_keys(self, rows, n);
    for (int32_t i = 0, begin = 0; i < n; i++) {
        if (i + 1 < n && rows[i + 1].sequence == rows[i].sequence) continue;
        if (rows[begin].position == 0 && i + 1 - begin != self->length[0])
            return host->fail(self->context,
                "source prompt %d has %s and this prompt has %d; a patch needs equally many",
                (int)self->source[0] + 1, PSC_MANY(self->length[0], "token"), (int)(i + 1 - begin));
        begin = i + 1;
    }
    return 0;
}

int intervention_record(intervention *self, psc_phase phase) {
    if (phase == PSC_PHASE_SOURCE) return record_source(self);
    if (check_sources(self)) return -1;
    if (self->values != VALUES_MEAN) return 0;
    if (phase == PSC_PHASE_BASE) return record_mean(self);
    if (self->averaged && !other_pairs(self)) return 0;
    if (self->averaged) return -1;
    return self->host->fail(
        self->context, "by=mean needs a run of the unchanged prompt first, or file=");
}

void intervention_finish_values(intervention *self, psc_phase phase) {
    const int mean = self->values == VALUES_MEAN && phase == PSC_PHASE_BASE;
    const int32_t n_means = mean ? self->n_parts : 0;
    const int k = phase == PSC_PHASE_SOURCE ? source_slot(self) : -1;
    if (k >= 0) self->complete[k] = 1;
    const int change = self->values == VALUES_CHANGE && phase == PSC_PHASE_SOURCE &&
                       self->complete[0] && self->complete[1];
    for (int32_t i = 0; i < self->n_sites; i++) {
        intervention_site *site = &self->sites[i];
        const double n0 = self->whole_mean ? self->length[0] : 1;
        const double n1 = self->whole_mean ? self->length[1] : 1;
        for (int32_t m = 0; m < n_means; m++)
            for (int64_t d = m * site->width; d < (m + 1) * site->width; d++)
                site->rows[d] = (float)(site->sum[d] / (double)self->parts[m].length);
        for (int64_t d = 0; change && d < site->width; d++)
            site->vector[d] = (float)(site->sum[d] / n0 - site->sum[site->width + d] / n1);
    }
    if (mean) self->averaged = 1;
}
