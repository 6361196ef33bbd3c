/* Directions from a safetensors file: a tensor [width], [k, width] (vectors=rows, the default) or
 * [width, k] (vectors=columns, as a rotation of distributed alignment search is saved). At a whole
 * point with heads [H, D] is one vector, as its tensors are. index= picks some of the k.
 *
 * A file's note model_hash must be this model's. A file with the note places is one that the plugin
 * `directions` fitted; its default tensor is mean_difference. */
#include "direction.h"

#include <stdio.h>
#include <string.h>

/* --- lists of numbers ------------------------------------------------------------------------ */

int direction_list(const direction *d, const char *key, const char *text, int32_t least,
    int32_t **out, int32_t *n) {
    enum { MOST = 65536 };
    const intervention *base = &d->base;
    *out = NULL;
    for (int fill = 0; fill < 2; fill++) {
        *n = 0;
        for (const char *p = text;; p++) {
            char part[32];
            const size_t length = strcspn(p, "+");
            int32_t begin = 0, end = 0;
            if (length >= sizeof part) p = "", begin = end = 0;
            snprintf(part, sizeof part, "%.*s", (int)length, p);
            if (psc_option_positions(base->context, base->host, key, part, &begin, &end)) return -1;
            if (begin < least || end - begin > MOST - *n)
                return base->host->fail(base->context,
                    "%s=%.60s must list at most %d numbers from %d on, such as %d-3+7", key, text,
                    (int)MOST, (int)least, (int)least);
            for (int32_t i = begin; i < end; i++, ++*n)
                if (fill) (*out)[*n] = i;
            p += length;
            if (!*p) break;
        }
        if (fill) break;
        *out = base->host->life_alloc(base->context, (uint64_t)*n * sizeof **out);
        if (!*out) return -1;
    }
    return 0;
}

/* --- the file of another model --------------------------------------------------------------- */

/* Checks the notes of a file. *fitted: 1 or, for several places, 2 if the plugin `directions` wrote
 * it, else 0. */
static int check_notes(const direction *d, const char *file, int *fitted) {
    const psc_host *host = d->base.host;
    psc_context *context = d->base.context;
    const char *hash = NULL, *places = NULL, *mine = host->model(context)->hash;
    const int hashed = host->read_note(context, file, "model_hash", &hash);
    const int made = hashed < 0 ? -1 : host->read_note(context, file, "places", &places);
    if (made < 0) return -1;
    if (hashed && strcmp(hash, mine) != 0)
        return host->fail(context,
            "file=%.200s was made with the model %.32s and this model is %.32s; fit it again", file,
            hash, mine);
    *fitted = !made ? 0 : strcmp(places, "1") == 0 ? 1 : 2;
    return 0;
}

/* --- tensors --------------------------------------------------------------------------------- */

/* A tensor as it was read, for a site that takes vectors of width or full numbers. */
typedef struct reading {
    const direction *d;
    const intervention_site *site;
    const char *name; /* null: the only tensor */
    int or_only;
    int32_t n_axes;
    int64_t shape[8];
    int64_t width, heads; /* of the site; heads 0: a vector has one axis */
} reading;

static const float *read_entry(reading *r, int64_t index) {
    const intervention *base = &r->d->base;
    return base->host->read_entry(
        base->context, r->d->file, r->name, r->or_only, index, &r->n_axes, r->shape);
}

static int64_t product(const reading *r, int32_t first) {
    int64_t n = 1;
    for (int32_t i = first; i < r->n_axes; i++) n *= r->shape[i];
    return n;
}

static int refuse_shape(const reading *r) {
    char shape[128] = "", name[64];
    for (int32_t i = 0; i < r->n_axes; i++) {
        const size_t used = strlen(shape);
        snprintf(
            shape + used, sizeof shape - used, "%s%lld", i ? ", " : "", (long long)r->shape[i]);
    }
    intervention_point_name(r->site, name, sizeof name);
    return r->d->base.host->fail(r->d->base.context,
        "file=%.200s: tensor %.100s has the shape [%s]; %s takes vectors of %lld numbers as %s of "
        "a tensor (vectors=%s takes the other form)",
        r->d->file, r->name, shape, name, (long long)r->width, r->d->columns ? "columns" : "rows",
        r->d->columns ? "rows" : "columns");
}

/* How many vectors the tensor has; 0: it does not fit the site. */
static int64_t vectors_of(const reading *r) {
    const int32_t axes = r->n_axes;
    const int by_head = r->heads > 0 && axes >= 2 && r->shape[axes - 2] == r->heads &&
                        r->shape[axes - 1] * r->heads == r->width;
    const int64_t row = by_head ? r->width : r->shape[axes - 1];
    return row == r->width ? product(r, 0) / row : 0;
}

static int make(const reading *r, int64_t n, direction_vectors *out) {
    const intervention *base = &r->d->base;
    if (n > r->width)
        return base->host->fail(base->context,
            "file=%.200s: tensor %.100s gives %lld vectors, and %lld numbers have at most as many "
            "directions; choose some with index=",
            r->d->file, r->name, (long long)n, (long long)r->width);
    *out = (direction_vectors){.n = n, .width = r->width, .from = r->d->file};
    out->at = base->host->life_alloc(base->context, (uint64_t)(n * r->width) * sizeof *out->at);
    return out->at ? 0 : -1;
}

/* A vector from numbers that are `step` apart. */
static void put(const reading *r, double *out, const float *from, int64_t step) {
    for (int64_t i = 0; i < r->width; i++) out[i] = (double)from[i * step];
}

static int read_rows(reading *r, const int32_t *index, int32_t n_index, direction_vectors *out) {
    int64_t n = n_index;
    if (n_index && make(r, n, out)) return -1;
    for (int32_t k = 0; k < n_index; k++) { /* one entry at a time: dictionaries are large */
        const float *data = read_entry(r, index[k]);
        if (!data) return -1;
        if (vectors_of(r) != 1) return refuse_shape(r);
        put(r, out->at + k * r->width, data, 1);
    }
    if (n_index) return 0;
    const float *data = read_entry(r, -1);
    if (!data) return -1;
    n = vectors_of(r);
    if (n == 0) return refuse_shape(r);
    if (make(r, n, out)) return -1;
    for (int64_t k = 0; k < n; k++) put(r, out->at + k * r->width, data + k * r->width, 1);
    return 0;
}

static int read_columns(reading *r, const int32_t *index, int32_t n_index, direction_vectors *out) {
    const intervention *base = &r->d->base;
    const float *data = read_entry(r, -1);
    if (!data) return -1;
    const int64_t columns = r->n_axes == 2 && r->shape[0] == r->width ? r->shape[1] : 0;
    if (columns == 0) return refuse_shape(r);
    const int64_t n = n_index ? n_index : columns;
    if (make(r, n, out)) return -1;
    for (int64_t k = 0; k < n; k++) {
        const int64_t column = n_index ? index[k] : k;
        if (column >= columns)
            return base->host->fail(base->context,
                "index=%.60s: tensor %.100s has the columns 0 to %lld", r->d->index, r->name,
                (long long)columns - 1);
        put(r, out->at + k * r->width, data + column, columns);
    }
    return 0;
}

int direction_read(const direction *d, const intervention_site *site, direction_vectors *out) {
    const psc_model_info *model = d->base.host->model(d->base.context);
    const int32_t heads = site->head < 0 && intervention_site_heads(site) ? model->n_heads : 0;
    char *name = d->base.host->life_alloc(d->base.context, 64);
    reading r = {.d = d, .site = site, .heads = heads, .width = site->width};
    int32_t *index = NULL, n_index = 0;
    int fitted = 0;
    if (!name || check_notes(d, d->file, &fitted)) return -1;
    if (*d->index && direction_list(d, "index", d->index, 0, &index, &n_index)) return -1;
    intervention_point_name(site, name, 64);
    r.or_only = !*d->tensor && !fitted;
    r.name = *d->tensor ? d->tensor : fitted ? "mean_difference" : name;
    if (fitted > 1 && !strchr(r.name, '.')) { /* of several places, each has its own */
        const uint64_t size = 96 + (uint64_t)strlen(r.name);
        char *full = d->base.host->life_alloc(d->base.context, size);
        if (!full) return -1;
        intervention_site_name(site, full, 64);
        snprintf(full + strlen(full), 32 + strlen(r.name), ".%s", r.name);
        r.name = full;
    }
    return d->columns ? read_columns(&r, index, n_index, out) : read_rows(&r, index, n_index, out);
}

int direction_read_mean(direction *d, intervention_site *site) {
    const char *file = *d->mean ? d->mean : d->file;
    int fitted = 0;
    if (!*file)
        return d->base.host->fail(d->base.context,
            "value=mean needs mean=FILE, such as the plugin means or the verb directions saves");
    if (check_notes(d, file, &fitted)) return -1;
    site->vector =
        d->base.host->life_alloc(d->base.context, (uint64_t)site->width * sizeof *site->vector);
    d->base.file = file;
    char *name = d->base.host->life_alloc(d->base.context, 64);
    if (!name) return -1;
    if (fitted) intervention_site_name(site, name, 64);
    d->base.tensor = name; /* "": the point's name */
    d->base.index = "";
    return site->vector ? intervention_read_vector(site) : -1;
}
