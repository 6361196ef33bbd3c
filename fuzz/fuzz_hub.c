/* Answers of the hub: the list of a revision's files, or with a first byte R the list of revisions.
 * The harness answers in the network's place; a name that is chosen must stay in its folder. */
#include "fuzz.h"
#include "hub_get.h"
#include "hub_listing.h"

#include <string.h>

static fuzz_bytes answer;

psc_status hub_get_json(json_t **out, bool *no_revision, const hub_settings *settings,
    const char *path, const char *subject, psc_error *error) {
    (void)settings, (void)path;
    if (no_revision) *no_revision = answer.size == 0;
    *out = answer.size > 0 ? json_loadb((const char *)answer.data, answer.size, 0, NULL) : NULL;
    if (*out) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "%s: no answer", subject);
}

static void check_listing(const hub_listing *listing) {
    for (int32_t i = 0; i < listing->n; i++) {
        const hub_file *file = &listing->files[i];
        fuzz_expect(!strchr(file->name, '/') && file->name[0] && strcmp(file->name, "..") != 0,
            "a name that leads elsewhere");
        fuzz_expect(strspn(file->hash, "0123456789abcdef") == (file->is_large ? 64u : 40u) &&
                        file->size >= 0,
            "a file without hash or size");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hub_settings settings = {.endpoint = "https://example.org", .host = "example.org"};
    hub_listing listing;
    hub_revisions revisions;
    psc_error error = {0};
    psc_status status;
    answer = (fuzz_bytes){data, size};
    memset(&listing, 0, sizeof listing);
    memset(&revisions, 0, sizeof revisions);
    if (size > 0 && data[0] == 'R') {
        fuzz_byte(&answer);
        status = hub_revisions_get(&revisions, &settings, "owner/name", &error);
        fuzz_check(status, &error);
        hub_revisions_close(&revisions);
        return 0;
    }
    status = hub_listing_get(&listing, &settings, "owner/name", "main", &error);
    fuzz_check(status, &error);
    if (!status) check_listing(&listing);
    hub_listing_close(&listing);
    return 0;
}
