/* Vectors from a safetensors file: one vector [width], or the whole point's [full], of which a head
 * or neuron takes its part. A tensor of rows [T, full] gives the mean of its rows; with index=, its
 * row of that number, such as a feature of a dictionary's decoder. */
#include "intervention.h"

#include <string.h>

/* vector = the site's part of one row [full], averaged over n_rows. */
static void take_part(
    intervention_site *site, const float *data, int64_t n_rows, int64_t full, int64_t offset) {
    for (int64_t i = 0; i < site->width; i++) {
        double sum = 0.0;
        for (int64_t r = 0; r < n_rows; r++) sum += (double)data[r * full + offset + i];
        site->vector[i] = (float)(sum / (double)n_rows);
    }
}

static int check_finite(const intervention_site *site, const char *path) {
    const intervention *self = site->owner;
    for (int64_t i = 0; i < site->width; i++)
        if (!(site->vector[i] - site->vector[i] == 0.0f))
            return self->host->fail(
                self->context, "file=%.200s contains a value that is not finite", path);
    return 0;
}

/* The tensor of the file, or with index= one entry of it; the number of floats in *count and in a
 * row of it, if it has several axes, in *row. */
static const float *read_file(
    const intervention *self, const char *name, int64_t *count, int64_t *row) {
    const psc_host *host = self->host;
    const int named = *self->tensor != 0;
    int32_t n_axes = 0, index = -1;
    int64_t shape[8];
    if (*self->index &&
        psc_option_position(self->context, host, "index", self->index, INT32_MAX, &index))
        return NULL;
    const float *data = host->read_entry(
        self->context, self->file, named ? self->tensor : name, !named, index, &n_axes, shape);
    *count = 1;
    for (int32_t i = 0; data && i < n_axes; i++) *count *= shape[i];
    *row = data && n_axes > 1 ? *count / shape[0] : *count;
    return data;
}

int intervention_read_vector(intervention_site *site) {
    const intervention *self = site->owner;
    const psc_host *host = self->host;
    const psc_model_info *model = host->model(self->context);
    char name[64];
    int64_t count, row;
    intervention_point_name(site, name, sizeof name);
    const float *data = read_file(self, name, &count, &row);
    if (!data) return -1;
    const int64_t full = site->width * (site->head >= 0 ? model->n_heads : 1) *
                         (site->neuron >= 0 ? model->d_mlp : 1);
    const int64_t offset = site->head >= 0     ? site->head * site->width
                           : site->neuron >= 0 ? site->neuron
                                               : 0;
    if (count == full)
        take_part(site, data, 1, full, offset);
    else if (count == site->width && count == row)
        take_part(site, data, 1, site->width, 0);
    else if (row == full)
        take_part(site, data, count / row, full, offset);
    else
        return host->fail(self->context,
            "file=%.200s: tensor %.100s has %lld numbers; %s takes %lld or rows of that many, and "
            "the named place takes %lld",
            self->file, *self->tensor ? self->tensor : name, (long long)count, name,
            (long long)full, (long long)site->width);
    return check_finite(site, self->file);
}
