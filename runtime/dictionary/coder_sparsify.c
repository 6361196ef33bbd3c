/* cfg.json as sparsify writes it, and files of tensors alone. The hook point is in the name:
 *
 *   layers.3/            an SAE of layer 3's output; layers.3.mlp/ of its MLP's
 *   layers.3.mlp/        with transcode: from that module's input to its output
 *   layers.3.mlp/seed0/  one of several seeds
 *   layer_3.safetensors  a transcoder of layer 3's MLP, or of the hooks of config.yaml beside it */
#define _DEFAULT_SOURCE /* realpath */
#include "coder_reader.h"
#include "files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define YAML_CAP ((size_t)1 << 20)

static void copy_text(char out[PSC_CODER_TEXT], const char *text, size_t n) {
    snprintf(out, PSC_CODER_TEXT, "%.*s", n < PSC_CODER_TEXT ? (int)n : PSC_CODER_TEXT - 1, text);
}

/* The name of the folder that holds the file at path; its parent's for a folder "seed0". */
static psc_status folder_name(char out[PSC_CODER_TEXT], const char *path, psc_error *error) {
    char *whole = realpath(path, NULL);
    if (!whole && errno == ENOMEM)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %.300s", path);
    if (!whole)
        return psc_fail(
            error, PSC_ERROR_IO, "cannot find the folder of %.300s: %s", path, strerror(errno));
    out[0] = 0;
    char *end = strrchr(whole, '/');
    for (int up = 0; end && up < 2; up++) {
        *end = 0;
        char *slash = strrchr(whole, '/');
        const char *name = slash ? slash + 1 : whole;
        copy_text(out, name, strlen(name));
        if (strncmp(name, "seed", 4) != 0) break;
        end = slash;
    }
    free(whole);
    return PSC_OK;
}

psc_status psc_coder_take_points(
    psc_coder_config *c, const char *point, bool parallel, psc_error *error) {
    char in[PSC_CODER_TEXT], out[PSC_CODER_TEXT];
    psc_coder_point first = {0}, last = {0};
    const char *plus = strchr(point, '+');
    copy_text(in, point, plus ? (size_t)(plus - point) : strlen(point));
    copy_text(out, plus ? plus + 1 : "", plus ? strlen(plus + 1) : 0);
    if (plus && !c->is_transcoder)
        return psc_fail(error, PSC_ERROR_INPUT,
            "point=%.100s names two points, but %.300s is no transcoder; name one", point, c->said);
    psc_status status = psc_coder_point_parse(&first, &last, in, true, parallel, error);
    if (status) return status;
    c->in = c->is_transcoder ? first : last;
    c->out = last;
    if (plus) {
        c->in = last; /* of "layers.3+layers.4" what the first module shows */
        return psc_coder_point_parse(NULL, &c->out, out, true, parallel, error);
    }
    const bool one_end = first.point == last.point && first.layer == last.layer;
    if (c->is_transcoder && one_end)
        return psc_fail(error, PSC_ERROR_INPUT,
            "point=%.100s is one end of a transcoder; give both: point=IN+OUT", point);
    return PSC_OK;
}

/* Keys of programs derived from sparsify that change the latents. */
static psc_status refuse_forks(const psc_config_reader *r) {
    static const char *const keys[] = {"batch_topk", "sample_topk", "input_unit_norm"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        bool on = false;
        psc_status status = psc_coder_boolean(r, r->root, keys[i], &on);
        if (!status && on)
            status = psc_fail(r->error, PSC_ERROR_INPUT,
                "%s: %s is true, which sparsify itself does not have; such dictionaries are not "
                "supported",
                r->path, keys[i]);
        if (status) return status;
    }
    return PSC_OK;
}

psc_status psc_coder_read_sparsify(
    psc_coder_config *c, const psc_config_reader *r, const char *point, bool parallel) {
    char activation[PSC_CODER_TEXT] = "topk", name[PSC_CODER_TEXT];
    const bool says = psc_config_get(r->root, "transcode") != NULL;
    bool is_signed = false;
    int32_t factor = 32;
    psc_error why = {PSC_OK, ""};
    c->k = -1;
    psc_status status = psc_coder_text(r, r->root, "activation", activation);
    if (!status) status = psc_coder_count(r, r->root, "k", 0, 1 << 24, &c->k);
    if (!status) status = psc_coder_count(r, r->root, "expansion_factor", 0, 1 << 16, &factor);
    if (!status) status = psc_coder_boolean(r, r->root, "signed", &is_signed);
    if (!status) status = psc_coder_boolean(r, r->root, "transcode", &c->is_transcoder);
    if (!status) status = psc_coder_boolean(r, r->root, "skip_connection", &c->has_skip);
    if (!status) status = psc_coder_sizes(c, r, "num_latents", 0);
    if (!status) status = refuse_forks(r);
    if (status) return status;
    if (c->k < 0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: k is missing; %.60s needs the number of active latents as k", r->path, activation);
    if (c->has_skip && !c->is_transcoder && says)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s has a skip_connection, but transcode is false; an autoencoder has none", r->path);
    if (strcmp(activation, "topk") != 0 && strcmp(activation, "groupmax") != 0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: the activation \"%.60s\" is unknown; known are topk and groupmax", r->path,
            activation);
    c->kind = activation[0] == 'g' ? PSC_DICTIONARY_GROUPMAX
              : is_signed          ? PSC_DICTIONARY_ABSTOPK
                                   : PSC_DICTIONARY_TOPK;
    if (c->n_latents == 0 && (int64_t)c->d_in * factor <= 1 << 24) c->n_latents = c->d_in * factor;
    c->subtracts_b_dec = !c->is_transcoder;
    /* cfg.json says transcode since February 2025. Transcoders before have b_dec subtracted, as
     * autoencoders have; a skip connection, or two points, tell them from these. */
    if (!says && (c->has_skip || (point && strchr(point, '+')))) c->is_transcoder = true;
    snprintf(c->architecture, sizeof c->architecture, "sparsify %s%s%.20s",
        c->has_skip ? "skip " : "", c->is_transcoder ? "transcoder, " : "", activation);
    if (point) return psc_coder_take_points(c, point, parallel, r->error);
    status = folder_name(name, r->path, r->error);
    if (status) return status;
    psc_coder_point in;
    status = psc_coder_point_parse(&in, &c->out, name, false, parallel, &why);
    if (status)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "the folder's name %.100s of %.300s says no module, as layers.3.mlp does; give point=",
            name, r->path);
    c->in = c->is_transcoder ? in : c->out;
    return PSC_OK;
}

/* The value of a line "key: value" of a config.yaml, without quotes; "" if it has none. */
static void yaml_value(char out[PSC_CODER_TEXT], const char *text, const char *key) {
    const size_t length = strlen(key);
    out[0] = 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) != 0 || line[length] != ':') continue;
        const char *value = line + length + 1;
        value += strspn(value, " \t\"'");
        copy_text(out, value, strcspn(value, " \t\"'#\r\n"));
        return;
    }
}

/* circuit-tracer's config.yaml in the folder of layer_3.safetensors names the ends of all layers, as
 * feature_input_hook: mlp.hook_in. Without the file they are those of the MLP. */
static psc_status take_yaml(psc_coder_config *c, int32_t layer, bool parallel, psc_error *error) {
    static const char *const keys[] = {"feature_input_hook", "feature_output_hook"};
    psc_coder_point *const ends[] = {&c->in, &c->out};
    char path[PSC_CODER_PATH], hook[PSC_CODER_TEXT], name[PSC_CODER_TEXT + 16];
    char *text = NULL;
    size_t size = 0;
    const char *slash = strrchr(c->weights, '/');
    const int folder = slash ? (int)(slash - c->weights) + 1 : 0;
    const int n = snprintf(path, sizeof path, "%.*sconfig.yaml", folder, c->weights);
    if (n < 0 || n >= (int)sizeof path || !psc_path_exists(path)) return PSC_OK;
    psc_status status = psc_read_file(&text, &size, path, YAML_CAP, error);
    for (int i = 0; !status && i < 2; i++) {
        psc_error why = {PSC_OK, ""};
        yaml_value(hook, text, keys[i]);
        if (!hook[0]) continue;
        snprintf(name, sizeof name, "blocks.%d.%s", (int)layer, hook);
        if (psc_coder_point_parse(NULL, ends[i], name, false, parallel, &why))
            status =
                psc_fail(error, PSC_ERROR_INPUT, "%.300s: %s: %.300s", path, keys[i], why.message);
    }
    free(text);
    return status;
}

psc_status psc_coder_read_file(
    psc_coder_config *c, const char *point, bool parallel, psc_error *error) {
    const char *slash = strrchr(c->weights, '/'), *name = slash ? slash + 1 : c->weights;
    char module[PSC_CODER_TEXT];
    char *end = NULL;
    psc_error why;
    c->layout = PSC_CODER_TENSORS;
    c->kind = PSC_DICTIONARY_RELU; /* a threshold makes it JUMPRELU */
    c->is_transcoder = true;
    snprintf(c->architecture, sizeof c->architecture, "transcoder");
    if (point) return psc_coder_take_points(c, point, parallel, error);
    const bool named = strncmp(name, "layer_", 6) == 0 && name[6] >= '0' && name[6] <= '9';
    const long layer = named ? strtol(name + 6, &end, 10) : -1;
    if (layer < 0 || layer > 9999 || strcmp(end, ".safetensors") != 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%.300s is no folder of a dictionary, and its name says no layer, as "
            "layer_3.safetensors of a transcoder does; give point=IN+OUT",
            c->weights);
    snprintf(module, sizeof module, "layers.%ld.mlp", layer);
    psc_status status = psc_coder_point_parse(&c->in, &c->out, module, false, parallel, &why);
    return status ? status : take_yaml(c, (int32_t)layer, parallel, error);
}
