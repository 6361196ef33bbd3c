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
