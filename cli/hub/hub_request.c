/* Redirects are followed here, not by libcurl: it would send the token, a header of our
 * own, to every host of the chain. A request is built anew for each URL, and only the
 * endpoint's own gets it. */
#include "hub_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hub_say.h"

enum {
    MOST_REDIRECTS = 8,
    MOST_ATTEMPTS = 6, /* without any progress between them: about 15 seconds of pauses */
    FIRST_PAUSE = 500,
    MOST_PAUSE = 120, /* seconds that a server may ask for */
    CONNECT_SECONDS = 15,
    SLOWEST = 64 /* bytes per second */
};

volatile sig_atomic_t hub_interrupted;

/* --- making ---------------------------------------------------------------------------------- */

bool hub_escape(char *out, size_t size, const char *text) {
    size_t n = strlen(out);
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') || strchr("-._~", c);
        if (n + 4 > size) return false;
        n += (size_t)snprintf(out + n, size - n, plain ? "%c" : "%%%02X", c);
    }
    return true;
}

static int on_transfer(
    void *payload, curl_off_t down, curl_off_t done, curl_off_t up, curl_off_t sent) {
    (void)payload, (void)down, (void)done, (void)up, (void)sent;
    return hub_interrupted;
}

/* The value of the header `name` in line [n], copied to out; false for another header. */
static bool take_header(char *out, size_t size, const char *line, size_t n, const char *name) {
    const size_t m = strlen(name);
    if (n <= m || strncasecmp(line, name, m) != 0 || line[m] != ':') return false;
    line += m + 1;
    n -= m + 1;
    while (n > 0 && (*line == ' ' || *line == '\t')) line++, n--;
    while (n > 0 && (unsigned char)line[n - 1] <= ' ') n--;
    snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), line);
    return true;
}

static size_t on_header(char *line, size_t one, size_t n, void *payload) {
    hub_request *r = payload;
    char value[128];
    (void)one;
    if (n > 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* an answer begins, perhaps after a 100 */
        r->error_code[0] = 0;
        r->range_first = r->range_total = -1;
    }
    take_header(r->error_code, sizeof r->error_code, line, n, "X-Error-Code");
    if (take_header(value, sizeof value, line, n, "Content-Range")) {
        long long first, last, total;
        // NOLINTNEXTLINE(cert-err34-c): the widths keep the numbers in range
        if (sscanf(value, "bytes %18lld-%18lld/%18lld", &first, &last, &total) == 3) {
            r->range_first = first;
            r->range_total = total;
        }
    }
    return n;
}

psc_status hub_request_open(hub_request *out, const hub_settings *settings, const char *path,
    const char *subject, psc_error *error) {
    *out = (hub_request){.settings = settings, .subject = subject};
    const int n = snprintf(out->start, sizeof out->start, "%s%s", settings->endpoint, path);
    if (n < 0 || (size_t)n >= sizeof out->start)
        return psc_fail(error, PSC_ERROR_INPUT, "the URL of %s is too long", subject);
    memcpy(out->url, out->start, (size_t)n + 1);
    out->curl = curl_easy_init();
    return out->curl ? PSC_OK
                     : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a connection");
}

void hub_request_close(hub_request *request) {
    curl_easy_cleanup(request->curl);
    curl_slist_free_all(request->headers);
    request->curl = NULL;
    request->headers = NULL;
}

/* --- sending --------------------------------------------------------------------------------- */

/* Adds "name: value"; false without memory. */
static bool add_header(hub_request *r, const char *text) {
    struct curl_slist *longer = curl_slist_append(r->headers, text);
    if (longer) r->headers = longer;
    return longer != NULL;
}

static bool add_token(hub_request *r) {
    const char *token = r->settings->token;
    if (!token || !hub_same_origin(r->url, r->settings->endpoint) || !hub_is_private(r->url))
        return true;
    const size_t size = strlen(token) + sizeof "Authorization: Bearer ";
    char *text = malloc(size);
    if (!text) return false;
    snprintf(text, size, "Authorization: Bearer %s", token);
    const bool added = add_header(r, text);
    memset(text, 0, size);
    free(text);
    return added;
}

static CURLcode set_protocols(CURL *curl) {
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

/* Sets the options whose texts libcurl copies; false without memory. */
static bool set_texts(hub_request *r) {
    CURL *curl = r->curl;
    char range[64];
    const bool plain = strncasecmp(r->url, "http:", 5) == 0;
    const char *certificates = r->settings->certificates;
    snprintf(range, sizeof range, "%lld-", (long long)r->from);
    CURLcode code = set_protocols(curl);
    if (code != CURLE_OUT_OF_MEMORY) code = CURLE_OK; /* a libcurl without https says so itself */
    if (!code) code = curl_easy_setopt(curl, CURLOPT_URL, r->url);
    if (!code) code = curl_easy_setopt(curl, CURLOPT_USERAGENT, "pythiascope");
    if (!code && plain && hub_is_private(r->url)) /* to this machine itself */
        code = curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (!code && certificates[0]) code = curl_easy_setopt(curl, CURLOPT_CAINFO, certificates);
    if (!code && r->from > 0) code = curl_easy_setopt(curl, CURLOPT_RANGE, range);
    return code == CURLE_OK;
}

psc_status hub_request_prepare(hub_request *r, int64_t from, psc_error *error) {
    CURL *curl = r->curl;
    curl_easy_reset(curl);
    curl_slist_free_all(r->headers);
    r->headers = NULL;
    r->reason[0] = r->error_code[0] = 0;
    r->range_first = r->range_total = -1;
    r->status = 0;
    r->from = from;
    if (!add_token(r) || !add_header(r, "Accept-Encoding: identity") || !set_texts(r))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a request");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, r->settings->patience);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, r->reason);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_transfer);
    return PSC_OK;
}

bool hub_request_succeeds(hub_request *r) {
    if (r->status == 0) curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &r->status);
    return r->status == 200 || r->status == 206;
}

/* --- judging --------------------------------------------------------------------------------- */

/* Sets the URL that a redirect names. */
static hub_verdict follow(long *pause, hub_request *r, psc_error *error) {
    char *next = NULL, host[256];
    *pause = 0;
    hub_host_of(host, sizeof host, r->url);
    curl_easy_getinfo(r->curl, CURLINFO_REDIRECT_URL, &next);
    if (!next || strlen(next) >= sizeof r->url)
        psc_fail(error, PSC_ERROR_IO, "%s: %s redirects to nowhere", r->subject, host);
    else if (++r->redirects > MOST_REDIRECTS)
        psc_fail(error, PSC_ERROR_IO, "%s: %s redirects in a circle", r->subject, host);
    else if (!hub_may_follow(r->url, next))
        psc_fail(error, PSC_ERROR_IO,
            "%s: %s redirects to an address that is not https; pull does not follow it", r->subject,
            host);
    else {
        memcpy(r->url, next, strlen(next) + 1);
        return HUB_AGAIN;
    }
    return HUB_FAILED;
}

/* Another attempt, from the first URL: an address of a redirect may have expired. */
static hub_verdict retry(long *pause, hub_request *r, CURLcode code, psc_error *error) {
    curl_off_t asked = 0;
    curl_easy_getinfo(r->curl, CURLINFO_RETRY_AFTER, &asked);
    r->attempts++;
    if (asked > MOST_PAUSE || r->attempts >= MOST_ATTEMPTS) {
        hub_say_unavailable(r, code, asked > MOST_PAUSE ? (long)asked : 0, error);
        return HUB_FAILED;
    }
    *pause = asked > 0 ? (long)asked * 1000 : (long)FIRST_PAUSE << (r->attempts - 1);
    r->redirects = 0;
    memcpy(r->url, r->start, strlen(r->start) + 1);
    return HUB_AGAIN;
}

static bool is_hopeless(CURLcode code) {
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_OUT_OF_MEMORY:
        return true;
    default:
        return false;
    }
}

static bool is_no_network(CURLcode code) {
    return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY ||
           code == CURLE_COULDNT_CONNECT;
}

hub_verdict hub_request_judge(
    long *pause, hub_request *r, CURLcode code, bool first, psc_error *error) {
    *pause = 0;
    if (hub_interrupted) {
        psc_fail(error, PSC_ERROR_CANCELLED, "interrupted");
        return HUB_FAILED;
    }
    hub_request_succeeds(r);
    if (r->status == 429 || r->status == 408 || r->status >= 500)
        return retry(pause, r, code, error);
    if (r->status >= 300 && r->status < 400 && r->status != 304) return follow(pause, r, error);
    if (r->status >= 300) {
        hub_say_refused(r, error);
        return HUB_FAILED;
    }
    if (code == CURLE_OK && r->status >= 200) return HUB_DONE;
    if (is_hopeless(code) || (first && is_no_network(code))) {
        hub_say_unavailable(r, code, 0, error);
        return HUB_FAILED;
    }
    return retry(pause, r, code, error);
}
