/* Axes. A run is a prefix with consecutive numbers: ["L0N", 0, 2048] for L0N0 to L0N2047. */
#include "page_axis.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { RUN_BYTES = 40, MOST_RESERVED = 40000 };

/* --- numbers --------------------------------------------------------------------------------- */

static bool is_consecutive(const int32_t *numbers, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        if ((int64_t)numbers[i] != (int64_t)numbers[0] + i) return false;
    return n > 0;
}

static void put_numbers(psc_page_writer *w, const int32_t *numbers, int64_t n) {
    if (is_consecutive(numbers, n)) {
        psc_json_object(&w->json, "numbers");
        psc_json_member(&w->json, "from", json_integer(numbers[0]));
        psc_json_end(&w->json);
        return;
    }
    psc_json_list(&w->json, "numbers", n);
    for (int64_t i = 0; i < n; i++) {
        if (!psc_page_afford(w, 12)) {
            w->cut += n - i - 1;
            break;
        }
        psc_json_listed(&w->json, json_integer(numbers[i]));
    }
    psc_json_list_end(&w->json);
}

/* --- runs of labels -------------------------------------------------------------------------- */

/* The bytes before the number that a label ends in; its length if there is no number that a viewer
 * would write in the same way. */
static size_t prefix_of(const char *label, long *number) {
    const size_t n = strlen(label);
    size_t at = n;
    while (at > 0 && isdigit((unsigned char)label[at - 1])) at--;
    if (at == n || n - at > 9 || (label[at] == '0' && n - at > 1)) return n;
    *number = strtol(label + at, NULL, 10);
    return at;
}

typedef struct run {
    size_t prefix; /* bytes; 0 and a count of 1: a label as it is */
    long from;
    int64_t count;
} run;

/* The run that begins at label i. */
static run run_at(const char *const *labels, int64_t i, int64_t n) {
    run r = {.count = 1};
    r.prefix = prefix_of(labels[i], &r.from);
    if (!labels[i][r.prefix]) return (run){.count = 1};
    for (; i + r.count < n; r.count++) {
        const char *label = labels[i + r.count];
        long number = 0;
        const size_t prefix = prefix_of(label, &number);
        if (!label[prefix] || prefix != r.prefix || number != r.from + r.count ||
            memcmp(label, labels[i], prefix) != 0)
            break;
    }
    return r;
}

static int64_t size_of_runs(const psc_result_axis *axis) {
    int64_t size = 0;
    for (int64_t i = 0; i < axis->n;) {
        const run r = run_at(axis->labels, i, axis->n);
        const char *label = axis->labels[i];
        size += psc_page_text_size(label, r.count > 1 ? r.prefix : strlen(label)) + RUN_BYTES;
        i += r.count;
    }
    return size;
}

static void put_runs(psc_page_writer *w, const psc_result_axis *axis) {
    psc_json_list(&w->json, "runs", axis->n);
    for (int64_t i = 0; i < axis->n;) {
        const run r = run_at(axis->labels, i, axis->n);
        const char *label = axis->labels[i];
        json_t *text = psc_page_text(w, label, r.count > 1 ? r.prefix : strlen(label));
        if (r.count > 1)
            text = json_pack("[o, I, I]", text, (json_int_t)r.from, (json_int_t)r.count);
        psc_json_listed(&w->json, text);
        w->room -= RUN_BYTES;
        i += r.count;
    }
    psc_json_list_end(&w->json);
}

/* --- labels ---------------------------------------------------------------------------------- */

static int64_t size_of_labels(const psc_result_axis *axis) {
    int64_t size = 0;
    for (int64_t i = 0; i < axis->n; i++)
        size += psc_page_text_size(axis->labels[i], strlen(axis->labels[i])) + 1;
    return size;
}

/* {"17": "L0H3"}: the labels that arrays use, as far as they fit into `room`. */
static void put_used(psc_page_writer *w, const psc_page_axis_use *use, int64_t room) {
    const int64_t before = w->room;
    w->room = room;
    psc_json_object(&w->json, "labels");
    for (int64_t i = 0; i < use->axis.n; i++) {
        char key[24];
        snprintf(key, sizeof key, "%lld", (long long)i);
        if (use->used[i] && w->room > RUN_BYTES) psc_page_put_text(w, key, use->axis.labels[i]);
    }
    psc_json_end(&w->json);
    w->room = before;
}

static int64_t put_labels(psc_page_writer *w, const psc_page_axis_use *use) {
    const psc_result_axis *axis = &use->axis;
    const int64_t whole = size_of_labels(axis);
    if (use->used) {
        const int64_t runs = size_of_runs(axis);
        if (runs < whole / 2 && runs <= w->room) {
            put_runs(w, axis);
            return 0;
        }
        if (whole > w->room) {
            const int64_t reserved = w->room < MOST_RESERVED ? w->room : MOST_RESERVED;
            w->room -= reserved;
            w->cut++;
            put_used(w, use, reserved);
            return reserved;
        }
    }
    psc_page_put_texts(w, "labels", axis->labels, axis->n);
    return 0;
}

int64_t psc_page_put_axis(psc_page_writer *w, const psc_page_axis_use *use) {
    const psc_result_axis *axis = &use->axis;
    int64_t reserved = 0;
    if (!psc_page_afford(w, psc_page_text_size(axis->name, strlen(axis->name)) + 60)) return 0;
    psc_json_object(&w->json, axis->name);
    psc_json_member(&w->json, "n", json_integer(axis->n));
    if (axis->numbers)
        put_numbers(w, axis->numbers, axis->n);
    else
        reserved = put_labels(w, use);
    psc_json_end(&w->json);
    return reserved;
}
