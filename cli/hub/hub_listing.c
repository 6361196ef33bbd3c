/* GET /api/models/OWNER/NAME/revision/REVISION?blobs=true ->
 *   {"sha": COMMIT, "config": {"model_type": ...}, "siblings": [{"rfilename": NAME, "size": N,
 *     "blobId": SHA-1, "lfs": {"sha256": SHA-256, "size": N}}, ...]}
 * All of it is untrusted: names, hashes and sizes are checked before anything is made of them. */
#include "hub_listing.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_get.h"

enum { MOST_LISTED = 20000, MOST_FILES = 300 };
#define MOST_BYTES ((int64_t)1 << 50)

static psc_status refuse(const hub_listing *l, const char *what, psc_error *error) {
    return psc_fail(error, PSC_ERROR_IO,
        "%s: the hub's list of files %s; nothing was downloaded. Check HF_ENDPOINT", l->subject,
        what);
}

/* --- names ----------------------------------------------------------------------------------- */

/* Whether no part of a name leads elsewhere: no "..", no '\', no control character. */
static bool is_harmless(const char *name) {
    if (!*name || *name == '/') return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        if (*part == '/') part++;
        const size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && strncmp(part, "..", 2) == 0))
            return false;
    }
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127 || *c == '\\') return false;
    return true;
}

static bool ends_with(const char *name, const char *suffix) {
    const size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* A shard of weights: model-00001-of-00002.safetensors, pytorch_model-00001-of-00002.bin. */
static bool is_shard(const char *name, const char *stem, const char *suffix) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t n = strlen(stem);
    return strncmp(name, stem, n) == 0 && name[n] == '-' && ends_with(name, suffix) &&
           strspn(name, plain) == strlen(name) && strlen(name) < sizeof((hub_file *)0)->name;
}

static const char *const plain_files[] = {"config.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "README.md", "LICENSE", NULL};

/* The kinds of weights, the first that the model has: safetensors before pickles. */
static const struct {
    const char *whole, *index, *stem, *suffix;
} kinds[] = {{"model.safetensors", "model.safetensors.index.json", "model", ".safetensors"},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model", ".bin"}};
enum { WHOLE_SAFETENSORS, SHARDED_SAFETENSORS, WHOLE_BIN, SHARDED_BIN, NO_WEIGHTS };

static bool is_needed(const char *name, int weights) {
    for (int i = 0; plain_files[i]; i++)
        if (strcmp(name, plain_files[i]) == 0) return true;
    if (weights == NO_WEIGHTS) return false;
    const int kind = weights / 2;
    if (weights % 2 == 0) return strcmp(name, kinds[kind].whole) == 0;
    return strcmp(name, kinds[kind].index) == 0 ||
           is_shard(name, kinds[kind].stem, kinds[kind].suffix);
}

bool hub_listing_may_have(const char *name) {
    if (strcmp(name, "README.md") == 0 || strcmp(name, "LICENSE") == 0) return false;
    for (int weights = 0; weights < NO_WEIGHTS; weights++)
        if (is_needed(name, weights)) return true;
    return false;
}

/* --- files ----------------------------------------------------------------------------------- */

static const char *name_of(const json_t *sibling) {
    return json_string_value(json_object_get(sibling, "rfilename"));
}

static bool is_listed(const json_t *siblings, const char *name) {
    size_t i;
    json_t *sibling;
    json_array_foreach(siblings, i, sibling) if (strcmp(name_of(sibling), name) == 0) return true;
    return false;
}

/* Checks all names, then finds the kind of weights. */
static psc_status survey(int *weights, const hub_listing *l, json_t *siblings, psc_error *error) {
    size_t i;
    json_t *sibling;
    if (!json_is_array(siblings) || json_array_size(siblings) > MOST_LISTED)
        return refuse(l, "is missing or too long", error);
    json_array_foreach(siblings, i, sibling) {
        const char *name = name_of(sibling);
        if (!name) return refuse(l, "has a file without a name", error);
        if (!is_harmless(name))
            return psc_fail(error, PSC_ERROR_IO,
                "%s: the hub lists a file '%.100s', whose name leads out of the folder; nothing was "
                "downloaded",
                l->subject, name);
    }
    *weights = NO_WEIGHTS;
    for (int kind = 1; kind >= 0; kind--) {
        if (is_listed(siblings, kinds[kind].index)) *weights = 2 * kind + 1;
        if (is_listed(siblings, kinds[kind].whole)) *weights = 2 * kind;
    }
    if (!is_listed(siblings, "config.json"))
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s has no config.json, so it is not a model for transformers", l->subject);
    if (*weights == NO_WEIGHTS)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s has neither safetensors nor pytorch_model.bin, so there are no weights that "
            "pythiascope reads",
            l->subject);
    return PSC_OK;
}

static bool is_hex(const char *text, size_t n) {
    return text && strlen(text) == n && strspn(text, "0123456789abcdef") == n;
}

static psc_status read_file(
    hub_file *out, const hub_listing *l, const json_t *sibling, psc_error *error) {
    const json_t *large = json_object_get(sibling, "lfs");
    const bool is_large = json_is_object(large);
    const json_t *size = json_object_get(is_large ? large : sibling, "size");
    const char *hash = is_large ? json_string_value(json_object_get(large, "sha256"))
                                : json_string_value(json_object_get(sibling, "blobId"));
    *out = (hub_file){.is_large = is_large, .size = json_integer_value(size)};
    snprintf(out->name, sizeof out->name, "%s", name_of(sibling));
    if (!is_hex(hash, is_large ? 64 : 40) || !json_is_integer(size) || out->size < 0 ||
        out->size > MOST_BYTES)
        return psc_fail(error, PSC_ERROR_IO,
            "%s: the hub does not say the size and hash of %s, so it could not be checked; check "
            "HF_ENDPOINT",
            l->subject, out->name);
    snprintf(out->hash, sizeof out->hash, "%s", hash);
    for (int32_t i = 0; i < l->n; i++)
        if (strcmp(l->files[i].name, out->name) == 0) return refuse(l, "has a name twice", error);
    return PSC_OK;
}

static psc_status read_files(hub_listing *l, json_t *siblings, psc_error *error) {
    int weights = NO_WEIGHTS;
    size_t i;
    json_t *sibling;
    psc_status status = survey(&weights, l, siblings, error);
    if (status) return status;
    l->files = calloc(MOST_FILES, sizeof *l->files);
    if (!l->files)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a list of files");
    json_array_foreach(siblings, i, sibling) {
        if (!is_needed(name_of(sibling), weights)) continue;
        if (l->n == MOST_FILES) return refuse(l, "has more than 300 files of a model", error);
        status = read_file(&l->files[l->n], l, sibling, error);
        if (status) return status;
        l->n++;
    }
    return PSC_OK;
}

/* Large files of another kind of model are not worth the download. */
static psc_status check_kind(const hub_listing *l, const json_t *root, psc_error *error) {
    const json_t *config = json_object_get(root, "config");
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (!type || strcmp(type, "gpt_neox") == 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_SUPPORT,
        "%s has model_type \"%.60s\", but only gpt_neox is supported (Pythia and its like)",
        l->subject, type);
}

/* --- a revision ------------------------------------------------------------------------------ */

/* The numbers of two steps are as far from each other as their difference. */
static long long distance(const char *a, const char *b) {
    const long long m = hub_step(a), n = hub_step(b);
    if (m < 0 || n < 0) return LLONG_MAX;
    return m > n ? m - n : n - m;
}

/* Names the training steps that there are, and the nearest. */
static psc_status say_revisions(
    const hub_listing *l, const hub_settings *settings, const char *repository, psc_error *error) {
    hub_revisions found;
    psc_status status = hub_revisions_get(&found, settings, repository, error);
    if (status) return status;
    int32_t near = 0;
    for (int32_t i = 1; i < found.n_steps; i++)
        if (distance(found.names[i], l->revision) < distance(found.names[near], l->revision))
            near = i;
    if (found.n_steps > 0)
        status = psc_fail(error, PSC_ERROR_IO,
            "%s has no revision %s; its %d training steps are from %s to %s, the nearest is %s",
            repository, l->revision, (int)found.n_steps, found.names[0],
            found.names[found.n_steps - 1], found.names[near]);
    else
        status = psc_fail(error, PSC_ERROR_IO, "%s has no revision %s; it has %s%s%s%s", repository,
            l->revision, found.n > 0 ? found.names[0] : "none", found.n > 1 ? ", " : "",
            found.n > 1 ? found.names[1] : "", found.n > 2 ? ", ..." : "");
    hub_revisions_close(&found);
    return status;
}

psc_status hub_listing_get(hub_listing *out, const hub_settings *settings, const char *repository,
    const char *revision, psc_error *error) {
    char path[1024];
    json_t *root;
    bool no_revision;
    const bool is_main = strcmp(revision, "main") == 0;
    *out = (hub_listing){.n = 0};
    snprintf(out->revision, sizeof out->revision, "%s", revision);
    snprintf(out->subject, sizeof out->subject, "%s%s%s", repository, is_main ? "" : "@",
        is_main ? "" : revision);
    snprintf(path, sizeof path, "/api/models/%s/revision/", repository);
    if (!hub_escape(path, sizeof path - 16, revision))
        return psc_fail(error, PSC_ERROR_INPUT, "the revision %s is too long", revision);
    const size_t end = strlen(path);
    snprintf(path + end, sizeof path - end, "?blobs=true");
    psc_status status = hub_get_json(&root, &no_revision, settings, path, out->subject, error);
    if (no_revision) return say_revisions(out, settings, repository, error);
    if (status) return status;
    const char *commit = json_string_value(json_object_get(root, "sha"));
    if (!is_hex(commit, 40))
        status = refuse(out, "has no commit", error);
    else
        snprintf(out->commit, sizeof out->commit, "%s", commit);
    if (!status) status = check_kind(out, root, error);
    if (!status) status = read_files(out, json_object_get(root, "siblings"), error);
    json_decref(root);
    if (status) hub_listing_close(out);
    return status;
}

void hub_listing_close(hub_listing *listing) {
    free(listing->files);
    listing->files = NULL;
    listing->n = 0;
}
