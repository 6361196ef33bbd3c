/* A zip archive, read from its end:
 *
 *   local header, data | ... | directory: a header per entry | zip64 end, its locator | end
 *
 *   end (22 bytes, then a comment)    PK\5\6 .. entries u16 at 10, size u32 at 12, offset u32 at 16
 *   locator (20 bytes before it)      PK\6\7 .. offset of the zip64 end u64 at 8
 *   zip64 end (56 bytes)              PK\6\6 .. entries u64 at 32, size u64 at 40, offset u64 at 48
 *   directory header (46 bytes)       PK\1\2 .. flags 8, method 10, packed 20, size 24, name 28,
 *                                     extra 30, comment 32, disk 34, offset 42; name, extra,
 *                                     comment
 *   local header (30 bytes)           PK\3\4 .. name 26, extra 28; name, extra, data
 *   extra field 1 (zip64)             size, packed, offset u64: those that are 0xffffffff above */
#include "zip_file.h"

#include <stdlib.h>
#include <string.h>

#define END_BYTES 22
#define LOCATOR_BYTES 20
#define END64_BYTES 56
#define HEADER_BYTES 46
#define LOCAL_BYTES 30

typedef struct reader {
    const unsigned char *bytes;
    size_t size;
    const char *path;
    psc_error *error;
} reader;

/* The directory's place in the archive. */
typedef struct directory {
    uint64_t n, size, offset;
} directory;

static uint64_t number(const unsigned char *at, int bytes) {
    uint64_t n = 0;
    for (int i = bytes - 1; i >= 0; i--) n = n << 8 | at[i];
    return n;
}

static bool is_mark(const unsigned char *at, unsigned char third, unsigned char fourth) {
    return at[0] == 'P' && at[1] == 'K' && at[2] == third && at[3] == fourth;
}

static psc_status bad(const reader *r, const char *what) {
    return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s", r->path, what);
}

/* --- the directory --------------------------------------------------------------------------- */

/* The end record is the last that a comment of at most 65,535 bytes may follow. */
static psc_status find_end(size_t *out, const reader *r) {
    const size_t most = END_BYTES + 65535;
    const size_t least = r->size > most ? r->size - most : 0;
    for (size_t at = r->size < END_BYTES ? 0 : r->size - END_BYTES + 1; at-- > least;) {
        if (!is_mark(r->bytes + at, 5, 6)) continue;
        if (at + END_BYTES + number(r->bytes + at + 20, 2) != r->size) continue;
        *out = at;
        return PSC_OK;
    }
    return bad(r, "the zip archive has no directory at its end (is the file truncated?)");
}

static psc_status find_directory(directory *out, const reader *r) {
    size_t end = 0;
    psc_status status = find_end(&end, r);
    if (status) return status;
    const unsigned char *at = r->bytes + end;
    *out = (directory){number(at + 10, 2), number(at + 12, 4), number(at + 16, 4)};
    if (end >= LOCATOR_BYTES && is_mark(at - LOCATOR_BYTES, 6, 7)) {
        const uint64_t place = number(at - LOCATOR_BYTES + 8, 8);
        end -= LOCATOR_BYTES;
        if (end < END64_BYTES || place > end - END64_BYTES || !is_mark(r->bytes + place, 6, 6))
            return bad(r, "the zip archive's directory is damaged");
        at = r->bytes + place;
        *out = (directory){number(at + 32, 8), number(at + 40, 8), number(at + 48, 8)};
        end = (size_t)place;
    }
    if (out->offset > end || out->size > end - out->offset || out->n > out->size / HEADER_BYTES)
        return bad(r, "the zip archive's directory is damaged");
    if (out->n > PSC_ZIP_ENTRIES)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: the zip archive has %llu entries, more than %llu", r->path,
            (unsigned long long)out->n, (unsigned long long)PSC_ZIP_ENTRIES);
    return PSC_OK;
}

/* --- entries --------------------------------------------------------------------------------- */

/* Replaces the 32-bit values that are full by those of the zip64 field. */
static bool widen(uint64_t *values[3], const unsigned char *extra, size_t bytes) {
    while (bytes >= 4) {
        const size_t id = (size_t)number(extra, 2), length = (size_t)number(extra + 2, 2);
        const unsigned char *at = extra + 4, *end = at + length;
        if (length > bytes - 4) return false;
        for (int i = 0; id == 1 && i < 3; i++) {
            if (*values[i] != UINT32_MAX) continue;
            if (end - at < 8) return false;
            *values[i] = number(at, 8);
            at += 8;
        }
        if (id == 1) return true;
        extra = end;
        bytes -= 4 + length;
    }
    return true;
}

/* Finds an entry's data behind its local header, which must have the same name. */
static psc_status find_data(psc_zip_entry *entry, const reader *r, uint64_t packed) {
    const size_t shown = entry->name_bytes < 100 ? entry->name_bytes : 100;
    const uint64_t size = r->size;
    bool whole = entry->begin <= size && size - entry->begin >= LOCAL_BYTES;
    const unsigned char *at = r->bytes + (whole ? entry->begin : 0);
    whole = whole && is_mark(at, 3, 4) && number(at + 26, 2) == entry->name_bytes;
    if (whole) {
        entry->end = entry->begin + LOCAL_BYTES + entry->name_bytes + number(at + 28, 2);
        whole = entry->end <= size && size - entry->end >= packed &&
                memcmp(at + LOCAL_BYTES, entry->name, entry->name_bytes) == 0;
    }
    if (!whole)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: entry \"%.*s\" of the zip archive is damaged or beyond its end (is the file "
            "truncated?)",
            r->path, (int)shown, entry->name);
    entry->data = r->bytes + entry->end;
    entry->end += packed;
    return PSC_OK;
}

/* Reads the directory header at *at and moves on. */
static psc_status read_entry(
    psc_zip_entry *entry, const unsigned char **at, const unsigned char *end, const reader *r) {
    const unsigned char *h = *at;
    if (end - h < HEADER_BYTES || !is_mark(h, 1, 2))
        return bad(r, "the zip archive's directory is damaged");
    const size_t name = (size_t)number(h + 28, 2), extra = (size_t)number(h + 30, 2);
    const size_t length = HEADER_BYTES + name + extra + (size_t)number(h + 32, 2);
    uint64_t packed = number(h + 20, 4);
    *entry = (psc_zip_entry){.name = (const char *)h + HEADER_BYTES,
        .name_bytes = name,
        .size = number(h + 24, 4),
        .begin = number(h + 42, 4)};
    uint64_t *values[3] = {&entry->size, &packed, &entry->begin};
    if ((size_t)(end - h) < length || !widen(values, h + HEADER_BYTES + name, extra))
        return bad(r, "the zip archive's directory is damaged");
    psc_status status = find_data(entry, r, packed);
    if (status) return status;
    const bool is_plain = number(h + 10, 2) == 0 && (number(h + 8, 2) & 1) == 0;
    if (!is_plain || packed != entry->size) entry->data = NULL;
    *at = h + length;
    return PSC_OK;
}

static int by_place(const void *a, const void *b) {
    const psc_zip_entry *s = a, *t = b;
    if (s->begin != t->begin) return s->begin < t->begin ? -1 : 1;
    return (s->end > t->end) - (s->end < t->end);
}

static int by_name(const void *a, const void *b) {
    const psc_zip_entry *s = a, *t = b;
    const size_t n = s->name_bytes < t->name_bytes ? s->name_bytes : t->name_bytes;
    const int order = n ? memcmp(s->name, t->name, n) : 0;
    return order ? order : (s->name_bytes > t->name_bytes) - (s->name_bytes < t->name_bytes);
}

/* Entries must lie apart, before the directory, under different names. */
static psc_status check_entries(const psc_zip *zip, const directory *d, const reader *r) {
    const char *fault = NULL;
    const psc_zip_entry *entry = NULL;
    if (zip->n > 1) qsort(zip->entries, zip->n, sizeof *zip->entries, by_place);
    for (size_t i = 0; i < zip->n && !fault; i++) {
        entry = &zip->entries[i];
        if (entry->end > (i + 1 < zip->n ? entry[1].begin : d->offset))
            fault = i + 1 < zip->n ? "overlaps another one" : "overlaps the directory";
    }
    if (zip->n > 1 && !fault) qsort(zip->entries, zip->n, sizeof *zip->entries, by_name);
    for (size_t i = 1; i < zip->n && !fault; i++) {
        entry = &zip->entries[i];
        if (by_name(entry, entry - 1) == 0) fault = "is there twice";
    }
    if (!fault) return PSC_OK;
    const size_t shown = entry->name_bytes < 100 ? entry->name_bytes : 100;
    return psc_fail(r->error, PSC_ERROR_INPUT, "%s: entry \"%.*s\" of the zip archive %s", r->path,
        (int)shown, entry->name, fault);
}

psc_status psc_zip_open(
    psc_zip *out, const unsigned char *archive, size_t size, const char *path, psc_error *error) {
    const reader r = {archive, size, path, error};
    directory d = {0};
    *out = (psc_zip){0};
    psc_status status = find_directory(&d, &r);
    if (status) return status;
    const unsigned char *at = archive + d.offset, *end = at + d.size;
    out->entries = calloc((size_t)d.n + 1, sizeof *out->entries);
    if (!out->entries)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to open %s", path);
    for (; out->n < d.n && !status; out->n++)
        status = read_entry(&out->entries[out->n], &at, end, &r);
    if (!status) status = check_entries(out, &d, &r);
    if (status) psc_zip_close(out);
    return status;
}

void psc_zip_close(psc_zip *zip) {
    free(zip->entries);
    *zip = (psc_zip){0};
}

const psc_zip_entry *psc_zip_find(const psc_zip *zip, const char *prefix, size_t prefix_bytes,
    const char *name, size_t name_bytes) {
    char whole[512];
    if (prefix_bytes + name_bytes >= sizeof whole) return NULL;
    memcpy(whole, prefix, prefix_bytes);
    memcpy(whole + prefix_bytes, name, name_bytes);
    const psc_zip_entry key = {.name = whole, .name_bytes = prefix_bytes + name_bytes};
    if (zip->n == 0) return NULL;
    return bsearch(&key, zip->entries, zip->n, sizeof key, by_name);
}
