/* Affine lenses: h -> h + W h + b, a translator a layer, in the layout of the tuned-lens library.
 *
 *   config.json          d_model, num_hidden_layers, bias; model_hash where we wrote it
 *   params.safetensors   "l.weight" [N, N] (rows are outputs), "l.bias" [N], l = 0..L-1
 *
 * Translator l belongs to the residual that enters layer l; final_post has none. */
#include "lens.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A whole number of config.json that must be `wanted`. */
static int check_number(lens_state *s, const char *folder, const char *key, int32_t wanted) {
    psc_setting setting;
    const int found = s->host->load_setting(s->context, folder, key, &setting);
    if (found < 0) return -1;
    if (!found || setting.kind != PSC_SETTING_NUMBER)
        return s->host->fail(s->context, "%s/config.json has no number \"%s\"", folder, key);
    if (setting.number == (double)wanted) return 0;
    return s->host->fail(s->context,
        "the lens in %s is of another model: its %s is %.15g, this model's is %d", folder, key,
        setting.number, wanted);
}

static int check_hash(lens_state *s, const char *folder) {
    const char *hash = s->host->model(s->context)->hash;
    psc_setting setting;
    const int found = s->host->load_setting(s->context, folder, "model_hash", &setting);
    if (found <= 0) return found;
    if (setting.kind == PSC_SETTING_TEXT && strcmp(setting.text, hash) == 0) return 0;
    return s->host->fail(s->context,
        "the lens in %s is of another model: its model_hash is %.40s, this model's is %s", folder,
        setting.kind == PSC_SETTING_TEXT ? setting.text : "no text", hash);
}

static int check_finite(
    lens_state *s, const char *folder, const char *name, int64_t n, const float *values) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return s->host->fail(s->context,
                "%s/params.safetensors: tensor \"%s\" holds NaN or infinities", folder, name);
    return 0;
}

static int load_one(
    lens_state *s, const char *folder, const char *name, int32_t n_axes, float *out) {
    const int64_t n = s->n_dims, shape[2] = {n, n};
    if (s->host->load_tensor(s->context, folder, name, n_axes, shape, out)) return -1;
    return check_finite(s, folder, name, n_axes == 2 ? n * n : n, out);
}

int lens_affine_load(lens_state *s, const char *folder) {
    const uint64_t n = (uint64_t)s->n_dims, layers = (uint64_t)s->n_layers;
    psc_setting biased;
    if (check_number(s, folder, "d_model", s->n_dims) ||
        check_number(s, folder, "num_hidden_layers", s->n_layers) || check_hash(s, folder))
        return -1;
    const int found = s->host->load_setting(s->context, folder, "bias", &biased);
    if (found < 0) return -1;
    const int has_bias = !found || biased.number != 0.0;
    s->weight = s->host->life_alloc(s->context, layers * n * n * sizeof(float));
    s->bias = s->host->life_alloc(s->context, layers * n * sizeof(float));
    if (!s->weight || !s->bias) return -1;
    for (uint64_t l = 0; l < layers; l++) {
        char name[32];
        snprintf(name, sizeof name, "%d.weight", (int)l);
        if (load_one(s, folder, name, 2, s->weight + l * n * n)) return -1;
        snprintf(name, sizeof name, "%d.bias", (int)l);
        if (has_bias && load_one(s, folder, name, 1, s->bias + l * n)) return -1;
    }
    return 0;
}

void lens_affine_apply(const lens_state *s, int32_t site, float *y, const float *x) {
    const int64_t n = s->n_dims;
    const float *w = s->weight + site * n * n, *b = s->bias + site * n;
    for (int64_t i = 0; i < n; i++) {
        const double moved = (double)s->host->dot(s->context, n, w + i * n, x) + (double)b[i];
        y[i] = (float)((double)x[i] + moved);
    }
}
