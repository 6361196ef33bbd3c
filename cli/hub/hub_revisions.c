/* GET /api/models/OWNER/NAME/refs -> {"branches": [{"name": "step3000",
 * ...}, ...], "tags": [...]} */
#include "hub_listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_get.h"

enum { MOST_REVISIONS = 20000, MOST_NAME = 90 };

long long hub_step(const char *revision) {
    if (strncmp(revision, "step", 4) != 0 || !revision[4]) return -1;
    if (revision[4 + strspn(revision + 4, "0123456789")]) return -1;
    return strtoll(revision + 4, NULL, 10);
}

static bool is_step(const char *name) {
    return strlen(name) < 20 && hub_step(name) >= 0;
}

static int by_revision(const void *a, const void *b) {
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    const bool p = is_step(x), q = is_step(y);
    if (p != q) return p ? -1 : 1;
    if (!p) return strcmp(x, y);
    const long long m = hub_step(x), n = hub_step(y);
    return m < n ? -1 : m > n;
}

/* Names that could not follow '@' are passed over. */
static psc_status add_names(hub_revisions *r, const json_t *list, psc_error *error) {
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (!name || !*name || strlen(name) > MOST_NAME) continue;
        r->names[r->n] = strdup(name);
        if (!r->names[r->n])
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a list of revisions");
        r->n_steps += is_step(name);
        r->n++;
    }
    return PSC_OK;
}

psc_status hub_revisions_get(
    hub_revisions *out, const hub_settings *settings, const char *repository, psc_error *error) {
    char path[512];
    json_t *root;
    *out = (hub_revisions){NULL, 0, 0};
    snprintf(path, sizeof path, "/api/models/%s/refs", repository);
    psc_status status = hub_get_json(&root, NULL, settings, path, repository, error);
    if (status) return status;
    const json_t *branches = json_object_get(root, "branches"),
                 *tags = json_object_get(root, "tags");
    const size_t n = json_array_size(branches) + json_array_size(tags);
    if (n > MOST_REVISIONS)
        status = psc_fail(error, PSC_ERROR_IO, "%s: the hub lists more than %d revisions",
            repository, MOST_REVISIONS);
    else if (!(out->names = calloc(n + 1, sizeof *out->names)))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a list of revisions");
    if (!status) status = add_names(out, branches, error);
    if (!status) status = add_names(out, tags, error);
    json_decref(root);
    if (status)
        hub_revisions_close(out);
    else if (out->n > 0)
        qsort(out->names, (size_t)out->n, sizeof *out->names, by_revision);
    return status;
}

void hub_revisions_close(hub_revisions *revisions) {
    for (int32_t i = 0; i < revisions->n; i++) free(revisions->names[i]);
    free(revisions->names);
    *revisions = (hub_revisions){NULL, 0, 0};
}
