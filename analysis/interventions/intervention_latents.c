/* Edits of latents. A dictionary writes a row as x = gain (sum_i f_i d_i + b_dec) + shift + error;
 * a transcoder its out point's row, from the f of the in point. An edit changes some f_i and
 * nothing else, so the error stays:
 *
 *   ablate f'_i = 0    scale f'_i = alpha f_i    x <- x + gain sum_i (f'_i - f_i) d_i
 *   steer  x <- x + gain alpha sum_i d_i, whether the latents are active or not
 *
 * c_i = gain (f'_i - f_i) is rounded twice; the latents act in ascending order, one fused
 * multiply-add each: x <- fma(c_i, d_i, x). Latents of one option are encoded together.
 *
 * An active f_i is w_i . x + constant where the input is not normalized, and steps of the activation
 * have no slope. So a gradient g goes on as
 *
 *   ablate, scale   g + sum_i a (d_i . g) w_i over the active i, a = -1 or alpha - 1
 *   steer           g
 *
 * with d_i . g in f64. A transcoder reads another point, and a normalized row all of itself: there a
 * run with a metric fails. */
#include "intervention_latents.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LATENTS = 4096, ROWS_AT_ONCE = 64 };

struct intervention_latents {
    intervention *owner;
    psc_dictionary dictionary;
    int handle;
    int32_t n;      /* latents */
    int32_t *ids;   /* [n] ascending, each once */
    float *vectors; /* [n, d_out] their rows of the decoder */
    float *readers; /* [n, d_in] and of the encoder; null where no gradient goes back through it */
    float *rows;    /* [ROWS_AT_ONCE, d_in] rows of an event, dense */
    int encodes; /* c depends on the row: not if steer meets a dictionary without normalization */

    /* a run */
    float *changes; /* [n]: c_i of steer; else [rows of the run, n], which a transcoder's output and
                       the gradient read later */
    const psc_row *encode; /* the rows that are being encoded */
};

/* --- names ----------------------------------------------------------------------------------- */

/* Reads "L3F12", "L*F12" or "F12" up to '+' or the end; null if the text has another form. *layer
 * is -1 where none is named. */
static const char *take_latent(const char *text, int32_t *layer, int32_t *latent) {
    char *end = NULL;
    *layer = -1;
    if (text[0] == 'L' && text[1] == '*')
        text += 2;
    else if (text[0] == 'L' && text[1] >= '0' && text[1] <= '9') {
        const long number = strtol(text + 1, &end, 10);
        *layer = number < INT32_MAX ? (int32_t)number : INT32_MAX;
        text = end;
    }
    if (text[0] != 'F' || text[1] < '0' || text[1] > '9') return NULL;
    const long number = strtol(text + 1, &end, 10);
    *latent = number < INT32_MAX ? (int32_t)number : INT32_MAX;
    return *end == 0 || *end == '+' ? end : NULL;
}

int intervention_names_latents(const char *at) {
    int32_t layer, latent;
    return take_latent(at, &layer, &latent) != NULL;
}

static int by_number(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* at= into ids. */
static int read_names(intervention_latents *l) {
    const intervention *self = l->owner;
    const psc_dictionary *d = &l->dictionary;
    const char *p = self->at;
    for (;;) {
        int32_t layer, latent;
        const char *end = take_latent(p, &layer, &latent);
        if (!end)
            return self->host->fail(self->context,
                "at=%.60s is not a latent of a dictionary; with sae= write L%dF0, or several: "
                "L%dF0+L%dF7",
                p, (int)d->out_layer, (int)d->out_layer, (int)d->out_layer);
        if (layer >= 0 && layer != d->out_layer)
            return self->host->fail(self->context,
                "at=%.60s: the dictionary %.200s is at %s; write L*F%d or its own layer", p,
                self->sae, d->out_name, (int)latent);
        if (latent >= d->n_latents)
            return self->host->fail(self->context,
                "at=%.60s: the dictionary %.200s has the latents F0 to F%d", p, self->sae,
                (int)d->n_latents - 1);
        if (l->n == MAX_LATENTS)
            return self->host->fail(
                self->context, "at= names more than %d latents", (int)MAX_LATENTS);
        l->ids[l->n++] = latent;
        if (!*end) break;
        p = end + 1;
    }
    qsort(l->ids, (size_t)l->n, sizeof *l->ids, by_number);
    for (int32_t i = 1; i < l->n; i++)
        if (l->ids[i] == l->ids[i - 1])
            return self->host->fail(
                self->context, "at= names the latent F%d twice", (int)l->ids[i]);
    return 0;
}

/* --- open ------------------------------------------------------------------------------------ */

static int check_options(const intervention *self) {
    const psc_host *host = self->host;
    const psc_model_info *m = host->model(self->context);
    if (self->by != BY_ZERO || *self->file || *self->tensor || *self->index)
        return host->fail(self->context,
            "sae= sets latents to zero, scales them or adds their decoder rows; it takes none of "
            "by=, file=, tensor= and index=");
    if (self->layers.n < m->n_layers || self->heads.n < m->n_heads)
        return host->fail(self->context, "sae= takes neither layers= nor heads=; name the latents");
    return 0;
}

int intervention_latents_open(intervention *self) {
    const psc_host *host = self->host;
    intervention_latents *l = host->life_alloc(self->context, sizeof *l);
    if (!l || check_options(self)) return -1;
    self->latents = l;
    l->owner = self;
    l->dictionary = (psc_dictionary)PSC_DICTIONARY_INIT;
    l->handle = host->dictionary_open(
        self->context, self->sae, *self->point ? self->point : NULL, &l->dictionary);
    if (l->handle < 0) return -1;
    if (l->dictionary.out_affine)
        return host->fail(self->context,
            "the dictionary %.200s is at %s, behind a LayerNorm's gamma and beta, so its latents "
            "cannot be edited there",
            self->sae, l->dictionary.out_name);
    l->encodes = self->kind != INTERVENTION_STEER || l->dictionary.is_normalized;
    l->ids = host->life_alloc(self->context, MAX_LATENTS * sizeof *l->ids);
    if (!l->ids || read_names(l)) return -1;
    const uint64_t d_in = (uint64_t)l->dictionary.d_in, d_out = (uint64_t)l->dictionary.d_out;
    l->rows = host->life_alloc(self->context, ROWS_AT_ONCE * d_in * sizeof *l->rows);
    l->vectors = host->life_alloc(self->context, (uint64_t)l->n * d_out * sizeof *l->vectors);
    if (!l->rows || !l->vectors ||
        host->dictionary_vectors(
            self->context, l->handle, PSC_DICTIONARY_DECODER, l->n, l->ids, l->vectors))
        return -1;
    if (!l->encodes || l->dictionary.is_transcoder || l->dictionary.normalizes) return 0;
    l->readers = host->life_alloc(self->context, (uint64_t)l->n * d_in * sizeof *l->readers);
    return l->readers ? host->dictionary_vectors(self->context, l->handle, PSC_DICTIONARY_ENCODER,
                            l->n, l->ids, l->readers)
                      : -1;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* A row of an event's tensor, [N] or [H, D], into dense memory. */
static void gather(const psc_view *t, int32_t r, float *out) {
    const int axes3 = t->n_axes == 3;
    const int64_t n = t->shape[t->n_axes - 1], parts = axes3 ? t->shape[1] : 1;
    for (int64_t h = 0; h < parts; h++)
        memcpy(out + h * n, t->data + r * t->stride[0] + (axes3 ? h * t->stride[1] : 0),
            (size_t)n * sizeof *out);
}

/* Where the c_i of a row that is being encoded are kept. */
static float *changes_of(const intervention_latents *l, int64_t row) {
    return l->changes + (int64_t)l->encode[row].index * l->n;
}

/* c_i of the next rows. */
static int take_changes(const psc_latents *latents, void *payload) {
    const intervention_latents *l = payload;
    const intervention *self = l->owner;
    for (int32_t r = 0; r < latents->n_rows; r++) {
        float *change = changes_of(l, latents->first + r);
        int64_t k = latents->begin[r];
        for (int32_t i = 0; i < l->n; i++) {
            while (k < latents->begin[r + 1] && latents->ids[k] < l->ids[i]) k++;
            const int active = k < latents->begin[r + 1] && latents->ids[k] == l->ids[i];
            const float f = active ? latents->values[k] : 0.0f;
            const float by = self->kind == INTERVENTION_STEER   ? self->alpha
                             : self->kind == INTERVENTION_SCALE ? self->alpha * f - f
                                                                : -f;
            change[i] = latents->gain[r] * by;
        }
    }
    return 0;
}

/* Adds a multiple of d to a row. */
static void add(const psc_view *t, int32_t r, float by, const float *d) {
    const int axes3 = t->n_axes == 3;
    const int64_t n = t->shape[t->n_axes - 1], parts = axes3 ? t->shape[1] : 1;
    for (int64_t h = 0; h < parts; h++) {
        float *x = t->data + r * t->stride[0] + (axes3 ? h * t->stride[1] : 0);
        for (int64_t k = 0; k < n; k++) x[k] = fmaf(by, d[h * n + k], x[k]);
    }
}

/* Adds the changes to a row. */
static void apply(const intervention_latents *l, const psc_view *t, int32_t r, const float *by) {
    for (int32_t i = 0; i < l->n; i++)
        if (by[i] != 0.0f) add(t, r, by[i], l->vectors + i * (int64_t)l->dictionary.d_out);
}

/* The event of an input: its changes. An SAE's is its output as well, and is edited at once. */
static int on_input(const psc_event *event, void *payload) {
    intervention_latents *l = payload;
    const intervention *self = l->owner;
    const int64_t d_in = l->dictionary.d_in;
    for (int32_t begin = 0; begin < event->n_rows; begin += ROWS_AT_ONCE) {
        const int32_t left = event->n_rows - begin, n = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        for (int32_t r = 0; r < n; r++) gather(&event->tensor, begin + r, l->rows + r * d_in);
        l->encode = event->rows + begin;
        if (self->host->dictionary_encode(
                self->context, l->handle, l->rows, d_in, n, take_changes, l))
            return -1;
        for (int32_t r = 0; r < n && !l->dictionary.is_transcoder; r++)
            apply(l, &event->tensor, begin + r, changes_of(l, r));
    }
    return 0;
}

static int on_output(const psc_event *event, void *payload) {
    const intervention_latents *l = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int64_t at = l->encodes ? event->rows[r].index : 0;
        apply(l, &event->tensor, r, l->changes + at * l->n);
    }
    return 0;
}

/* The gradient of the edited rows, as it goes on in front of the edit. */
static int on_gradient(const psc_event *event, void *payload) {
    const intervention_latents *l = payload;
    const intervention *self = l->owner;
    const int64_t d = l->dictionary.d_out;
    const float a = self->kind == INTERVENTION_SCALE ? self->alpha - 1.0f : -1.0f;
    if (!l->readers)
        return self->host->fail(self->context,
            "no gradient goes back through latents of %.200s, which reads %s; leave the metric or "
            "the edit out",
            self->sae, l->dictionary.is_transcoder ? "another point" : "normalized rows");
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *change = l->changes + (int64_t)event->rows[r].index * l->n;
        gather(&event->tensor, r, l->rows);
        for (int32_t i = 0; i < l->n; i++) {
            double dot = 0.0;
            if (change[i] == 0.0f) continue;
            for (int64_t k = 0; k < d; k++)
                dot += (double)l->vectors[i * d + k] * (double)l->rows[k];
            add(&event->tensor, r, (float)(a * dot), l->readers + i * d);
        }
    }
    return 0;
}

int intervention_latents_subscribe(intervention *self) {
    const psc_host *host = self->host;
    intervention_latents *l = self->latents;
    const psc_dictionary *d = &l->dictionary;
    const int apart = l->encodes && d->is_transcoder;
    int32_t n_rows = 1;
    if (l->encodes && !host->rows(self->context, &n_rows)) return -1;
    l->changes =
        host->run_alloc(self->context, (uint64_t)n_rows * (uint64_t)l->n * sizeof *l->changes);
    if (!l->changes) return -1;
    for (int32_t i = 0; !l->encodes && i < l->n; i++) l->changes[i] = self->alpha;
    psc_filter output = self->rows, input = self->rows;
    output.layers = &d->out_layer;
    output.n_layers = d->out_layer >= 0;
    input.layers = &d->in_layer;
    input.n_layers = d->in_layer >= 0;
    if (apart && host->observe(self->context, (psc_point)d->in_point, &input, on_input, l))
        return -1;
    if (host->edit(self->context, (psc_point)d->out_point, &output,
            l->encodes && !apart ? on_input : on_output, l))
        return -1;
    output.gradient = PSC_GRADIENT_THROUGH;
    return l->encodes ? host->edit(self->context, (psc_point)d->out_point, &output, on_gradient, l)
                      : 0;
}
