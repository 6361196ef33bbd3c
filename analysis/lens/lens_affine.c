/* Affine lenses: h -> h + W h + b, one translator per layer, in the tuned-lens library's layout.
 *
 *   config.json          d_model, num_hidden_layers, bias; model_hash if fit= wrote it
 *   params.safetensors   "l.weight" [N, N] (rows are outputs), "l.bias" [N], l = 0..L-1
 *
 * Translator l belongs to the residual that enters layer l; final_post has none. */
#include "lens.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Checks that config.json has the whole number `wanted`. */
static int check_number(lens_state *s, const char *folder, const char *key, int32_t wanted) {
    psc_setting setting;
    const int found = s->host->load_setting(s->context, folder, key, &setting);
    if (found < 0) return -1;
    if (!found || setting.kind != PSC_SETTING_NUMBER)
        return s->host->fail(s->context, "%s/config.json has no number \"%s\"", folder, key);
    if (setting.number == (double)wanted) return 0;
    return s->host->fail(s->context,
        "the lens in %s belongs to another model: its %s is %.15g, this model's is %d", folder, key,
        setting.number, wanted);
}

static int check_hash(lens_state *s, const char *folder) {
    const char *hash = s->host->model(s->context)->hash;
    psc_setting setting;
    const int found = s->host->load_setting(s->context, folder, "model_hash", &setting);
    if (found <= 0) return found;
    if (setting.kind == PSC_SETTING_TEXT && strcmp(setting.text, hash) == 0) return 0;
    return s->host->fail(s->context,
        "the lens in %s belongs to another model: its model_hash is %.40s, this model's is %s",
        folder, setting.kind == PSC_SETTING_TEXT ? setting.text : "no text", hash);
}

/* Loads the named tensor, n_axes axes of N finite numbers; null after setting the error. */
static const float *load_one(lens_state *s, const char *path, const char *name, int32_t n_axes) {
    int32_t rank = 0;
    int64_t shape[8] = {0}, count = 1;
    const float *data = s->host->read_tensor(s->context, path, name, &rank, shape);
    if (!data) return NULL;
    int same = rank == n_axes;
    for (int32_t i = 0; i < n_axes; i++) {
        same = same && shape[i] == s->n_dims;
        count *= s->n_dims;
    }
    if (!same) {
        char wanted[48];
        snprintf(wanted, sizeof wanted, n_axes == 2 ? "[%d, %d]" : "[%d]", (int)s->n_dims,
            (int)s->n_dims);
        s->host->fail(
            s->context, "%s: tensor \"%s\" does not have the shape %s", path, name, wanted);
        return NULL;
    }
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(data[i])) {
            s->host->fail(s->context, "%s: tensor \"%s\" contains NaN or infinities", path, name);
            return NULL;
        }
    return data;
}

int lens_affine_load(lens_state *s, const char *folder) {
    const uint64_t layers = (uint64_t)s->n_layers, bytes = strlen(folder) + 32;
    psc_setting biased;
    if (check_number(s, folder, "d_model", s->n_dims) ||
        check_number(s, folder, "num_hidden_layers", s->n_layers) || check_hash(s, folder))
        return -1;
    const int found = s->host->load_setting(s->context, folder, "bias", &biased);
    if (found < 0) return -1;
    char *path = s->host->life_alloc(s->context, bytes);
    s->weight = s->host->life_alloc(s->context, layers * sizeof *s->weight);
    s->bias = s->host->life_alloc(s->context, layers * sizeof *s->bias);
    if (!path || !s->weight || !s->bias) return -1;
    snprintf(path, bytes, "%s/params.safetensors", folder);
    for (int32_t l = 0; l < s->n_layers; l++) {
        char name[32];
        snprintf(name, sizeof name, "%d.weight", (int)l);
        if (!(s->weight[l] = load_one(s, path, name, 2))) return -1;
        snprintf(name, sizeof name, "%d.bias", (int)l);
        if (found && biased.number == 0.0) continue;
        if (!(s->bias[l] = load_one(s, path, name, 1))) return -1;
    }
    return 0;
}

void lens_affine_apply(const lens_state *s, int32_t site, float *y, const float *x) {
    const int64_t n = s->n_dims;
    const float *w = s->weight[site], *b = s->bias[site];
    for (int64_t i = 0; i < n; i++) {
        const double moved = (double)s->host->dot(s->context, n, w + i * n, x);
        y[i] = (float)((double)x[i] + (moved + (b ? (double)b[i] : 0.0)));
    }
}
