/* A logit split over the latents of a dictionary, its constant part, its error and the other writes.
 *
 *   z_t = b_t + sum over writes c of v . c / sigma_f,  v = P(gamma_f * t_bar)      (docs/plugins/logits.md)
 *   the out point's row  w = gain (sum_i f_i d_i + b_dec) + shift + W_skip m + error
 *   latent i  gain f_i (v . d_i)/sigma_f      b_dec  (gain (v . b_dec) + shift sum v)/sigma_f
 *   skip  (W_skip^T v) . m/sigma_f            error  (v . w - v . y)/sigma_f, y as the host decodes it
 *
 * w is the stream itself at hook_embed and hook_resid_*, where the writes after it remain; or a write
 * (attn_out, mlp_out, hook_z with v = W_O^T v), where all others remain. Sums ascend, in f64. */
#include "sae_shares.h"

#include "top.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { AT_ONCE = 64, MAX_SHOWN = 12, BIAS = PSC_POINT_COUNT };
enum { PART_LATENTS, PART_B_DEC, PART_ERROR, PART_SKIP, PARTS };
#define BOUND 1e-5

/* --- the other writes ------------------------------------------------------------------------ */

/* Whether the stream at the out point lacks what this layer's attention (mlp 0) or MLP writes. */
static int is_after(const psc_dictionary *d, int32_t layer, int mlp) {
    switch (d->out_point) {
    case PSC_HOOK_RESID_PRE:
        return layer >= d->out_layer;
    case PSC_HOOK_RESID_MID:
        return layer > d->out_layer || (layer == d->out_layer && mlp);
    case PSC_HOOK_RESID_POST:
        return layer > d->out_layer;
    case PSC_HOOK_Z:
    case PSC_HOOK_ATTN_OUT:
        return layer != d->out_layer || mlp;
    case PSC_HOOK_MLP_OUT:
        return layer != d->out_layer || !mlp;
    default: /* hook_embed */
        return 1;
    }
}

int sae_shares_check(const sae_shares *s) {
    const psc_dictionary *d = s->dictionary;
    const int32_t p = d->out_point;
    const int known = p == PSC_HOOK_EMBED || p == PSC_HOOK_RESID_PRE || p == PSC_HOOK_RESID_MID ||
                      p == PSC_HOOK_RESID_POST || p == PSC_HOOK_ATTN_OUT || p == PSC_HOOK_MLP_OUT ||
                      p == PSC_HOOK_Z;
    if (known && !d->out_affine) return 0;
    return s->host->fail(s->context,
        "shares=yes: the dictionary is at %s, which is neither in the residual stream nor written "
        "to it",
        d->out_name);
}

static int list_writes(sae_shares *s) {
    const psc_dictionary *d = s->dictionary;
    const int32_t layers = s->host->model(s->context)->n_layers;
    const int write = d->out_point == PSC_HOOK_ATTN_OUT || d->out_point == PSC_HOOK_MLP_OUT ||
                      d->out_point == PSC_HOOK_Z;
    s->writes = s->host->run_alloc(s->context, (2 * (uint64_t)layers + 2) * sizeof *s->writes);
    if (!s->writes) return -1;
    s->n_writes = 0;
    if (write) s->writes[s->n_writes++] = (sae_write){PSC_HOOK_EMBED, -1};
    for (int32_t l = 0; l < layers; l++) {
        if (d->out_point == PSC_HOOK_Z && l == d->out_layer)
            s->writes[s->n_writes++] = (sae_write){BIAS, l};
        if (is_after(d, l, 0)) s->writes[s->n_writes++] = (sae_write){PSC_HOOK_ATTN_OUT, l};
        if (is_after(d, l, 1)) s->writes[s->n_writes++] = (sae_write){PSC_HOOK_MLP_OUT, l};
    }
    return 0;
}

static const char *label_of(const sae_shares *s, const sae_write *w) {
    const psc_component_kind kind = w->point == PSC_HOOK_EMBED      ? PSC_COMPONENT_EMBED
                                    : w->point == BIAS              ? PSC_COMPONENT_ATTN_BIAS
                                    : w->point == PSC_HOOK_ATTN_OUT ? PSC_COMPONENT_ATTN_OUT
                                                                    : PSC_COMPONENT_MLP_OUT;
    return s->host->label(s->context, kind, w->layer < 0 ? 0 : w->layer, 0);
}

/* --- a run ----------------------------------------------------------------------------------- */

static int on_sigma(const psc_event *event, void *payload) {
    const sae_shares *s = payload;
    psc_rows_take(&s->targets.rows, event, s->sigma);
    return 0;
}

static int on_logits(const psc_event *event, void *payload) {
    sae_shares *s = payload;
    const psc_row_set *rows = &s->targets.rows;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *z = psc_view_row(&event->tensor, r);
        const int32_t slot = rows->slot[event->rows[r].index];
        for (int32_t t = 0; slot >= 0 && t < s->targets.n; t++) {
            int32_t ids[2];
            if (s->host->target_ids(s->context, t, &event->rows[r], z, ids)) return -1;
            if (ids[0] < 0) continue;
            s->values[t * (int64_t)rows->n + slot] =
                (double)z[ids[0]] - (ids[1] >= 0 ? (double)z[ids[1]] : 0.0);
        }
    }
    return 0;
}

/* Retains a point of one layer, or of all with layer -1. */
static int retain(const sae_shares *s, int32_t point, int32_t layer) {
    psc_filter filter = s->targets.rows.filter;
    filter.layers = &layer;
    filter.n_layers = layer >= 0;
    return s->host->retain(s->context, (psc_point)point, &filter);
}

int sae_shares_begin(sae_shares *s, const psc_row_set *rows) {
    const psc_host *host = s->host;
    const psc_dictionary *d = s->dictionary;
    psc_context *c = s->context;
    if (psc_targets_begin(c, host, rows, &s->targets) || list_writes(s)) return -1;
    const uint64_t n = (uint64_t)rows->n, pairs = n * (uint64_t)s->targets.n;
    s->sigma = host->run_alloc(c, n * sizeof *s->sigma + 1);
    s->values = host->run_alloc(c, pairs * sizeof *s->values + 1);
    if (!s->sigma || !s->values) return -1;
    for (uint64_t i = 0; i < pairs; i++) s->values[i] = NAN;
    s->embed = s->attn = s->mlp = -1;
    s->input = retain(s, d->in_point, d->in_layer);
    s->output = d->is_transcoder ? retain(s, d->out_point, d->out_layer) : s->input;
    if (s->input < 0 || s->output < 0) return -1;
    for (int32_t i = 0; i < s->n_writes; i++) {
        const int32_t p = s->writes[i].point;
        int *handle = p == PSC_HOOK_EMBED ? &s->embed : p == PSC_HOOK_ATTN_OUT ? &s->attn : &s->mlp;
        if (p == BIAS || *handle >= 0) continue;
        *handle = retain(s, p, -1);
        if (*handle < 0) return -1;
    }
    return host->observe(c, PSC_HOOK_LN_FINAL_SCALE, &rows->filter, on_sigma, s) ||
           host->observe(c, PSC_HOOK_LOGITS, &rows->filter, on_logits, s);
}

/* --- arrays ---------------------------------------------------------------------------------- */

static int make_arrays(sae_shares *s) {
    static const char *const by_row[] = {"targets", "rows"};
    static const char *const by_part[] = {"targets", "rows", "share_components"};
    static const char *const by_rank[] = {"targets", "rows", "share_ranks"};
    const psc_host *host = s->host;
    psc_context *c = s->context;
    const int32_t n = PARTS + s->n_writes;
    const char **labels = host->run_alloc(c, (uint64_t)n * sizeof *labels);
    if (!labels) return -1;
    labels[PART_LATENTS] = "latents";
    labels[PART_B_DEC] = "b_dec";
    labels[PART_ERROR] = "error";
    labels[PART_SKIP] = "skip";
    for (int32_t i = 0; i < s->n_writes; i++) labels[PARTS + i] = label_of(s, &s->writes[i]);
    if (host->axis_labels(c, "share_components", n, labels) ||
        psc_count_axis(c, host, "share_ranks", 1, s->top) ||
        psc_targets_results(&s->targets, "rows"))
        return -1;
    s->shares = host->array(c, "shares", PSC_F64, 3, by_part);
    s->top_shares = host->array(c, "latent_shares", PSC_F64, 3, by_rank);
    s->top_ids = host->array(c, "latent_share_ids", PSC_I32, 3, by_rank);
    s->top_values = host->array(c, "latent_share_values", PSC_F32, 3, by_rank);
    double *values = host->array(c, "share_values", PSC_F64, 2, by_row);
    s->constant = host->array(c, "share_constant", PSC_F64, 2, by_row);
    s->error = host->array(c, "share_error", PSC_F64, 2, by_row);
    if (!s->shares || !s->top_shares || !s->top_ids || !s->top_values || !values || !s->constant ||
        !s->error)
        return -1;
    const size_t pairs = (size_t)s->targets.n * (size_t)s->targets.rows.n;
    memcpy(values, s->values, pairs * sizeof *values);
    return 0;
}

/* --- the dictionary's part ------------------------------------------------------------------- */

/* Chosen rows of a retained tensor, [N] or [H, D], dense. */
static int gather(const sae_shares *s, int handle, int32_t layer, int64_t width, float *out) {
    psc_event event;
    if (s->host->fetch(s->context, handle, layer, &event)) return -1;
    const psc_view *t = &event.tensor;
    const int axes3 = t->n_axes == 3;
    const int64_t inner = t->shape[t->n_axes - 1];
    for (int32_t r = 0; r < event.n_rows; r++) {
        const int32_t slot = s->targets.rows.slot[event.rows[r].index];
        for (int64_t i = 0; slot >= 0 && i < width; i += inner)
            memcpy(out + slot * width + i,
                psc_view_row(t, r) + (axes3 ? i / inner * t->stride[1] : 0),
                (size_t)inner * sizeof *out);
    }
    return 0;
}

/* m = gamma x + beta in place of x, for the skip path. */
static int as_read(sae_shares *s) {
    const psc_dictionary *d = s->dictionary;
    const float *gamma, *beta;
    if (!d->in_affine) return 0;
    const psc_ln ln = d->in_point == PSC_HOOK_LN1_NORMALIZED   ? PSC_LN1
                      : d->in_point == PSC_HOOK_LN2_NORMALIZED ? PSC_LN2
                                                               : PSC_LN_FINAL;
    if (s->host->ln_parameters(s->context, ln, d->in_layer, &gamma, &beta)) return -1;
    for (int64_t i = 0; i < s->targets.rows.n * (int64_t)d->d_in; i++)
        s->x[i] = fmaf(gamma[i % d->d_in], s->x[i], beta[i % d->d_in]);
    return 0;
}

/* A latent at one row, for all targets. */
static void add_latent(sae_shares *s, int32_t slot, int32_t id, float f, float gain, const float *d,
    psc_top_list *tops) {
    const int64_t n_rows = s->targets.rows.n;
    for (int32_t t = 0; t < s->targets.n; t++) {
        const int64_t at = t * n_rows + slot;
        const int32_t which = s->directions.which[at];
        if (which < 0) continue;
        const double share = (double)gain * (double)f *
                             psc_dot_striped(s->width, s->v + which * s->width, d) /
                             (double)s->sigma[slot];
        s->sum[at] += share;
        s->sum_abs[at] += fabs(share);
        const int32_t place = psc_top_offer(&tops[t], fabs(share), id);
        if (place < 0) continue;
        *(double *)psc_top_room(&tops[t], place, s->top_shares + at * s->top, sizeof share) = share;
        *(int32_t *)psc_top_room(&tops[t], place, s->top_ids + at * s->top, sizeof id) = id;
        *(float *)psc_top_room(&tops[t], place, s->top_values + at * s->top, sizeof f) = f;
    }
}

/* The parts that a row's dictionary gives a target beside its latents. */
static void add_parts(sae_shares *s, int32_t slot, float gain, float shift) {
    const psc_dictionary *d = s->dictionary;
    const int64_t n_rows = s->targets.rows.n, n = s->width;
    for (int32_t t = 0; t < s->targets.n; t++) {
        const int64_t at = t * n_rows + slot;
        const int32_t which = s->directions.which[at];
        if (which < 0) continue;
        const float *v = s->v + which * n;
        const double sigma = (double)s->sigma[slot];
        double *out = s->shares + at * (PARTS + s->n_writes);
        out[PART_LATENTS] = s->sum[at];
        out[PART_B_DEC] = ((double)gain * psc_dot_striped(n, v, d->b_dec) +
                              (double)shift * psc_sum_striped(n, v)) /
                          sigma;
        out[PART_ERROR] =
            (psc_dot_striped(n, v, s->w + slot * n) - psc_dot_striped(n, v, s->y + slot * n)) /
            sigma;
        out[PART_SKIP] = 0.0;
    }
}

static int take(const psc_latents *latents, void *payload) {
    sae_shares *s = payload;
    const psc_host *host = s->host;
    const uint64_t n_tops = (uint64_t)s->targets.n;
    psc_top_list *tops = host->run_alloc(s->context, n_tops * sizeof *tops + 1);
    psc_ranked *ranked =
        host->run_alloc(s->context, n_tops * (uint64_t)s->top * sizeof *ranked + 1);
    if (!tops || !ranked) return -1;
    for (int32_t r = 0; r < latents->n_rows; r++) {
        const int32_t slot = (int32_t)(latents->first + r);
        for (int32_t t = 0; t < s->targets.n; t++)
            tops[t] = (psc_top_list){ranked + (int64_t)t * s->top, s->top, 0};
        for (int64_t from = latents->begin[r]; from < latents->begin[r + 1]; from += AT_ONCE) {
            const int64_t left = latents->begin[r + 1] - from, n = left < AT_ONCE ? left : AT_ONCE;
            if (host->dictionary_vectors(s->context, s->handle, PSC_DICTIONARY_DECODER, n,
                    latents->ids + from, s->vectors))
                return -1;
            for (int64_t k = 0; k < n; k++)
                add_latent(s, slot, latents->ids[from + k], latents->values[from + k],
                    latents->gain[r], s->vectors + k * s->width, tops);
        }
    }
    if (host->dictionary_decode(s->context, s->handle, latents, s->x, s->dictionary->d_in,
            s->y + latents->first * s->width))
        return -1;
    for (int32_t r = 0; r < latents->n_rows; r++)
        add_parts(s, (int32_t)(latents->first + r), latents->gain[r], latents->shift[r]);
    return 0;
}

/* v at the out point, and W_skip^T v. */
static int make_directions(sae_shares *s) {
    const psc_host *host = s->host;
    const psc_dictionary *d = s->dictionary;
    const uint64_t n = (uint64_t)s->directions.n;
    s->v = s->directions.u;
    s->v_skip = NULL;
    if (d->out_point == PSC_HOOK_Z) {
        float *v = host->run_alloc(s->context, n * (uint64_t)s->width * sizeof *v + 1);
        if (!v ||
            host->pullback(s->context, PSC_W_O, d->out_layer, v, s->directions.u, s->directions.n))
            return -1;
        s->v = v;
    }
    if (!d->has_skip) return 0;
    s->v_skip = host->run_alloc(s->context, n * (uint64_t)d->d_in * sizeof *s->v_skip + 1);
    return s->v_skip
               ? host->dictionary_skip(s->context, s->handle, 1, s->v_skip, s->v, s->directions.n)
               : -1;
}

static int encode(sae_shares *s) {
    const psc_host *host = s->host;
    const psc_dictionary *d = s->dictionary;
    const uint64_t rows = (uint64_t)s->targets.rows.n, pairs = rows * (uint64_t)s->targets.n;
    const uint64_t in = rows * (uint64_t)d->d_in, out = rows * (uint64_t)d->d_out;
    s->width = d->d_out;
    s->x = host->run_alloc(s->context, in * sizeof(float) + 1);
    s->w = s->input == s->output ? s->x : host->run_alloc(s->context, out * sizeof(float) + 1);
    s->y = host->run_alloc(s->context, out * sizeof(float) + 1);
    s->vectors = host->run_alloc(s->context, AT_ONCE * (uint64_t)d->d_out * sizeof(float));
    s->sum = host->run_alloc(s->context, pairs * sizeof(double) + 1);
    s->sum_abs = host->run_alloc(s->context, pairs * sizeof(double) + 1);
    if (!s->x || !s->w || !s->y || !s->vectors || !s->sum || !s->sum_abs ||
        gather(s, s->input, d->in_layer, d->d_in, s->x) ||
        (s->w != s->x && gather(s, s->output, d->out_layer, d->d_out, s->w)) || make_directions(s))
        return -1;
    return host->dictionary_encode(
        s->context, s->handle, s->x, d->d_in, s->targets.rows.n, take, s);
}

/* After encode, which needs x itself. */
static int add_skip(sae_shares *s) {
    const int64_t n_rows = s->targets.rows.n, n = s->dictionary->d_in;
    if (!s->v_skip) return 0;
    if (as_read(s)) return -1;
    for (int64_t at = 0; at < s->targets.n * n_rows; at++) {
        const int32_t which = s->directions.which[at];
        if (which < 0) continue;
        s->shares[at * (PARTS + s->n_writes) + PART_SKIP] =
            psc_dot_striped(n, s->v_skip + which * n, s->x + at % n_rows * n) /
            (double)s->sigma[at % n_rows];
    }
    return 0;
}

/* --- the other writes' shares ---------------------------------------------------------------- */

static int add_write(sae_shares *s, int32_t i) {
    const psc_host *host = s->host;
    const sae_write *w = &s->writes[i];
    const int64_t n = host->model(s->context)->d_model, n_rows = s->targets.rows.n;
    const float *bias = NULL;
    psc_event event;
    if (w->point == BIAS)
        bias = host->bias(s->context, PSC_W_O, w->layer);
    else if (host->fetch(s->context,
                 w->point == PSC_HOOK_EMBED      ? s->embed
                 : w->point == PSC_HOOK_ATTN_OUT ? s->attn
                                                 : s->mlp,
                 w->layer, &event))
        return -1;
    if (w->point == BIAS && !bias) return -1;
    for (int32_t r = 0; r < (bias ? n_rows : event.n_rows); r++) {
        const int32_t slot = bias ? r : s->targets.rows.slot[event.rows[r].index];
        const float *c = bias ? bias : psc_view_row(&event.tensor, r);
        for (int32_t t = 0; slot >= 0 && t < s->targets.n; t++) {
            const int64_t at = t * n_rows + slot;
            const int32_t which = s->directions.which[at];
            if (which < 0) continue;
            s->shares[at * (PARTS + s->n_writes) + PARTS + i] =
                psc_dot_striped(n, s->directions.u + which * n, c) / (double)s->sigma[slot];
        }
    }
    return 0;
}

/* |z - (constant + sum)|; the largest of it over 1 + sum |share|. */
static void close_sums(sae_shares *s) {
    const int32_t n = PARTS + s->n_writes;
    s->worst = 0.0;
    for (int64_t at = 0; at < s->targets.n * (int64_t)s->targets.rows.n; at++) {
        const int32_t which = s->directions.which[at];
        if (which < 0) continue;
        double sum = s->directions.constant[which], sum_abs = s->sum_abs[at];
        s->constant[at] = sum;
        for (int32_t i = 0; i < n; i++) {
            const double share = s->shares[at * n + i];
            sum += share;
            if (i != PART_LATENTS) sum_abs += fabs(share);
        }
        s->error[at] = fabs(s->values[at] - sum);
        const double relative = s->error[at] / (1.0 + sum_abs);
        if (!(relative <= s->worst)) s->worst = relative;
    }
}

int sae_shares_end(sae_shares *s) {
    if (psc_edits_refused(s->context, s->host, "an edited run has no shares of latents") ||
        psc_targets_required(&s->targets) ||
        psc_directions_build(&s->targets, 0, 0, &s->directions) || make_arrays(s) || encode(s) ||
        add_skip(s))
        return -1;
    for (int32_t i = 0; i < s->n_writes; i++)
        if (add_write(s, i)) return -1;
    close_sums(s);
    return 0;
}

/* --- the summary ----------------------------------------------------------------------------- */

static int show_latents(const sae_shares *s, int32_t t, int32_t slot) {
    const int64_t at = (int64_t)t * s->targets.rows.n + slot;
    char names[MAX_SHOWN][48], title[320], name[PSC_TARGET_NAME], place[PSC_ROW_NAME];
    const char *labels[MAX_SHOWN];
    double values[MAX_SHOWN];
    int32_t n = 0;
    for (; n < s->top && n < MAX_SHOWN && s->top_ids[at * s->top + n] >= 0; n++) {
        const int32_t id = s->top_ids[at * s->top + n];
        if (s->dictionary->out_layer < 0)
            snprintf(names[n], sizeof names[n], "F%d", (int)id);
        else
            snprintf(names[n], sizeof names[n], "L%dF%d", (int)s->dictionary->out_layer, (int)id);
        labels[n] = names[n];
        values[n] = s->top_shares[at * s->top + n];
    }
    snprintf(title, sizeof title, "Latents' shares of %.160s at %s",
        psc_target_name(&s->targets, t, slot, name),
        psc_row_name(s->context, s->host, psc_chosen_row(&s->targets, slot), place));
    return n > 0 ? s->host->summary_bars(s->context, title, "nats", n, labels, values) : 0;
}

static int show_target(const sae_shares *s, int32_t t, int32_t slot) {
    const int64_t at = (int64_t)t * s->targets.rows.n + slot;
    const double *share = s->shares + at * (PARTS + s->n_writes);
    char line[480], name[PSC_TARGET_NAME], skip[40] = "";
    double others = 0.0;
    for (int32_t i = 0; i < s->n_writes; i++) others += share[PARTS + i];
    if (s->v_skip) snprintf(skip, sizeof skip, "skip %.4f, ", share[PART_SKIP]);
    snprintf(line, sizeof line,
        "%.160s: logit %.4f = constant %.4f, latents %.4f, b_dec %.4f, %serror %.4f, other writes "
        "%.4f.",
        psc_target_name(&s->targets, t, slot, name), s->values[at], s->constant[at],
        share[PART_LATENTS], share[PART_B_DEC], skip, share[PART_ERROR], others);
    return s->host->summary_text(s->context, line) || show_latents(s, t, slot);
}

int sae_shares_report(const sae_shares *s) {
    char line[200];
    for (int32_t t = 0; t < s->targets.n; t++) {
        const int32_t slot = psc_target_last(&s->targets, t);
        if (slot >= 0 && (psc_target_say_row(&s->targets, t) || show_target(s, t, slot))) return -1;
    }
    snprintf(line, sizeof line,
        "%s: the largest error of a logit's sum is %.1e times (1 + sum |share|), the bound is 1e-05.",
        s->worst <= BOUND ? "Complete" : "NOT COMPLETE", s->worst);
    return s->host->value_number(s->context, "share_completeness", s->worst) ||
           s->host->value_number(s->context, "share_completeness_bound", BOUND) ||
           s->host->summary_text(s->context, line);
}
