/* A model's name -> its folder: a folder as given, FOLDER/REVISION, or a snapshot of the Hugging
 * Face cache. */
#undef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath */
#include "hub_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Gives the caller what its version of the structure knows. */
static psc_status give(psc_model_place *out, psc_model_place *place, psc_error *error) {
    const uint32_t known = out->struct_size;
    if (known < sizeof known)
        return psc_fail(error, PSC_ERROR_INPUT,
            "psc_model_place.struct_size is not set; start from PSC_MODEL_PLACE_INIT");
    place->struct_size = known;
    memcpy(out, place, known < sizeof *place ? known : sizeof *place);
    return PSC_OK;
}

/* --- names ----------------------------------------------------------------------------------- */

/* What is wrong with a text as a name; null: nothing. Folders that exist are not asked. */
static const char *fault_of(const char *model, const char *revision) {
    if (!*model) return "is empty";
    if (strlen(model) >= sizeof((psc_model_place *)0)->folder) return "is too long";
    for (const char *c = model; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) return "has a control character";
    if (revision && !psc_hub_is_revision(revision))
        return "has no usable revision after '@'; a revision is like step3000";
    return NULL;
}

/* fault: nullable. A URL has its own sentence, unless it could not be printed. */
static psc_status refuse_text(const char *model, const char *fault, psc_error *error) {
    bool plain = true;
    for (const char *c = model; *c; c++) plain &= (unsigned char)*c >= 32 && *c != 127;
    psc_status status = plain ? psc_hub_refuse_url(model, error) : PSC_OK;
    if (status || !fault) return status;
    return psc_fail(error, PSC_ERROR_INPUT, "the model's name '%.200s' %s", model, fault);
}

/* "OWNER/NAME", or "pythia-..." with EleutherAI before it, in place->repository; n bytes of model
 * are before the revision. */
static bool take_repository(psc_model_place *place, const char *model, size_t n) {
    const bool is_short = strncmp(model, "pythia-", 7) == 0 && !memchr(model, '/', n);
    const size_t size = sizeof place->repository;
    if (n >= size ||
        !psc_hub_print(
            place->repository, size, "%s%.*s", is_short ? "EleutherAI/" : "", (int)n, model) ||
        !psc_hub_is_repository(place->repository, strlen(place->repository)))
        place->repository[0] = 0;
    return place->repository[0] != 0;
}

/* <cache>/models--OWNER--NAME */
static psc_status put_root(char *out, size_t size, const char *repository, psc_error *error) {
    char cache[4096];
    const int owner = (int)strcspn(repository, "/");
    psc_status status = psc_hub_folder(cache, sizeof cache, error);
    if (status) return status;
    if (psc_hub_print(
            out, size, "%s/models--%.*s--%s", cache, owner, repository, repository + owner + 1))
        return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "the path of the Hugging Face cache is too long");
}

/* The revision after the last '@', and what is before it; null without one. */
static const char *split(size_t *n, const char *model) {
    const char *at = strrchr(model, '@');
    *n = at ? (size_t)(at - model) : strlen(model);
    return at ? at + 1 : NULL;
}

psc_status psc_model_read_name(psc_model_place *out, const char *model, psc_error *error) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    size_t n;
    const char *revision = split(&n, model), *fault = fault_of(model, revision);
    psc_status status = refuse_text(model, fault, error);
    if (status) return status;
    if (!take_repository(&place, model, n))
        return refuse_text(model, "is not a name like EleutherAI/pythia-160m", error);
    if (!revision) revision = "main";
    const bool is_main = strcmp(revision, "main") == 0;
    psc_hub_print(place.revision, sizeof place.revision, "%s", revision);
    psc_hub_print(place.name, sizeof place.name, "%s%s%s", place.repository, is_main ? "" : "@",
        is_main ? "" : revision);
    status = put_root(place.folder, sizeof place.folder, place.repository, error);
    return status ? status : give(out, &place, error);
}

/* --- folders --------------------------------------------------------------------------------- */

/* Copies path without its final slashes. */
static bool trimmed(char *out, size_t size, const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    return psc_hub_print(out, size, "%.*s", (int)n, path);
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static bool is_step(const char *name) {
    return strncmp(name, "step", 4) == 0 && name[4] && !name[4 + strspn(name + 4, "0123456789")];
}

/* The folder's last part; of "pythia-160m/step3000" both: "pythia-160m@step3000". */
static void name_folder(psc_model_place *place, const char *path, const char *real) {
    const char *last = last_part(path);
    const bool dots = strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
    char above[4096];
    if (dots && real) last = last_part(real);
    psc_hub_print(place->name, sizeof place->name, "%.255s", last);
    if (!real || !is_step(last) || strcmp(last_part(real), last) != 0) return;
    if (!psc_hub_print(above, sizeof above, "%s", real)) return;
    above[strlen(above) - strlen(last) - 1] = 0;
    if (!above[0] || strlen(last_part(above)) > 120) return;
    psc_hub_print(place->name, sizeof place->name, "%.120s@%.100s", last_part(above), last);
    psc_hub_print(place->revision, sizeof place->revision, "%.100s", last);
}

/* A folder as given: the root of a cached model, a snapshot, or any other. A link to a snapshot
 * keeps its own name. */
static psc_status take_folder(psc_model_place *place, const char *model, const char *revision,
    const char *path, psc_error *error) {
    if (psc_hub_repository_of(place->repository, sizeof place->repository, path) &&
        psc_hub_is_root(path)) {
        psc_status status = psc_hub_find(place, path, revision, error);
        return status ? status : psc_hub_check_whole(place, error);
    }
    place->repository[0] = 0;
    psc_hub_print(place->folder, sizeof place->folder, "%s", model);
    char *real = realpath(path, NULL);
    if (!real && errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG)
        return psc_fail(error, errno == ENOMEM ? PSC_ERROR_MEMORY : PSC_ERROR_IO,
            "cannot resolve the path of %.1000s: %s", path, strerror(errno));
    const char *last = last_part(path);
    const bool same = real && (strcmp(last_part(real), last) == 0 || last[0] == '.');
    bool found = false;
    psc_status status = PSC_OK;
    if (same) status = psc_hub_find_snapshot(place, &found, real, error);
    if (!status && found) status = psc_hub_check_whole(place, error);
    if (!status && !found) name_folder(place, path, real);
    free(real);
    return status;
}

/* --- finding --------------------------------------------------------------------------------- */

static psc_status refuse_revision(
    const char *model, size_t n, const char *revision, psc_error *error) {
    char folder[4096], **names = NULL;
    int32_t count = 0;
    psc_status status = PSC_ERROR_IO;
    if (psc_hub_print(folder, sizeof folder, "%.*s", (int)n, model))
        status = psc_model_revisions(&names, &count, folder, NULL);
    if (status == PSC_ERROR_MEMORY)
        return psc_fail(
            error, status, "not enough memory for the checkpoints of %.*s", (int)n, model);
    if (status || count == 0)
        status = psc_fail(error, PSC_ERROR_IO,
            "model folder %.*s has no checkpoint %s, nor any other; leave out @%s", (int)n, model,
            revision, revision);
    else
        status = psc_fail(error, PSC_ERROR_IO,
            "model folder %.*s has no checkpoint %s; pass @%s%s%s", (int)n, model, revision,
            names[0], count > 1 ? ", or another up to @" : "", count > 1 ? names[count - 1] : "");
    psc_model_revisions_free(names, count);
    return status;
}

static psc_status refuse_folder(
    const char *model, size_t n, const char *revision, bool is_known, psc_error *error) {
    const char *slash = memchr(model, '/', n) ? strrchr(model, '/') : NULL;
    const char *name = slash ? slash + 1 : model;
    struct stat info;
    if (lstat(model, &info) == 0) /* but stat failed */
        return psc_fail(error, PSC_ERROR_IO,
            "%s is a link to nothing; make the link again, or pass the folder itself", model);
    if (is_known && revision) return refuse_revision(model, n, revision, error);
    if (revision || strncmp(name, "pythia-", 7) != 0 || strlen(name) > 96)
        return psc_fail(error, PSC_ERROR_IO, "model folder %s does not exist", model);
    return psc_fail(error, PSC_ERROR_IO,
        "model folder %s does not exist; to download it: pythiascope pull EleutherAI/%s --to %s",
        model, name, model);
}

/* FOLDER@REVISION: a revision of a cached model's root, or FOLDER/REVISION. *is_known: FOLDER is a
 * folder. False if it is not a place. */
static bool take_revision(psc_status *status, bool *is_known, psc_model_place *place,
    const char *model, size_t n, const char *revision, psc_error *error) {
    char path[4096];
    struct stat info;
    if (!psc_hub_print(path, sizeof path, "%.*s", (int)n, model)) return false;
    while (n > 1 && path[n - 1] == '/') path[--n] = 0;
    *is_known = n > 0 && is_folder(path);
    if (!*is_known) return false;
    if (psc_hub_repository_of(place->repository, sizeof place->repository, path) &&
        psc_hub_is_root(path)) {
        *status = take_folder(place, path, revision, path, error);
        return true;
    }
    place->repository[0] = 0;
    if (!psc_hub_print(path + n, sizeof path - n, "/%s", revision) || stat(path, &info) != 0)
        return false;
    *status = take_folder(place, path, NULL, path, error);
    return true;
}

static psc_status find(psc_model_place *place, const char *model, psc_error *error) {
    char path[4096];
    size_t n;
    struct stat info;
    bool is_known = false;
    psc_status status = PSC_OK;
    if (*model && trimmed(path, sizeof path, model) && stat(model, &info) == 0)
        return take_folder(place, model, NULL, path, error);
    const char *revision = split(&n, model);
    status = refuse_text(model, fault_of(model, revision), error);
    if (status) return status;
    if (lstat(model, &info) == 0) return refuse_folder(model, n, revision, false, error);
    if (revision && take_revision(&status, &is_known, place, model, n, revision, error))
        return status;
    if (!take_repository(place, model, n))
        return refuse_folder(model, n, revision, is_known, error);
    status = put_root(path, sizeof path, place->repository, error);
    if (!status) status = psc_hub_find(place, path, revision, error);
    return status ? status : psc_hub_check_whole(place, error);
}

psc_status psc_model_find(psc_model_place *out, const char *model, psc_error *error) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    const psc_status status = find(&place, model, error);
    return status ? status : give(out, &place, error);
}
