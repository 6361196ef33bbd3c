/* The variables of the environment that huggingface_hub knows, with the same meaning here. */
#include "hub_settings.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "input.h"

#define DEFAULT_ENDPOINT "https://huggingface.co"
enum { TOKEN_CAP = 4096, PATIENCE = 30, MOST_PATIENCE = 3600 };

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_true(const char *name) {
    const char *value = variable(name);
    return value && (strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0 ||
                        strcasecmp(value, "yes") == 0 || strcasecmp(value, "on") == 0);
}

/* --- URLs ------------------------------------------------------------------------------------ */

/* The parts of a URL that make its origin; the port is the scheme's own where none is given. */
typedef struct origin {
    char *scheme, *host, *port;
} origin;

static bool read_origin(origin *out, const char *url) {
    CURLU *parsed = curl_url();
    *out = (origin){NULL, NULL, NULL};
    const bool good =
        parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_SCHEME, &out->scheme, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &out->host, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_PORT, &out->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    curl_url_cleanup(parsed);
    return good;
}

static void close_origin(origin *o) {
    curl_free(o->scheme);
    curl_free(o->host);
    curl_free(o->port);
}

bool hub_same_origin(const char *a, const char *b) {
    origin x, y;
    bool same = read_origin(&x, a);
    same = read_origin(&y, b) && same;
    same = same && strcasecmp(x.scheme, y.scheme) == 0 && strcasecmp(x.host, y.host) == 0 &&
           strcmp(x.port, y.port) == 0;
    close_origin(&x);
    close_origin(&y);
    return same;
}

bool hub_is_private(const char *url) {
    origin o;
    bool is_private = false;
    if (read_origin(&o, url))
        is_private = strcasecmp(o.scheme, "https") == 0 ||
                     (strcasecmp(o.scheme, "http") == 0 &&
                         (strcasecmp(o.host, "localhost") == 0 || strcmp(o.host, "[::1]") == 0 ||
                             (strncmp(o.host, "127.", 4) == 0 &&
                                 strspn(o.host, "0123456789.") == strlen(o.host))));
    close_origin(&o);
    return is_private;
}

bool hub_may_follow(const char *from, const char *to) {
    origin x, y;
    bool may = read_origin(&x, from);
    may = read_origin(&y, to) && may;
    may = may && (strcasecmp(y.scheme, "https") == 0 ||
                     (strcasecmp(y.scheme, "http") == 0 && strcasecmp(x.scheme, "http") == 0));
    close_origin(&x);
    close_origin(&y);
    return may;
}

void hub_host_of(char *out, size_t size, const char *url) {
    origin o;
    snprintf(out, size, "%.200s", read_origin(&o, url) ? o.host : "the hub");
    close_origin(&o);
}

static bool has_part(CURLU *url, CURLUPart part, bool *no_memory) {
    char *text = NULL;
    const CURLUcode code = curl_url_get(url, part, &text, 0);
    const bool has = code == CURLUE_OK && text && *text;
    *no_memory = *no_memory || code == CURLUE_OUT_OF_MEMORY;
    curl_free(text);
    return has;
}

static psc_status read_endpoint(hub_settings *out, psc_error *error) {
    const char *value = variable("HF_ENDPOINT");
    size_t n = value ? strlen(value) : 0;
    if (!value) value = DEFAULT_ENDPOINT, n = strlen(value);
    while (n > 0 && value[n - 1] == '/') n--;
    CURLU *url = curl_url();
    if (!url) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a URL");
    bool good = n < sizeof out->endpoint, no_memory = false;
    if (good) {
        memcpy(out->endpoint, value, n);
        out->endpoint[n] = 0;
        const CURLUcode code = curl_url_set(url, CURLUPART_URL, out->endpoint, 0);
        no_memory = code == CURLUE_OUT_OF_MEMORY;
        good = (strncasecmp(value, "https://", 8) == 0 || strncasecmp(value, "http://", 7) == 0) &&
               code == CURLUE_OK && has_part(url, CURLUPART_HOST, &no_memory) &&
               !has_part(url, CURLUPART_USER, &no_memory) &&
               !has_part(url, CURLUPART_PASSWORD, &no_memory) &&
               !has_part(url, CURLUPART_QUERY, &no_memory) &&
               !has_part(url, CURLUPART_FRAGMENT, &no_memory);
    }
    curl_url_cleanup(url);
    if (no_memory) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a URL");
    if (!good) /* the value is not shown: it may hold a password */
        return psc_fail(error, PSC_ERROR_INPUT,
            "HF_ENDPOINT is not a URL like " DEFAULT_ENDPOINT "; correct it or unset it");
    hub_host_of(out->host, sizeof out->host, out->endpoint);
    return PSC_OK;
}

/* --- the token ------------------------------------------------------------------------------- */

/* A file name with "~" as the home folder; "" if it is too long. */
static void expand(char *out, size_t size, const char *path, const char *rest) {
    const char *home = variable("HOME");
    const bool tilde = path[0] == '~' && (path[1] == '/' || !path[1]) && home;
    const int n = snprintf(out, size, "%s%s%s", tilde ? home : "", path + (tilde ? 1 : 0), rest);
    if (n < 0 || (size_t)n >= size) out[0] = 0;
}

/* Where the program hf keeps the token. */
static void token_file(char *out, size_t size) {
    if (variable("HF_TOKEN_PATH"))
        expand(out, size, variable("HF_TOKEN_PATH"), "");
    else if (variable("HF_HOME"))
        expand(out, size, variable("HF_HOME"), "/token");
    else if (variable("XDG_CACHE_HOME"))
        expand(out, size, variable("XDG_CACHE_HOME"), "/huggingface/token");
    else
        expand(out, size, "~/.cache/huggingface/token", "");
}

/* The token without the white space around it; a header must not end inside it. */
static psc_status keep_token(hub_settings *out, const char *text, psc_error *error) {
    static const char space[] = " \t\r\n";
    text += strspn(text, space);
    size_t n = strlen(text);
    while (n > 0 && strchr(space, text[n - 1])) n--;
    if (n == 0) {
        out->token_from[0] = 0;
        return PSC_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (text[i] <= 32 || text[i] == 127)
            return psc_fail(error, PSC_ERROR_INPUT,
                "the token in %.400s has a character that no token has; write it again",
                out->token_from);
    out->token = strndup(text, n);
    return out->token ? PSC_OK
                      : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the token");
}

static psc_status read_token(hub_settings *out, psc_error *error) {
    static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    char text[TOKEN_CAP + 1];
    if (is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return PSC_OK;
    for (int i = 0; i < 2; i++) {
        if (!variable(names[i])) continue;
        snprintf(out->token_from, sizeof out->token_from, "%s", names[i]);
        return keep_token(out, variable(names[i]), error);
    }
    token_file(out->token_from, sizeof out->token_from);
    FILE *file;
    (void)cli_input_once(&file, out->token_from, out->token_from, NULL); /* there may be none */
    const size_t n = file ? fread(text, 1, TOKEN_CAP, file) : 0;
    if (file) fclose(file);
    text[n] = 0;
    const psc_status status = keep_token(out, text, error);
    memset(text, 0, sizeof text);
    return status;
}

/* --- all ------------------------------------------------------------------------------------- */

psc_status hub_settings_read(hub_settings *out, psc_error *error) {
    static const char *const bundles[] = {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"};
    *out = (hub_settings){.patience = PATIENCE};
    out->offline = is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
    if (variable("HF_HUB_DOWNLOAD_TIMEOUT")) {
        const long seconds = strtol(variable("HF_HUB_DOWNLOAD_TIMEOUT"), NULL, 10);
        if (seconds > 0 && seconds <= MOST_PATIENCE) out->patience = seconds;
    }
    for (int i = 0; i < 3 && !out->certificates[0]; i++)
        if (variable(bundles[i]))
            expand(out->certificates, sizeof out->certificates, variable(bundles[i]), "");
    psc_status status = read_endpoint(out, error);
    if (!status) status = read_token(out, error);
    if (status) hub_settings_close(out);
    return status;
}

void hub_settings_close(hub_settings *settings) {
    if (settings->token) memset(settings->token, 0, strlen(settings->token));
    free(settings->token);
    settings->token = NULL;
}
