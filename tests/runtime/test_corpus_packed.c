/* Compressed files of a corpus: the windows of the plain file, from every position on; damaged data
 * are left out and counted, never a crash. JSON lines as other programs write them. */
#include "golden.h"
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

static psc_error error;
static char folder[] = "/tmp/psc-packed-XXXXXX";
static char notes[4096]; /* all sentences of a reading */

typedef struct bytes {
    char *data;
    size_t n;
} bytes;

/* --- making files ---------------------------------------------------------------------------- */

static void add(bytes *to, const void *data, size_t n) {
    to->data = realloc(to->data, to->n + n + 1);
    memcpy(to->data + to->n, data, n);
    to->n += n;
}

static void add_gzip(bytes *to, const char *data, size_t n) {
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)data, .avail_in = (uInt)n};
    cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, n) + 64;
    char *out = malloc(room);
    z.next_out = (unsigned char *)out;
    z.avail_out = (uInt)room;
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    add(to, out, room - z.avail_out);
    deflateEnd(&z);
    free(out);
}

static void add_zstd(bytes *to, const char *data, size_t n) {
    size_t room = ZSTD_compressBound(n);
    char *out = malloc(room);
    size_t size = ZSTD_compress(out, room, data, n, 3);
    cr_assert(!ZSTD_isError(size));
    add(to, out, size);
    free(out);
}

typedef void add_fn(bytes *, const char *, size_t);

/* In `parts` members or frames; the first may hold a single byte. */
static bytes pack(add_fn *one, const char *data, size_t n, int parts) {
    bytes out = {NULL, 0};
    for (int i = 0; i < parts; i++) {
        size_t begin = i == 0 ? 0 : 1 + (n - 1) * (size_t)i / (size_t)parts;
        size_t end = i + 1 == parts ? n : 1 + (n - 1) * (size_t)(i + 1) / (size_t)parts;
        if (i == 0 && parts > 1) one(&out, data, 1), begin = 1;
        one(&out, data + begin, end - begin);
    }
    return out;
}

static void path_of(char out[200], const char *name) {
    snprintf(out, 200, "%s/%s", folder, name);
}

static void save(const char *name, const void *data, size_t n) {
    char path[200];
    path_of(path, name);
    FILE *file = fopen(path, "wb");
    cr_assert(file);
    cr_assert_eq(fwrite(data, 1, n, file), n);
    fclose(file);
}

static void save_bytes(const char *name, bytes *b) {
    save(name, b->data, b->n);
    free(b->data);
    *b = (bytes){NULL, 0};
}

static bytes words(size_t n, bool lines) {
    bytes b = {NULL, 0};
    char some[160];
    for (int i = 0; b.n < n; i++) {
        int k = lines ? snprintf(some, sizeof some,
                            "{\"n\": %d, \"text\": \"the %d sun rose \\u00e9 over hill %d\"}\n%s",
                            i, i * 7919, i % 13, i % 5 == 4 ? "\n" : "")
                      : snprintf(some, sizeof some, "the %d sun rose \xc3\xa9 over hill %d and ",
                            i * 7919, i);
        add(&b, some, (size_t)k);
    }
    return b;
}

/* --- reading --------------------------------------------------------------------------------- */

static void on_note(const char *sentence, void *payload) {
    (void)payload;
    size_t n = strlen(notes);
    snprintf(notes + n, sizeof notes - n, "%s\n", sentence);
}

static psc_corpus *must_open(
    const psc_model *model, const char *name, int32_t shard, int32_t parts) {
    char path[200];
    const char *paths[] = {path};
    psc_corpus *c = NULL;
    psc_corpus_options o = PSC_CORPUS_OPTIONS_INIT;
    o.window = 50;
    o.shard = shard;
    o.n_shards = parts;
    o.note = on_note;
    notes[0] = 0;
    path_of(path, name);
    cr_assert_eq(psc_corpus_open(&c, model, paths, 1, &o, &error), PSC_OK, "%s", error.message);
    return c;
}

static int32_t must_next(psc_window *out, psc_corpus *c) {
    cr_assert_eq(psc_corpus_next(out, c, &error), PSC_OK, "%s", error.message);
    return out->n;
}

static void same_window(const psc_window *a, const psc_window *b) {
    cr_assert_eq(a->n, b->n);
    cr_assert_eq(a->document.number, b->document.number);
    cr_assert_eq(a->document.first, b->document.first);
    cr_assert_arr_eq(a->tokens, b->tokens, (size_t)a->n * sizeof *a->tokens);
}

/* Both files have the same windows. At every `every`-th a fresh corpus goes
 * on from the position. */
static void same_windows(const psc_model *model, const char *plain, const char *packed, int every) {
    psc_corpus *a = must_open(model, plain, 0, 0), *b = must_open(model, packed, 0, 0);
    psc_window x, y, z;
    for (int i = 0, n = 1; n > 0; i++) {
        char *place = NULL;
        cr_assert_eq(psc_corpus_tell(&place, b, &error), PSC_OK);
        n = must_next(&x, a);
        must_next(&y, b);
        same_window(&x, &y);
        if (i % every == 0 || n == 0) {
            psc_corpus *fresh = must_open(model, packed, 0, 0);
            cr_assert_eq(psc_corpus_seek(fresh, place, &error), PSC_OK, "%s", error.message);
            must_next(&z, fresh);
            same_window(&x, &z);
            psc_corpus_close(&fresh);
        }
        cr_assert(psc_corpus_progress(b) >= 0.0 && psc_corpus_progress(b) <= 1.0);
        psc_free(place);
    }
    cr_assert_eq(psc_corpus_progress(b), 1.0);
    cr_assert_str_eq(notes, "");
    psc_corpus_close(&a);
    psc_corpus_close(&b);
}

static psc_corpus_totals totals_of(
    const psc_model *model, const char *name, int32_t shard, int32_t parts) {
    psc_corpus *c = must_open(model, name, shard, parts);
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_window window;
    while (must_next(&window, c) > 0) {
    }
    psc_corpus_get_totals(&totals, c);
    psc_corpus_close(&c);
    return totals;
}

static psc_model *begin(void) {
    static char path[] = PSC_SOURCE_DIR "/models/books-5m";
    cr_assert(mkdtemp(folder));
    return must_model(path);
}

static void end(psc_model *model) {
    char command[100];
    psc_model_close(&model);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

/* --- tests ----------------------------------------------------------------------------------- */

Test(packed, windows_are_those_of_the_plain_file) {
    psc_model *model = begin();
    for (int lines = 0; lines < 2; lines++) {
        const char *suffix = lines ? "jsonl" : "txt";
        bytes plain = words(lines ? 20000 : 200000, lines);
        char name[40], packed[40];
        snprintf(name, sizeof name, "plain.%s", suffix);
        save(name, plain.data, plain.n);
        for (int parts = 1; parts <= 3; parts += 2) {
            bytes gz = pack(add_gzip, plain.data, plain.n, parts);
            bytes zst = pack(add_zstd, plain.data, plain.n, parts);
            snprintf(packed, sizeof packed, "g%d.%s.gz", parts, suffix);
            save_bytes(packed, &gz);
            same_windows(model, name, packed, lines ? 40 : 200);
            snprintf(packed, sizeof packed, "z%d.%s.zst", parts, suffix);
            save_bytes(packed, &zst);
            same_windows(model, name, packed, lines ? 40 : 200);
        }
        free(plain.data);
    }
    end(model);
}

Test(packed, zeros_and_skipped_frames_around_the_data_are_ignored) {
    psc_model *model = begin();
    const char text[] = "the sun rose over the hill";
    bytes gz = {NULL, 0}, zst = {NULL, 0};
    save("plain.txt", text, sizeof text - 1);
    add_gzip(&gz, text, sizeof text - 1);
    add(&gz, "\0\0\0\0", 4);
    save_bytes("padded.txt.gz", &gz);
    same_windows(model, "plain.txt", "padded.txt.gz", 1);
    add(&zst, "\x50\x2a\x4d\x18\x02\0\0\0ab", 10);
    add_zstd(&zst, text, sizeof text - 1);
    save_bytes("skipped.txt.zst", &zst);
    same_windows(model, "plain.txt", "skipped.txt.zst", 1);
    end(model);
}

static void broken(const psc_model *model, const char *name, const char *sentence) {
    char path[200];
    const char *paths[] = {path};
    psc_corpus *c = NULL;
    psc_window window;
    psc_corpus_options o = PSC_CORPUS_OPTIONS_INIT;
    o.strict = 1;
    psc_corpus_totals whole = totals_of(model, name, 0, 0);
    cr_assert_eq(whole.skipped, 1, "%s", name);
    cr_assert(strstr(notes, sentence), "%s", notes);
    psc_corpus_totals first = totals_of(model, name, 1, 2), second = totals_of(model, name, 2, 2);
    cr_assert_eq(first.skipped + second.skipped, 1);
    cr_assert_eq(first.documents + second.documents, whole.documents);
    path_of(path, name);
    cr_assert_eq(psc_corpus_open(&c, model, paths, 1, &o, &error), PSC_OK);
    psc_status status = PSC_OK;
    do status = psc_corpus_next(&window, c, &error);
    while (status == PSC_OK && window.n > 0);
    cr_assert_eq(status, PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, sentence), "%s", error.message);
    psc_corpus_close(&c);
}

Test(packed, what_is_cut_off_or_damaged_is_left_out) {
    psc_model *model = begin();
    for (int lines = 0; lines < 2; lines++) {
        bytes plain = words(3000, lines), gz = pack(add_gzip, plain.data, plain.n, 1),
              zst = pack(add_zstd, plain.data, plain.n, 1);
        const char *g = lines ? "cut.jsonl.gz" : "cut.txt.gz";
        const char *z = lines ? "cut.jsonl.zst" : "cut.txt.zst";
        for (size_t n = 4; n < gz.n; n += 37) {
            save(g, gz.data, n);
            broken(model, g, "is cut off: its gzip data end too early");
        }
        for (size_t n = 4; n < zst.n; n += 37) {
            save(z, zst.data, n);
            broken(model, z, "is cut off: its zstd data end too early");
        }
        gz.data[gz.n - 6] ^= 0x55; /* of the checksum */
        save(g, gz.data, gz.n);
        broken(model, g, "has damaged gzip data");
        gz.data[gz.n - 6] ^= 0x55;
        add(&gz, "more", 4);
        save(g, gz.data, gz.n);
        broken(model, g, "has other bytes after its gzip data");
        add(&zst, "more", 4);
        save(z, zst.data, zst.n);
        broken(model, z, "has damaged zstd data");
        free(plain.data);
        free(gz.data);
        free(zst.data);
    }
    /* A frame that asks for a window of 256 MiB. */
    save("wide.txt.zst", "\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00", 9);
    broken(model, "wide.txt.zst", "with a window of more than 128 MiB");
    end(model);
}

Test(packed, other_formats_are_named) {
    psc_model *model = begin();
    save("a.txt",
        "\xfd"
        "7zXZ\0\xff\xff",
        8);
    totals_of(model, "a.txt", 0, 0);
    cr_assert(strstr(notes, "it is an xz file; decompress it first"), "%s", notes);
    save("b.txt", "\xff\xfeh\0i\0", 6);
    totals_of(model, "b.txt", 0, 0);
    cr_assert(strstr(notes, "it looks like UTF-16"), "%s", notes);
    end(model);
}

Test(packed, a_byte_order_mark_is_no_part_of_the_text) {
    psc_model *model = begin();
    const char text[] = "\xef\xbb\xbfthe sun rose over the hill";
    const char lines[] = "\xef\xbb\xbf{\"text\": \"the sun\"}\r\n{\"text\": \"the moon\"}\r\n";
    bytes gz = {NULL, 0};
    save("plain.txt", text + 3, sizeof text - 4);
    save("mark.txt", text, sizeof text - 1);
    same_windows(model, "plain.txt", "mark.txt", 1);
    add_gzip(&gz, text, sizeof text - 1);
    save_bytes("mark.txt.gz", &gz);
    same_windows(model, "plain.txt", "mark.txt.gz", 1);
    save("plain.jsonl", lines + 3, sizeof lines - 4);
    save("mark.jsonl", lines, sizeof lines - 1);
    cr_assert_eq(totals_of(model, "mark.jsonl", 0, 0).documents, 2);
    same_windows(model, "plain.jsonl", "mark.jsonl", 1);
    save("empty.txt", "\xef\xbb\xbf", 3);
    cr_assert_eq(totals_of(model, "empty.txt", 0, 0).tokens, 0);
    end(model);
}

Test(packed, lines_as_other_programs_write_them) {
    static const char good[] =
        "{\"a\": NaN, \"text\": \"NaN: 1e999 is -Infinity\", \"b\": [Infinity,-Infinity], \"c\":{\"d\":NaN}}\n"
        "{\"id\": 123456789012345678901234567890, \"text\": \"two \\\" 12345678901234567890123 \\\\\"}\n"
        "{\"x\": -1.5e+9999, \"text\": \"three\"}\n";
    static const char *const bad[] = {"{\"a\": NaNs, \"text\": \"x\"}\n",
        "{\"a\": +NaN, \"text\": \"x\"}\n", "{\"a\": 01234567890123456789012, \"text\": \"x\"}\n",
        "{\"a\": 1., \"text\": \"x\"}\n", "{\"a\": NaN, \"text\": \"cut\n",
        "{NaN: 1, \"text\": \"x\"}\n", "NaN\n", "{\"text\": NaN}\n"};
    psc_model *model = begin();
    psc_token *tokens = NULL;
    psc_window window;
    int32_t n = 0;
    save("good.jsonl", good, sizeof good - 1);
    psc_corpus *c = must_open(model, "good.jsonl", 0, 0);
    static const char *const texts[] = {
        "NaN: 1e999 is -Infinity", "two \" 12345678901234567890123 \\", "three"};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(
            psc_model_encode(&tokens, &n, model, texts[i], strlen(texts[i]), false, &error),
            PSC_OK);
        cr_assert_eq(must_next(&window, c), n, "%s", notes);
        for (int32_t t = 0; t < n; t++) cr_assert_eq(window.tokens[t].id, tokens[t].id);
        psc_free(tokens);
    }
    psc_corpus_close(&c);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        save("bad.jsonl", bad[i], strlen(bad[i]));
        cr_assert_eq(totals_of(model, "bad.jsonl", 0, 0).skipped, 1, "%s", bad[i]);
    }
    save("half.jsonl", "{\"text\": \"\\ud800\"}\n", 19);
    totals_of(model, "half.jsonl", 0, 0);
    cr_assert(strstr(notes, "line 1 has half of a surrogate pair"), "%s", notes);
    end(model);
}
