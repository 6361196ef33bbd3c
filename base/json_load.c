/* A JSON text as jansson's values. Texts, sentences and limits are those of json_loadb of jansson
 * 2.14, but a request for memory that fails is never taken for a fault of the text, and no byte is
 * lost. Open arrays and objects stand in a list, so the stack does not grow with their depth. */
#include "json.h"
#include "json_scan.h"

#include <string.h>

enum { MOST_DEPTH = 2048 };

typedef struct loader {
    psc_json_scan scan;
    char *key; /* [room] */
    size_t room;
    json_t *open[MOST_DEPTH]; /* each but the first belongs to the one before it */
    int n;
    bool fresh; /* the innermost has nothing yet */
} loader;

static bool fault(loader *l, enum json_error_code code, const char *what) {
    psc_json_scan_fault(&l->scan, code, "%s", what);
    return false;
}

static bool wants(loader *l, const char *what) {
    return fault(l, json_error_invalid_syntax, what);
}

static json_t *string_of(loader *l) {
    const psc_json_scan *scan = &l->scan;
    if (!(scan->flags & JSON_ALLOW_NUL) && memchr(scan->bytes, 0, scan->length)) {
        fault(l, json_error_null_character, "\\u0000 is not allowed without JSON_ALLOW_NUL");
        return NULL;
    }
    return json_stringn_nocheck(scan->bytes, scan->length);
}

/* The value that the token is or opens; null after noting why. */
static json_t *value_of(loader *l) {
    json_t *value = NULL;
    if (l->n == MOST_DEPTH) {
        fault(l, json_error_stack_overflow, "maximum parsing depth reached");
        return NULL;
    }
    switch (l->scan.token) {
    case '{':
        value = json_object();
        break;
    case '[':
        value = json_array();
        break;
    case JSON_SCAN_STRING:
        value = string_of(l);
        break;
    case JSON_SCAN_INTEGER:
        value = json_integer(l->scan.integer);
        break;
    case JSON_SCAN_REAL:
        value = json_real(l->scan.real);
        break;
    case JSON_SCAN_TRUE:
        value = json_true();
        break;
    case JSON_SCAN_FALSE:
        value = json_false();
        break;
    case JSON_SCAN_NULL:
        value = json_null();
        break;
    case JSON_SCAN_INVALID:
        wants(l, "invalid token");
        return NULL;
    default:
        wants(l, "unexpected token");
        return NULL;
    }
    if (!value && !l->scan.why->text[0]) l->scan.no_memory = true;
    return value;
}

/* Reads a member's key, whose memory becomes l->key, and the first token of its value. */
static bool take_key(loader *l, const json_t *object) {
    psc_json_scan *scan = &l->scan;
    if (scan->token != JSON_SCAN_STRING) return wants(l, "string or '}' expected");
    if (memchr(scan->bytes, 0, scan->length))
        return fault(l, json_error_null_byte_in_key, "NUL byte in object key not supported");
    if ((scan->flags & JSON_REJECT_DUPLICATES) && json_object_get(object, scan->bytes))
        return fault(l, json_error_duplicate_key, "duplicate object key");
    char *key = scan->bytes;
    const size_t room = scan->room;
    scan->bytes = l->key;
    scan->room = l->room;
    l->key = key;
    l->room = room;
    psc_json_scan_next(scan);
    if (scan->token != ':') return wants(l, "':' expected");
    psc_json_scan_next(scan);
    return true;
}

/* Reads one value or the end of the innermost array or object. */
static bool step(loader *l) {
    json_t *inner = l->open[l->n - 1];
    const bool is_object = json_is_object(inner), first = l->fresh;
    psc_json_scan *scan = &l->scan;
    psc_json_scan_next(scan);
    l->fresh = false;
    if (scan->token == (is_object ? '}' : ']')) {
        l->n--;
        return true;
    }
    if (!first) {
        if (scan->token != ',') return wants(l, is_object ? "'}' expected" : "']' expected");
        psc_json_scan_next(scan);
    }
    if (!is_object && scan->token == JSON_SCAN_END) return wants(l, "']' expected");
    if (is_object && !take_key(l, inner)) return false;
    const bool opens = scan->token == '{' || scan->token == '[';
    json_t *value = value_of(l);
    if (!value) return false;
    if (is_object ? json_object_set_new_nocheck(inner, l->key, value)
                  : json_array_append_new(inner, value)) {
        scan->no_memory = true;
        return false;
    }
    if (opens) {
        l->open[l->n++] = value;
        l->fresh = true;
    }
    return true;
}

static json_t *load(loader *l) {
    psc_json_scan *scan = &l->scan;
    psc_json_scan_next(scan);
    bool whole = scan->token == '[' || scan->token == '{';
    if (!whole) wants(l, "'[' or '{' expected");
    json_t *root = whole ? value_of(l) : NULL;
    if (!root) return NULL;
    l->open[l->n++] = root;
    l->fresh = true;
    while (whole && l->n > 0) whole = step(l);
    if (whole) psc_json_scan_next(scan);
    if (whole && scan->token == JSON_SCAN_END) return root;
    if (whole) fault(l, json_error_end_of_input_expected, "end of file expected");
    json_decref(root);
    return NULL;
}

json_t *psc_json_load(const char *text, size_t n, size_t flags, json_error_t *why) {
    json_error_t own;
    loader l = {.n = 0};
    psc_json_scan_begin(&l.scan, text, n, flags, why ? why : &own);
    json_t *root = load(&l);
    if (root) l.scan.why->position = (int)l.scan.at;
    if (l.scan.no_memory) {
        l.scan.why->text[0] = 0;
        l.scan.why->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory;
    }
    free(l.key);
    psc_json_scan_free(&l.scan);
    return root;
}
