/* Directories of zip archives that lie: each record's own sentence. The archives are made here,
 * whole, and then changed at one place. */
#include "failing_malloc.h"
#include "zip_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { LOCAL = 30, HEADER = 46, END64 = 56, LOCATOR = 20, END = 22, ROOM = 1 << 18 };

static unsigned char bytes[ROOM], *copy; /* copy: what the open archive points to */
static size_t size, directory, end;      /* end: of the directory */
static size_t header_at[8], n_entries;
static psc_zip zip;
static psc_error error;

static void put(size_t at, int width, uint64_t value) {
    for (int i = 0; i < width; i++) bytes[at + (size_t)i] = (unsigned char)(value >> 8 * i);
}

static void append(const void *from, size_t n) {
    memcpy(bytes + size, from, n);
    size += n;
}

static void begin(void) {
    memset(bytes, 0, sizeof bytes);
    size = n_entries = 0;
}

/* Entries "a/0", "a/1", .. of three bytes each, and their directory, whose headers have `extra`. */
static void add_entries(int n, const void *extra, size_t n_extra) {
    size_t places[8];
    char name[8];
    for (int i = 0; i < n; i++) {
        places[i] = size;
        snprintf(name, sizeof name, "a/%d", i);
        memcpy(bytes + size, "PK\3\4", 4);
        put(size + 26, 2, 3);
        size += LOCAL;
        append(name, 3);
        append("xyz", 3);
    }
    directory = size;
    for (int i = 0; i < n; i++) {
        const size_t at = header_at[n_entries++] = size;
        memcpy(bytes + at, "PK\1\2", 4);
        put(at + 20, 4, 3);
        put(at + 24, 4, 3);
        put(at + 28, 2, 3);
        put(at + 30, 2, n_extra);
        put(at + 42, 4, places[i]);
        size += HEADER;
        snprintf(name, sizeof name, "a/%d", i);
        append(name, 3);
        if (n_extra) append(extra, n_extra);
    }
    end = size;
}

static size_t add_end(const char *comment) {
    const size_t at = size, n = strlen(comment);
    memcpy(bytes + at, "PK\5\6", 4);
    put(at + 10, 2, n_entries);
    put(at + 12, 4, end - directory);
    put(at + 16, 4, directory);
    put(at + 20, 2, n);
    size += END;
    append(comment, n);
    return at;
}

/* The directory's place as zip64; returns where. */
static size_t add_end64(void) {
    const size_t at = size;
    memcpy(bytes + at, "PK\6\6", 4);
    put(at + 32, 8, n_entries);
    put(at + 40, 8, end - directory);
    put(at + 48, 8, directory);
    size += END64;
    memcpy(bytes + size, "PK\6\7", 4);
    put(size + 8, 8, at);
    size += LOCATOR;
    return at;
}

static psc_status open_zip(void) {
    free(copy);
    copy = malloc(size ? size : 1); /* of its own size, for the sanitizers */
    memcpy(copy, bytes, size);
    error = (psc_error){PSC_OK, ""};
    const psc_status status = psc_zip_open(&zip, copy, size, "x.bin", &error);
    for (size_t i = 0; i < zip.n; i++)
        if (zip.entries[i].data) cr_assert_eq(memcmp(zip.entries[i].data, "xyz", 3), 0);
    return status;
}

static void opens(size_t n) {
    cr_assert_eq(open_zip(), PSC_OK, "%s", error.message);
    cr_assert_eq(zip.n, n);
    psc_zip_close(&zip);
}

static void refused(const char *sentence) {
    cr_assert_eq(open_zip(), PSC_ERROR_INPUT, "not refused: %s", sentence);
    cr_assert_str_eq(error.message, sentence, "%s", error.message);
    cr_assert(zip.n == 0 && !zip.entries, "nothing stays open");
}

#define NO_END "x.bin: the zip archive has no directory at its end (is the file truncated?)"
#define DAMAGED "x.bin: the zip archive's directory is damaged"
#define ENTRY(name)                                                                                \
    "x.bin: entry \"" name                                                                         \
    "\" of the zip archive is damaged or beyond its end (is the file truncated?)"

static void whole(int n) {
    begin();
    add_entries(n, NULL, 0);
    add_end("");
}

/* --- the end --------------------------------------------------------------------------------- */

Test(zip_file, the_end_is_found_behind_any_comment) {
    for (int n = 0; n < 4; n++) {
        whole(n);
        opens((size_t)n);
    }
    /* marks in the comment, of which none is the end: their own comments do not reach the end */
    begin();
    add_entries(2, NULL, 0);
    add_end("P PK PK\5 PK\5\7 PK\1\6 PK\5\6 and some more words");
    opens(2);
    static char comment[65536];
    memset(comment, 'c', sizeof comment - 1);
    begin();
    add_entries(1, NULL, 0);
    add_end(comment);
    opens(1);
    put(size - 1, 1, 0);
    size++; /* one byte behind the longest comment: no end record's comment reaches the end */
    refused(NO_END);
}

Test(zip_file, an_archive_without_its_end) {
    whole(1);
    const size_t complete = size;
    for (size = 0; size < complete; size++) refused(NO_END);
}

Test(zip_file, a_directory_that_is_elsewhere) {
    static const uint64_t values[][3] = {/* entries, bytes, offset */
        {1, 49, 1000}, {1, 1000, 36}, {2, 49, 36}, {9, 49, 36}, {1, UINT32_MAX, 36},
        {1, 49, UINT32_MAX}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        whole(1);
        const size_t at = size - END;
        put(at + 10, 2, values[i][0]);
        put(at + 12, 4, values[i][1]);
        put(at + 16, 4, values[i][2]);
        refused(DAMAGED);
    }
}

Test(zip_file, wide_ends) {
    begin();
    add_entries(2, NULL, 0);
    const size_t at = add_end64();
    const size_t last = add_end("");
    put(last + 10, 2, 0xffff);
    put(last + 12, 4, UINT32_MAX);
    put(last + 16, 4, UINT32_MAX);
    opens(2);
    put(at + 32, 8, UINT64_MAX);
    refused(DAMAGED);
    put(at + 32, 8, 2);
    put(at + 48, 8, UINT64_MAX);
    refused(DAMAGED);
    put(at + 48, 8, directory);
    bytes[at + 3] = 7;
    refused(DAMAGED);
    bytes[at + 3] = 6;
    put(last - LOCATOR + 8, 8, last);
    refused(DAMAGED);
    put(last - LOCATOR + 8, 8, UINT64_MAX);
    refused(DAMAGED);
}

Test(zip_file, a_locator_with_nothing_in_front) {
    begin();
    memcpy(bytes, "PK\6\7", 4);
    size = LOCATOR;
    directory = end = 0;
    add_end("");
    refused(DAMAGED);
    begin(); /* too short for a locator */
    size = LOCATOR - 1;
    directory = end = size;
    add_end("");
    opens(0);
}

Test(zip_file, more_entries_than_a_checkpoint_has) {
    const uint64_t n = PSC_ZIP_ENTRIES + 1;
    const size_t all = (size_t)n * HEADER;
    unsigned char *large = calloc(1, all + END64 + LOCATOR + END);
    begin();
    directory = 0;
    end = all;
    n_entries = (size_t)n;
    add_end64();
    add_end("");
    memcpy(large + all, bytes, size);
    for (int i = 0; i < 8; i++) large[all + END64 + 8 + (size_t)i] = (unsigned char)(all >> 8 * i);
    cr_assert_eq(psc_zip_open(&zip, large, all + size, "x.bin", &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "x.bin: the zip archive has 131073 entries, more than 131072");
    free(large);
}

/* --- entries --------------------------------------------------------------------------------- */

Test(zip_file, a_header_that_is_cut_or_no_header) {
    whole(2);
    bytes[header_at[1]] = 'Q';
    refused(DAMAGED);
    whole(2);
    bytes[header_at[1] + 3] = 3;
    refused(DAMAGED);
    whole(2);
    put(header_at[0] + 30, 2, 30); /* an extra field that takes a part of the next header */
    refused(DAMAGED);
    whole(2);
    put(header_at[1] + 32, 2, 1); /* a comment behind the directory's end */
    refused(DAMAGED);
}

Test(zip_file, an_entry_that_is_elsewhere) {
    whole(2);
    put(header_at[1] + 42, 4, UINT32_MAX - 1);
    refused(ENTRY("a/1"));
    whole(2);
    put(header_at[1] + 42, 4, size - LOCAL + 1);
    refused(ENTRY("a/1"));
    whole(2);
    put(header_at[1] + 42, 4, 1);
    refused(ENTRY("a/1"));
    whole(2);
    put(header_at[1] + 42, 4, 0); /* of another name */
    refused(ENTRY("a/1"));
    whole(2);
    put(36 + 26, 2, 4); /* the local header's name is longer */
    refused(ENTRY("a/1"));
    whole(2);
    put(36 + 28, 2, 60000); /* its extra field ends beyond the file */
    refused(ENTRY("a/1"));
    whole(2);
    put(header_at[1] + 20, 4, 60000); /* its data ends beyond the file */
    refused(ENTRY("a/1"));
}

Test(zip_file, entries_that_overlap) {
    whole(2);
    put(header_at[0] + 20, 4, 4);
    refused("x.bin: entry \"a/0\" of the zip archive overlaps another one");
    whole(2);
    put(header_at[1] + 20, 4, 4);
    refused("x.bin: entry \"a/1\" of the zip archive overlaps the directory");
    whole(2);
    memcpy(bytes + header_at[1] + HEADER, "a/0", 3);
    put(header_at[1] + 42, 4, 0);
    refused("x.bin: entry \"a/0\" of the zip archive overlaps another one");
    whole(2);
    memcpy(bytes + header_at[1] + HEADER, "a/0", 3);
    memcpy(bytes + 36 + LOCAL, "a/0", 3);
    refused("x.bin: entry \"a/0\" of the zip archive is there twice");
}

Test(zip_file, packed_or_encrypted_entries_have_no_data) {
    static const int places[] = {10, 8, 24}; /* method, flags, size */
    for (int i = 0; i < 3; i++) {
        whole(2);
        put(header_at[1] + (size_t)places[i], 1, 9);
        cr_assert_eq(open_zip(), PSC_OK, "%s", error.message);
        const psc_zip_entry *entry = psc_zip_find(&zip, "a/", 2, "1", 1);
        cr_assert(entry && !entry->data);
        cr_assert(psc_zip_find(&zip, "a/", 2, "0", 1)->data);
        psc_zip_close(&zip);
    }
}

/* --- zip64 fields ---------------------------------------------------------------------------- */

static void with_extra(const void *extra, size_t n, bool size_is_wide, bool place_is_wide) {
    begin();
    add_entries(1, extra, n);
    add_end("");
    if (size_is_wide) put(header_at[0] + 24, 4, UINT32_MAX);
    if (place_is_wide) put(header_at[0] + 42, 4, UINT32_MAX);
}

Test(zip_file, wide_values) {
    static const char size_only[] = "\1\0\10\0\3\0\0\0\0\0\0\0";
    static const char both[] = "\7\0\2\0ab\1\0\20\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    with_extra(size_only, 12, true, false);
    opens(1);
    with_extra(both, 26, true, true); /* behind a field of another kind */
    opens(1);
    with_extra(size_only, 12, true, true); /* it has the size only */
    refused(DAMAGED);
    with_extra(size_only, 12, false, false); /* nothing is wide: not looked at */
    opens(1);
    with_extra("\1\0\7\0\3\0\0\0\0\0\0", 11, true, false);
    refused(DAMAGED);
    with_extra("\1\0\11\0\3\0\0\0\0\0\0\0", 12, true, false); /* longer than what is there */
    refused(DAMAGED);
    with_extra("\7\0\1", 3, false, false); /* too short for a field */
    opens(1);
    with_extra("\7\0\0\0\10\0\0\0", 8, true, false); /* fields of other kinds only */
    cr_assert_eq(open_zip(), PSC_OK);
    cr_assert_null(zip.entries[0].data, "the packed size is another than the size");
    psc_zip_close(&zip);
}

/* --- finding --------------------------------------------------------------------------------- */

Test(zip_file, finds_by_prefix_and_name) {
    char name[512];
    memset(name, 'n', sizeof name);
    whole(3);
    cr_assert_eq(open_zip(), PSC_OK);
    const psc_zip_entry *entry = psc_zip_find(&zip, "a/", 2, "2", 1);
    cr_assert(entry && entry->name_bytes == 3 && entry->size == 3);
    cr_assert_null(psc_zip_find(&zip, "a/", 2, "3", 1));
    cr_assert_null(psc_zip_find(&zip, "a", 1, "", 0));
    cr_assert_null(psc_zip_find(&zip, "a/", 2, "22", 2));
    cr_assert_null(psc_zip_find(&zip, "a/", 2, name, sizeof name - 2), "too long to be one");
    psc_zip_close(&zip);
    whole(0);
    cr_assert_eq(open_zip(), PSC_OK);
    cr_assert_null(psc_zip_find(&zip, "a/", 2, "2", 1));
    psc_zip_close(&zip);
}

Test(zip_file, names_may_be_empty) {
    whole(2);
    put(header_at[1] + 28, 2, 0); /* its name is a comment now */
    put(header_at[1] + 32, 2, 3);
    put(36 + 26, 2, 0);
    put(36 + 28, 2, 3);
    cr_assert_eq(open_zip(), PSC_OK, "%s", error.message);
    cr_assert_eq(zip.entries[0].name_bytes, 0, "it comes first");
    psc_zip_close(&zip);
}

Test(zip_file, memory_that_runs_out) {
    whole(2);
    memory_fail_at(1, false);
    const psc_status status = psc_zip_open(&zip, bytes, size, "x.bin", &error);
    memory_back();
    if (!MEMORY_FAILS) return;
    cr_assert_eq(status, PSC_ERROR_MEMORY);
    cr_assert_str_eq(error.message, "not enough memory to open x.bin");
}
