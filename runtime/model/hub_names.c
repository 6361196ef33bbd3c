/* Names of models and where the Hugging Face cache has them:
 *   OWNER/NAME -> <cache>/models--OWNER--NAME */
#include "hub_cache.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_OWNER = 64, MOST_NAME = 96, MOST_REVISION = 90 };

bool psc_hub_print(char *out, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    return n >= 0 && (size_t)n < size;
}

static bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* One part of a repository's name: no "--" or "..", which the cache's folder names cannot have. */
static bool is_part(const char *text, size_t n, size_t most) {
    if (n == 0 || n > most || text[0] == '-' || text[0] == '.') return false;
    if (text[n - 1] == '-' || text[n - 1] == '.') return false;
    for (size_t i = 0; i < n; i++) {
        const bool mark = text[i] == '-' || text[i] == '.';
        if (!mark && text[i] != '_' && !is_alphanumeric(text[i])) return false;
        if (mark && text[i + 1] == text[i]) return false;
    }
    return true;
}

bool psc_hub_is_repository(const char *text, size_t n) {
    const char *slash = memchr(text, '/', n);
    if (!slash) return false;
    const size_t owner = (size_t)(slash - text);
    return is_part(text, owner, MOST_OWNER) && is_part(slash + 1, n - owner - 1, MOST_NAME);
}

bool psc_hub_is_revision(const char *text) {
    const size_t n = strlen(text);
    if (n == 0 || n > MOST_REVISION || text[0] == '/' || text[n - 1] == '/') return false;
    if (strstr(text, "..") || strstr(text, "//") || strstr(text, "/.")) return false;
    for (size_t i = 0; i < n; i++)
        if (!is_alphanumeric(text[i]) && !strchr("-_./+=#", text[i])) return false;
    return text[0] != '.' && text[0] != '-';
}

/* --- addresses of web pages ------------------------------------------------------------------- */

/* What follows the host of a URL; null if text is none. *is_hub: the host is the hub. */
static const char *after_host(bool *is_hub, const char *text) {
    size_t letters = 0;
    while (is_alphanumeric(text[letters])) letters++;
    const bool has_scheme = letters > 0 && strncmp(text + letters, "://", 3) == 0;
    const char *host = has_scheme ? text + letters + 3 : text;
    if (strncmp(host, "www.", 4) == 0) host += 4;
    const size_t n = strcspn(host, "/");
    *is_hub = (n == 14 && strncmp(host, "huggingface.co", n) == 0) ||
              (n == 5 && strncmp(host, "hf.co", n) == 0);
    if (!*is_hub && !has_scheme) return NULL;
    return host + n + (host[n] == '/');
}

psc_status psc_hub_refuse_url(const char *text, psc_error *error) {
    static const char *const folders[] = {"/tree/", "/blob/", "/resolve/", "@"};
    bool is_hub;
    const char *path = after_host(&is_hub, text), *slash = path ? strchr(path, '/') : NULL;
    if (!path) return PSC_OK;
    const size_t n = slash ? (size_t)(slash - path) + 1 + strcspn(slash + 1, "/?#@") : 0;
    if (!is_hub || !psc_hub_is_repository(path, n))
        return psc_fail(error, PSC_ERROR_INPUT,
            "%.200s is a URL; pass a folder, or a name like EleutherAI/pythia-160m", text);
    char revision[MOST_REVISION + 1] = "";
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const size_t length = strlen(folders[i]);
        if (strncmp(path + n, folders[i], length) != 0) continue;
        const char *from = path + n + length;
        const int bytes = (int)strcspn(from, "/?#");
        if (!psc_hub_print(revision, sizeof revision, "%.*s", bytes, from) ||
            !psc_hub_is_revision(revision) || strcmp(revision, "main") == 0)
            revision[0] = 0;
    }
    return psc_fail(error, PSC_ERROR_INPUT, "pass %.*s%s%s, not a URL (%.200s)", (int)n, path,
        *revision ? "@" : "", revision, text);
}

/* --- the cache's folder ----------------------------------------------------------------------- */

/* The value of a variable, with "~" as the home folder; false if it is unset, empty or too long. */
static bool variable(char *out, size_t size, const char *name, const char *rest) {
    const char *value = getenv(name), *home = getenv("HOME");
    if (!value || !*value) return false;
    if (value[0] == '~' && (value[1] == '/' || !value[1]) && home && *home)
        return psc_hub_print(out, size, "%s%s%s", home, value + 1, rest);
    return psc_hub_print(out, size, "%s%s", value, rest);
}

psc_status psc_hub_folder(char *out, size_t size, psc_error *error) {
    if (variable(out, size, "HF_HUB_CACHE", "")) return PSC_OK;
    if (variable(out, size, "HUGGINGFACE_HUB_CACHE", "")) return PSC_OK;
    if (variable(out, size, "HF_HOME", "/hub")) return PSC_OK;
    if (variable(out, size, "XDG_CACHE_HOME", "/huggingface/hub")) return PSC_OK;
    if (variable(out, size, "HOME", "/.cache/huggingface/hub")) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "there is no folder for the Hugging Face cache; set HF_HOME to one");
}

bool psc_hub_repository_of(char *out, size_t size, const char *root) {
    const char *slash = strrchr(root, '/'), *last = slash ? slash + 1 : root;
    if (strncmp(last, "models--", 8) != 0) return false;
    const char *owner = last + 8, *end = strstr(owner, "--");
    if (!end || !psc_hub_print(out, size, "%.*s/%s", (int)(end - owner), owner, end + 2))
        return false;
    return psc_hub_is_repository(out, strlen(out));
}
