/* The Hugging Face cache, as the package huggingface_hub lays it out:
 *   models--OWNER--NAME/refs/REVISION            a text: the commit
 *   models--OWNER--NAME/snapshots/COMMIT/FILE    a link to ../../blobs/HASH, or a file */
#include "hub_cache.h"

#include "files.h"
#include "folder_entries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_REFS = 4096, MOST_DEPTH = 8, REF_CAP = 256 };

/* --- refs ------------------------------------------------------------------------------------ */

/* The number of "step123"; -1 for another name. */
static long long step_of(const char *name) {
    const char *digits = name + 4;
    const size_t n = strncmp(name, "step", 4) == 0 ? strlen(digits) : 0;
    if (n == 0 || n > 15 || strspn(digits, "0123456789") != n) return -1;
    return strtoll(digits, NULL, 10);
}

int psc_hub_compare_revisions(const char *a, const char *b) {
    const long long x = step_of(a), y = step_of(b);
    if (x >= 0 && y >= 0 && x != y) return x < y ? -1 : 1;
    if ((x >= 0) != (y >= 0)) return x >= 0 ? -1 : 1;
    return strcmp(a, b);
}

static int by_revision(const void *a, const void *b) {
    return psc_hub_compare_revisions(
        ((const psc_hub_ref *)a)->name, ((const psc_hub_ref *)b)->name);
}

/* A commit names a folder, so it must be one plain word. */
static bool is_commit(const char *text) {
    const size_t n = strlen(text);
    return n > 0 && n < sizeof((psc_hub_ref *)0)->commit &&
           strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == n;
}

/* The commit in the file path; *good is false if that is not a file with a plain word. */
static psc_status read_commit(
    char *out, size_t size, bool *good, const char *path, psc_error *error) {
    char *text;
    size_t n;
    *good = false;
    psc_status status = psc_read_file(&text, &n, path, REF_CAP, error);
    if (status) return status == PSC_ERROR_INPUT ? PSC_OK : status;
    text[strcspn(text, " \t\r\n")] = 0;
    *good = is_commit(text) && psc_hub_print(out, size, "%s", text);
    free(text);
    return PSC_OK;
}

static psc_status add_ref(
    psc_hub_refs *refs, const char *root, const psc_hub_ref *ref, psc_error *error) {
    if (refs->n == MOST_REFS)
        return psc_fail(error, PSC_ERROR_INPUT, "%s/refs has more than %d files", root, MOST_REFS);
    refs->items[refs->n++] = *ref;
    return PSC_OK;
}

/* Adds the files of root/refs/<below> and of its folders. What is no ref is passed over. */
static psc_status add_refs(
    psc_hub_refs *refs, const char *root, const char *below, int depth, psc_error *error) {
    char path[4352];
    DIR *dir;
    if (depth == MOST_DEPTH || !psc_hub_print(path, sizeof path, "%s/refs/%s", root, below))
        return PSC_OK;
    psc_status status = psc_entries_open(&dir, path, error);
    for (const char *name; dir && !status;) {
        psc_hub_ref ref = {{0}, {0}};
        struct stat info;
        bool good;
        status = psc_entries_next(&name, dir, path, error);
        if (status || !name) break;
        if (!psc_hub_print(ref.name, sizeof ref.name, "%s%s%s", below, *below ? "/" : "", name) ||
            !psc_hub_is_revision(ref.name) ||
            !psc_hub_print(path, sizeof path, "%s/refs/%s", root, ref.name) ||
            stat(path, &info) != 0)
            continue;
        if (S_ISDIR(info.st_mode)) {
            status = add_refs(refs, root, ref.name, depth + 1, error);
        } else {
            status = read_commit(ref.commit, sizeof ref.commit, &good, path, error);
            if (!status && good) status = add_ref(refs, root, &ref, error);
        }
    }
    if (dir) closedir(dir);
    return status;
}

psc_status psc_hub_refs_read(psc_hub_refs *out, const char *root, psc_error *error) {
    *out = (psc_hub_refs){calloc(MOST_REFS, sizeof *out->items), 0};
    if (!out->items)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a model's revisions");
    const psc_status status = add_refs(out, root, "", 0, error);
    if (status) {
        psc_hub_refs_close(out);
        return status;
    }
    if (out->n > 0) qsort(out->items, (size_t)out->n, sizeof *out->items, by_revision);
    return PSC_OK;
}

void psc_hub_refs_close(psc_hub_refs *refs) {
    free(refs->items);
    *refs = (psc_hub_refs){NULL, 0};
}

/* --- snapshots ------------------------------------------------------------------------------- */

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool psc_hub_is_root(const char *root) {
    char path[4352];
    return psc_hub_print(path, sizeof path, "%s/snapshots", root) && is_folder(path);
}

/* root/snapshots/commit into place, if it is a folder. */
static bool take_snapshot(psc_model_place *place, const char *root, const char *commit) {
    return psc_hub_print(place->folder, sizeof place->folder, "%s/snapshots/%s", root, commit) &&
           is_folder(place->folder) &&
           psc_hub_print(place->commit, sizeof place->commit, "%s", commit);
}

/* The only snapshot whose name begins with `begin`; *found is false if there is none, or more. */
static psc_status only_snapshot(
    char *out, size_t size, bool *found, const char *root, const char *begin, psc_error *error) {
    char path[4352];
    int n = 0;
    DIR *dir;
    *found = false;
    if (!psc_hub_print(path, sizeof path, "%s/snapshots", root)) return PSC_OK;
    psc_status status = psc_entries_open(&dir, path, error);
    for (const char *name; dir && !status && n < 2;) {
        status = psc_entries_next(&name, dir, path, error);
        if (status || !name) break;
        if (is_commit(name) && strncmp(name, begin, strlen(begin)) == 0)
            n += psc_hub_print(out, size, "%s", name) ? 1 : 2;
    }
    if (dir) closedir(dir);
    *found = n == 1;
    return status;
}

/* "OWNER/NAME@REVISION"; main and commits are not shown. */
static void put_name(psc_model_place *place) {
    const bool plain = !place->revision[0] || strcmp(place->revision, "main") == 0 ||
                       strcmp(place->revision, place->commit) == 0;
    psc_hub_print(place->name, sizeof place->name, "%s%s%s", place->repository, plain ? "" : "@",
        plain ? "" : place->revision);
}

/* The revision by which a commit is known: main, else the first, else the commit itself. */
static void name_commit(psc_model_place *place, const psc_hub_refs *refs) {
    place->revision[0] = 0;
    for (int32_t i = 0; i < refs->n; i++) {
        const bool main = strcmp(refs->items[i].name, "main") == 0;
        if (strcmp(refs->items[i].commit, place->commit) != 0) continue;
        if (main || !place->revision[0])
            snprintf(place->revision, sizeof place->revision, "%s", refs->items[i].name);
    }
    if (!place->revision[0]) snprintf(place->revision, sizeof place->revision, "%s", place->commit);
    put_name(place);
}

/* Keeps the refs whose snapshots are there and whole. */
static void keep_usable(psc_hub_refs *refs, const char *root) {
    int32_t n = 0;
    for (int32_t i = 0; i < refs->n; i++) {
        psc_model_place place = PSC_MODEL_PLACE_INIT;
        if (take_snapshot(&place, root, refs->items[i].commit) &&
            psc_hub_check_whole(&place, NULL) == PSC_OK)
            refs->items[n++] = refs->items[i];
    }
    refs->n = n;
}

/* "; its file PATH is damaged", where the ref has no commit; else "". */
static void put_damage(char *out, size_t size, const char *root, const char *wanted) {
    char path[4352], commit[72];
    struct stat info;
    bool good;
    out[0] = 0;
    if (!psc_hub_print(path, sizeof path, "%s/refs/%s", root, wanted) || stat(path, &info) != 0 ||
        S_ISDIR(info.st_mode))
        return;
    if (!read_commit(commit, sizeof commit, &good, path, NULL) && good &&
        strspn(commit, "0123456789abcdef") == strlen(commit))
        return;
    psc_hub_print(out, size, " (%.300s is damaged: it has no commit)", path);
}

/* "@step1, @step2 and 3 more", or "" without revisions. */
static void list_revisions(char *out, size_t size, const psc_hub_refs *refs) {
    size_t used = 0;
    const int32_t shown = refs->n > 6 ? 5 : refs->n;
    out[0] = 0;
    for (int32_t i = 0; i < shown && used < size; i++)
        used += (size_t)snprintf(
            out + used, size - used, "%s@%.60s", i > 0 ? ", " : "", refs->items[i].name);
    if (shown < refs->n && used < size)
        snprintf(out + used, size - used, " and %d more", (int)(refs->n - shown));
}

/* "HF_HUB_CACHE=<folder> " where a root is not in this user's cache; else "". */
static void put_setting(char *out, size_t size, const char *root) {
    char usual[4096];
    const char *slash = strrchr(root, '/');
    const size_t n = slash ? (size_t)(slash - root) : 0;
    const bool same = psc_hub_folder(usual, sizeof usual, NULL) == PSC_OK && strlen(usual) == n &&
                      strncmp(usual, root, n) == 0;
    out[0] = 0;
    if (same) return;
    if (!psc_hub_print(out, size, "HF_HUB_CACHE=%.*s ", slash ? (int)n : 1, slash ? root : "."))
        out[0] = 0;
}

static psc_status refuse_absent(const psc_model_place *place, const char *root,
    const char *revision, psc_hub_refs *refs, psc_error *error) {
    char listed[512], which[600] = "", setting[400], damage[400];
    keep_usable(refs, root);
    list_revisions(listed, sizeof listed, refs);
    put_setting(setting, sizeof setting, root);
    put_damage(damage, sizeof damage, root, revision ? revision : "main");
    if (listed[0]) psc_hub_print(which, sizeof which, ", which has %s of it", listed);
    return psc_fail(error, PSC_ERROR_IO,
        "%s%s%s is not on this machine%s%s; to download it: %spythiascope pull %s%s%s",
        place->repository,
        revision    ? "@"
        : listed[0] ? " without a revision"
                    : "",
        revision ? revision : "", which, damage, setting, place->repository, revision ? "@" : "",
        revision ? revision : "");
}

/* A branch or tag by its file in refs/, then a commit by its first letters. Without a revision:
 * main, else the only snapshot if no other revision claims it. */
psc_status psc_hub_find(
    psc_model_place *place, const char *root, const char *revision, psc_error *error) {
    psc_hub_refs refs;
    const char *wanted = revision ? revision : "main";
    char commit[sizeof place->commit];
    bool found = false;
    psc_status status = psc_hub_refs_read(&refs, root, error);
    if (status) return status;
    for (int32_t i = 0; i < refs.n && !found; i++)
        found = strcmp(refs.items[i].name, wanted) == 0 &&
                take_snapshot(place, root, refs.items[i].commit) &&
                psc_hub_print(place->revision, sizeof place->revision, "%s", wanted);
    if (found) {
        put_name(place);
    } else if (revision ? strlen(revision) >= 6 && is_commit(revision) : refs.n == 0) {
        const char *begin = revision ? revision : "";
        status = only_snapshot(commit, sizeof commit, &found, root, begin, error);
        found = found && take_snapshot(place, root, commit);
        if (found) name_commit(place, &refs);
        if (found && !revision) place->revision[0] = 0; /* main, as far as this cache knows */
    }
    if (!found && !status) status = refuse_absent(place, root, revision, &refs, error);
    psc_hub_refs_close(&refs);
    return status;
}

psc_status psc_hub_find_snapshot(
    psc_model_place *place, bool *found, const char *folder, psc_error *error) {
    char root[4096];
    psc_hub_refs refs;
    *found = false;
    if (!psc_hub_print(root, sizeof root, "%s", folder)) return PSC_OK;
    char *commit = strrchr(root, '/');
    if (!commit || !is_commit(commit + 1)) return PSC_OK;
    *commit++ = 0;
    char *snapshots = strrchr(root, '/');
    if (!snapshots || strcmp(snapshots + 1, "snapshots") != 0) return PSC_OK;
    *snapshots = 0;
    if (!psc_hub_repository_of(place->repository, sizeof place->repository, root)) {
        place->repository[0] = 0;
        return PSC_OK;
    }
    psc_status status = psc_hub_refs_read(&refs, root, error);
    if (status) return status;
    psc_hub_print(place->commit, sizeof place->commit, "%s", commit);
    name_commit(place, &refs);
    psc_hub_refs_close(&refs);
    *found = true;
    return PSC_OK;
}
