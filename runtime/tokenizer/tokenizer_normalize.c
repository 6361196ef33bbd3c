/* NFC with a map back to the source. A run begins with a character that no earlier one can change
 * or join (calm), and extends to the next such character. Runs are normalized separately:
 *   decompose: character -> d_1 .. d_k, of which d_1 takes the source character, the others none
 *   reorder:   stretches of nonzero combining class, stably by class; takes travel along
 *   compose:   takes add up
 * Then output character i owns the next take_i source characters, in order. This is the alignment
 * of the Hugging Face tokenizers library, except that a composed character owns all its sources. */
#include "tokenizer_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef struct mark {
    int32_t c;
    uint32_t take; /* source characters consumed */
    uint8_t class;
} mark;

typedef struct run_scratch {
    mark *marks, *sorted;
    size_t capacity, sorted_capacity;
} run_scratch;

/* Ranges in which characters with a combining class or a canonical mapping appeared after Unicode
 * 9. The library normalizes by Unicode 9 and leaves them unchanged. A range is wide where later
 * versions filled a block. */
static const struct {
    uint32_t first, last;
} newer[] = {{0x7fd, 0x7fd}, {0x897, 0x89f}, {0x8ca, 0x8d3}, {0x9fe, 0x9fe}, {0xc3c, 0xc3c},
    {0xd3b, 0xd3c}, {0xeba, 0xeba}, {0x1715, 0x1715}, {0x1abf, 0x1aff}, {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c}, {0x105c0, 0x105ff}, {0x10d24, 0x10d27}, {0x10d40, 0x10d8f},
    {0x10eab, 0x10eac}, {0x10efa, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11380, 0x113ff}, {0x1145e, 0x1145e},
    {0x11839, 0x1183a}, {0x11900, 0x1195f}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d45}, {0x11d97, 0x11d97},
    {0x11f41, 0x11f42}, {0x16100, 0x1613f}, {0x16d40, 0x16d7f}, {0x16ff0, 0x16ff1},
    {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef}, {0x1e5d0, 0x1e5ff}, {0x1e6c0, 0x1e6ff}};

static bool is_newer(uint32_t c) {
    size_t low = 0, high = sizeof newer / sizeof newer[0];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > newer[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof newer / sizeof newer[0] && c >= newer[low].first;
}

/* NFC leaves a calm character unchanged and never joins it to an earlier one. Only marks and Hangul
 * vowels and finals can be joined to an earlier character. */
static bool is_calm(uint32_t c) {
    if (c < 0x300) return true; /* none of these has a class, and each composes back */
    if ((c >= 0x1160 && c <= 0x11ff) || is_newer(c)) return false;
    if (c >= 0xac00 && c <= 0xd7a3) return true;
    const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)c);
    if (property->category == UTF8PROC_CATEGORY_MN || property->category == UTF8PROC_CATEGORY_MC ||
        property->category == UTF8PROC_CATEGORY_ME)
        return false;
    return property->combining_class == 0 &&
           (property->decomp_seqindex == UINT16_MAX || property->decomp_type != 0);
}

/* Appends the decompositions of the run's characters and sets *n to their number. */
static psc_status decompose(
    run_scratch *scratch, size_t *n, const char *text, size_t bytes, psc_error *error) {
    *n = 0;
    for (size_t at = 0, length; at < bytes; at += length) {
        utf8proc_int32_t part[16];
        uint32_t c = psc_utf8_decode(&length, text + at);
        utf8proc_ssize_t k = 1;
        part[0] = (utf8proc_int32_t)c;
        if (!is_newer(c)) {
            int boundary = 0;
            k = utf8proc_decompose_char((utf8proc_int32_t)c, part, 16,
                (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary);
            assert(k >= 1 && k <= 16);
        }
        if (!psc_grow((void **)&scratch->marks, &scratch->capacity, *n + (size_t)k, sizeof(mark)))
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to normalize the text");
        for (utf8proc_ssize_t i = 0; i < k; i++) {
            uint32_t d = (uint32_t)part[i];
            uint8_t class = is_newer(d) ? 0 : utf8proc_get_property(part[i])->combining_class;
            scratch->marks[(*n)++] = (mark){part[i], i == 0, class};
        }
    }
    return PSC_OK;
}

/* Sorts n marks stably by class: a few by insertion, more by counting, which is linear. */
static psc_status sort_marks(run_scratch *scratch, mark *marks, size_t n, psc_error *error) {
    if (n <= 16) {
        for (size_t i = 1; i < n; i++) {
            mark m = marks[i];
            size_t j = i;
            for (; j > 0 && marks[j - 1].class > m.class; j--) marks[j] = marks[j - 1];
            marks[j] = m;
        }
        return PSC_OK;
    }
    if (!psc_grow((void **)&scratch->sorted, &scratch->sorted_capacity, n, sizeof(mark)))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to normalize the text");
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++) start[marks[i].class + 1]++;
    for (size_t i = 0; i < 256; i++) start[i + 1] += start[i];
    for (size_t i = 0; i < n; i++) scratch->sorted[start[marks[i].class]++] = marks[i];
    memcpy(marks, scratch->sorted, n * sizeof(mark));
    return PSC_OK;
}

static psc_status reorder(run_scratch *scratch, size_t n, psc_error *error) {
    for (size_t i = 0; i < n;) {
        if (scratch->marks[i].class == 0) {
            i++;
            continue;
        }
        size_t end = i;
        while (end < n && scratch->marks[end].class != 0) end++;
        psc_status status = sort_marks(scratch, scratch->marks + i, end - i, error);
        if (status) return status;
        i = end;
    }
    return PSC_OK;
}

/* The composition of a and b, or -1. */
static int32_t compose_pair(int32_t a, int32_t b) {
    if (is_newer((uint32_t)a) || is_newer((uint32_t)b)) return -1;
    if (b == 0x11a7) return -1; /* not a final, though utf8proc 2.8 joins it to a syllable */
    utf8proc_int32_t pair[3] = {a, b, 0};
    utf8proc_ssize_t n =
        utf8proc_normalize_utf32(pair, 2, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    return n == 1 && !is_newer((uint32_t)pair[0]) ? pair[0] : -1;
}

/* Composes in place; returns the new number of marks. */
static size_t compose(mark *marks, size_t n) {
    size_t out = 0, starter = SIZE_MAX;
    int last = -1; /* the class of the mark kept after the starter; -1: none yet */
    for (size_t i = 0; i < n; i++) {
        mark m = marks[i];
        if (starter != SIZE_MAX && last < (int)m.class) {
            int32_t joined = compose_pair(marks[starter].c, m.c);
            if (joined >= 0) {
                marks[starter].c = joined;
                marks[starter].take += m.take;
                continue;
            }
        }
        if (m.class == 0) {
            starter = out;
            last = -1;
        } else {
            last = m.class;
        }
        marks[out++] = m;
    }
    return out;
}

static psc_status add_point(psc_normal_text *out, size_t text, size_t source, psc_error *error) {
    if (out->n_points && out->points[out->n_points - 1].text == text) {
        out->points[out->n_points - 1].source = (uint32_t)source;
        return PSC_OK;
    }
    if (!psc_grow(
            (void **)&out->points, &out->points_capacity, out->n_points + 1, sizeof(psc_map_point)))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to normalize the text");
    out->points[out->n_points++] = (psc_map_point){(uint32_t)text, (uint32_t)source};
    return PSC_OK;
}

static psc_status append(psc_normal_text *out, const char *text, size_t n, psc_error *error) {
    if (n == 0) return PSC_OK;
    if (!psc_grow((void **)&out->text, &out->capacity, out->bytes + n, 1))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to normalize the text");
    memcpy(out->text + out->bytes, text, n);
    out->bytes += n;
    return PSC_OK;
}

/* Moves *at (a source offset) over k characters. */
static void skip_characters(size_t *at, const char *text, size_t k) {
    for (size_t length; k > 0; k--) {
        psc_utf8_decode(&length, text + *at);
        *at += length;
    }
}

/* Appends the marks that k characters at *at of the source became, and a point. */
static psc_status emit_atom(psc_normal_text *out, const mark *marks, size_t n, const char *source,
    size_t *at, size_t k, psc_error *error) {
    for (size_t i = 0; i < n; i++) {
        utf8proc_uint8_t buffer[4];
        utf8proc_ssize_t length = utf8proc_encode_char(marks[i].c, buffer);
        psc_status status = append(out, (const char *)buffer, (size_t)length, error);
        if (status) return status;
    }
    skip_characters(at, source, k);
    return add_point(out, out->bytes, *at, error);
}

/* Appends the normalized run. A character that takes no source shares the last source character of
 * the previous one. */
static psc_status emit(psc_normal_text *out, const mark *marks, size_t n, const char *source,
    size_t at, psc_error *error) {
    psc_status status = add_point(out, out->bytes, at, error);
    for (size_t i = 0, end; i < n && !status; i = end) {
        size_t take = marks[i].take, first = i;
        for (end = i + 1; end < n && marks[end].take == 0;) end++;
        if (end > i + 1 && take > 1) {
            status = emit_atom(out, marks + i, 1, source, &at, take - 1, error);
            first++;
            take = 1;
        }
        if (!status) status = emit_atom(out, marks + first, end - first, source, &at, take, error);
    }
    return status;
}

static bool is_same(const mark *marks, size_t n, const char *text, size_t bytes) {
    size_t at = 0, i = 0;
    for (size_t length; i < n && at < bytes; i++, at += length)
        if (psc_utf8_decode(&length, text + at) != (uint32_t)marks[i].c) return false;
    return i == n && at == bytes;
}

/* The end of the run that starts at byte `at`, and whether all its characters are calm. */
static size_t run_end(const char *text, size_t bytes, size_t at, bool *is_all_calm) {
    size_t length;
    *is_all_calm = is_calm(psc_utf8_decode(&length, text + at));
    for (at += length; at < bytes; at += length) {
        if ((unsigned char)text[at] < 0x80 || is_calm(psc_utf8_decode(&length, text + at)))
            return at;
        *is_all_calm = false;
    }
    return at;
}

static psc_status normalize(psc_normal_text *out, run_scratch *scratch, bool *changed,
    const char *text, size_t bytes, psc_error *error) {
    size_t copied = 0; /* out has the source up to here */
    psc_status status = PSC_OK;
    for (size_t at = 0, end; at < bytes && !status; at = end) {
        bool is_all_calm;
        end = run_end(text, bytes, at, &is_all_calm);
        if (is_all_calm) continue;
        size_t n;
        status = decompose(scratch, &n, text + at, end - at, error);
        if (!status) status = reorder(scratch, n, error);
        if (status) break;
        n = compose(scratch->marks, n);
        if (is_same(scratch->marks, n, text + at, end - at)) continue;
        if (!*changed) status = add_point(out, 0, 0, error);
        *changed = true;
        if (!status) status = append(out, text + copied, at - copied, error);
        if (!status) status = emit(out, scratch->marks, n, text, at, error);
        copied = end;
    }
    if (*changed && !status) status = append(out, text + copied, bytes - copied, error);
    if (*changed && !status) status = add_point(out, out->bytes, bytes, error);
    return status;
}

psc_status psc_tk_nfc(
    psc_normal_text *out, bool *changed, const char *text, size_t bytes, psc_error *error) {
    run_scratch scratch = {0};
    out->bytes = out->n_points = 0;
    *changed = false;
    psc_status status = normalize(out, &scratch, changed, text, bytes, error);
    free(scratch.marks);
    free(scratch.sorted);
    return status;
}

uint32_t psc_tk_map(const psc_normal_text *text, size_t at) {
    if (text->n_points == 0) return (uint32_t)at;
    size_t low = 0, high = text->n_points - 1; /* points[low].text <= at <= points[high].text */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (text->points[middle].text <= at)
            low = middle;
        else
            high = middle;
    }
    psc_map_point a = text->points[low], b = text->points[high];
    uint64_t k = at - a.text, n = b.text - a.text, source_bytes = b.source - a.source;
    if (k >= n) return b.source;
    uint64_t to = k * source_bytes / n;
    /* A token with part of the character has a range in it: no inner byte maps to an end. */
    if (k > 0 && to == 0 && source_bytes > 1) to = 1;
    return a.source + (uint32_t)to;
}

void psc_tk_free_text(psc_normal_text *text) {
    free(text->text);
    free(text->points);
    *text = (psc_normal_text){0};
}
