/* The hub answers 401 for a model that does not exist, too, so that names of private ones stay
 * secret; its header X-Error-Code tells more. */
#include "hub_say.h"

#include <stdio.h>
#include <string.h>

static bool has_code(const hub_request *r, const char *code) {
    return strcmp(r->error_code, code) == 0;
}

/* The subject without "@REVISION". */
static int repository_length(const hub_request *r) {
    return (int)strcspn(r->subject, "@ ");
}

void hub_say_refused(const hub_request *r, psc_error *error) {
    char host[256];
    const int n = repository_length(r);
    const hub_settings *s = r->settings;
    const bool at_home = hub_same_origin(r->url, s->endpoint), sent = s->token && at_home;
    hub_host_of(host, sizeof host, r->url);
    if (at_home && has_code(r, "GatedRepo"))
        psc_fail(error, PSC_ERROR_IO,
            "%.*s is gated: accept its terms at %s/%.*s, then set HF_TOKEN to a token of yours", n,
            r->subject, s->endpoint, n, r->subject);
    else if (at_home && r->status == 401 && sent && !has_code(r, "RepoNotFound"))
        psc_fail(error, PSC_ERROR_IO,
            "%s refuses the token in %.400s; make a new one at %s/settings/tokens", host,
            s->token_from, s->endpoint);
    else if (at_home && r->status == 404 && has_code(r, "EntryNotFound"))
        psc_fail(
            error, PSC_ERROR_IO, "%s has this file no longer at %s; pull again", r->subject, host);
    else if (at_home && (r->status == 401 || r->status == 403 || r->status == 404))
        psc_fail(error, PSC_ERROR_IO,
            "%s has no model %.*s, or it is private; check the name%s%.400s", host, n, r->subject,
            sent ? ", and whether its owner gave access to the token in "
                 : ", and set HF_TOKEN if it is private",
            sent ? s->token_from : "");
    else
        psc_fail(error, PSC_ERROR_IO, "%s: %s answers with HTTP status %ld; try again later",
            r->subject, host, r->status);
}

void hub_say_unavailable(const hub_request *r, CURLcode code, long asked, psc_error *error) {
    char host[256];
    const char *why = r->reason[0] ? r->reason : curl_easy_strerror(code);
    hub_host_of(host, sizeof host, r->url);
    if (asked > 0)
        psc_fail(error, PSC_ERROR_IO,
            "%s asks to wait %ld seconds (HTTP status %ld); run the command again after that", host,
            asked, r->status);
    else if (r->status == 429)
        psc_fail(error, PSC_ERROR_IO,
            "%s still limits the requests (HTTP status 429); run the command again in some minutes%s",
            host, r->settings->token ? "" : ", or set HF_TOKEN, which raises the limit");
    else if (r->status >= 400)
        psc_fail(error, PSC_ERROR_IO,
            "%s does not work at the moment (HTTP status %ld); run the command again later", host,
            r->status);
    else if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        psc_fail(error, PSC_ERROR_IO,
            "the certificate of %s cannot be verified (%.200s); behind a company's proxy, set "
            "SSL_CERT_FILE to its certificate",
            host, why);
    else if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY ||
             code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT)
        psc_fail(error, PSC_ERROR_IO,
            "cannot reach %s (%.200s); check the network, HTTPS_PROXY and HF_ENDPOINT, then run the "
            "command again",
            host, why);
    else
        psc_fail(error, PSC_ERROR_IO,
            "the connection to %s fails (%.200s); run the command again to continue", host, why);
}

void hub_size_text(char *out, size_t size, int64_t bytes) {
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes / 1000;
    int unit = 0;
    while (value >= 999.95 && unit < 4) value /= 1000, unit++;
    if (bytes < 1000)
        snprintf(out, size, "%d bytes", (int)bytes);
    else
        snprintf(out, size, "%.1f %s", value, units[unit]);
}
