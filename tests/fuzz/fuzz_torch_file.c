/* Fuzzes the reader of torch.save's files (base/torch_file.h) with changed copies of good and bad ones.
 *
 *   fuzz_torch_file SEEDS [--runs N] [--seconds N] [--seed N] [--keep DIR]
 *
 * Half of the inputs are files with changed bytes; the other half are archives built anew around a
 * changed data.pkl, so that the pickle machine sees them. Compiled with -fsanitize-coverage=trace-pc
 * (run.sh), inputs that reach new edges of the code join the corpus. A crash, a sanitizer's report or
 * an input that takes longer than ten seconds ends the program; the input is then in DIR/crash.bin. */
#include "torch_file.h"
#include "zip_file.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_BYTES 8192
#define MOST_INPUTS 20000
#define EDGES (1u << 16)

typedef struct input {
    unsigned char *bytes;
    size_t size;
} input;

static input corpus[MOST_INPUTS], current;
static size_t n_corpus, opening[MOST_INPUTS], n_opening; /* opening: those that open */
static unsigned char seen[EDGES], reached[EDGES];
static uint32_t touched[EDGES], n_touched;
static uintptr_t last_place;
static uint64_t state = 1;
static const char *keep = ".";

#if defined(__has_attribute)
#if __has_attribute(no_sanitize_coverage)
__attribute__((no_sanitize_coverage))
#endif
#endif
void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) {
    const uintptr_t place = (uintptr_t)__builtin_return_address(0);
    const uint32_t edge = (uint32_t)((place ^ last_place * 31) * 0x9e3779b97f4a7c15u >> 40) % EDGES;
    last_place = place;
    if (reached[edge]) return;
    reached[edge] = 1;
    touched[n_touched++] = edge;
}

static uint64_t draw(void) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1du;
}

static size_t below(size_t n) {
    return n ? (size_t)(draw() >> 11) % n : 0;
}

/* --- inputs ---------------------------------------------------------------------------------- */

static void save_current(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/crash.bin", keep);
    FILE *file = fopen(path, "wb");
    if (!file) return;
    fwrite(current.bytes, 1, current.size, file);
    fclose(file);
    fprintf(stderr, "the input is in %s\n", path);
}

static void on_signal(int number) {
    save_current();
    fprintf(stderr, number == SIGALRM ? "an input took too long\n" : "the reader crashed\n");
    _exit(1);
}

#if defined(__SANITIZE_ADDRESS__) /* of the sanitizers' run time */
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

static void add_input(const unsigned char *bytes, size_t size) {
    input *to = &corpus[n_corpus++];
    to->bytes = malloc(size + 1);
    if (!to->bytes) abort();
    memcpy(to->bytes, bytes, size);
    to->size = size;
}

static void read_seeds(const char *folder) {
    DIR *stream = opendir(folder);
    char path[4096];
    unsigned char bytes[MOST_BYTES];
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!file || n_corpus == MOST_INPUTS / 2) continue;
        const size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        add_input(bytes, size);
    }
    if (stream) closedir(stream);
    if (n_corpus == 0) {
        fprintf(stderr, "%s has no files to begin with\n", folder);
        exit(2);
    }
}

/* --- changes --------------------------------------------------------------------------------- */

typedef struct text {
    unsigned char bytes[2 * MOST_BYTES];
    size_t size;
} text;

static void insert(text *t, size_t at, const void *bytes, size_t size) {
    if (t->size + size > MOST_BYTES) return;
    memmove(t->bytes + at + size, t->bytes + at, t->size - at);
    memcpy(t->bytes + at, bytes, size);
    t->size += size;
}

static void erase(text *t, size_t at, size_t size) {
    if (size > t->size - at) size = t->size - at;
    memmove(t->bytes + at, t->bytes + at + size, t->size - at - size);
    t->size -= size;
}

static void write_number(text *t, size_t at) {
    static const uint64_t numbers[] = {0, 1, 2, 3, 4, 6, 8, 24, 64, 127, 128, 255, 256, 65535,
        65536, INT32_MAX, 0x80000000u, UINT32_MAX, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX};
    uint64_t n = numbers[below(sizeof numbers / sizeof numbers[0])];
    const size_t size = (size_t)1 << below(4);
    if (below(4) == 0) n += below(7) - 3;
    for (size_t i = 0; i < size && at + i < t->size; i++)
        t->bytes[at + i] = (unsigned char)(n >> 8 * i);
}

/* Instructions of pickle and marks of zip, with their operands. */
static void insert_word(text *t, size_t at) {
    static const struct {
        const char *bytes;
        size_t size;
    } words[] = {{"(", 1}, {"}", 1}, {")", 1}, {"]", 1}, {".", 1}, {"N", 1}, {"R", 1}, {"Q", 1},
        {"b", 1}, {"u", 1}, {"s", 1}, {"a", 1}, {"e", 1}, {"t", 1}, {"\x85", 1}, {"\x86", 1},
        {"\x87", 1}, {"\x88", 1}, {"\x89", 1}, {"\x93", 1}, {"\x94", 1}, {"K\1", 2}, {"M\0\1", 3},
        {"J\377\377\377\377", 5}, {"h\0", 2}, {"h\3", 2}, {"h\5", 2}, {"q\0", 2}, {"q\377", 2},
        {"r\0\0\1\0", 5}, {"j\0\0\0\0", 5}, {"\x8a\1\377", 3},
        {"\x8a\10\377\377\377\377\377\377\377\177", 10}, {"G\0\0\0\0\0\0\0\0", 9},
        {"X\1\0\0\0a", 6}, {"\x8c\1b", 3}, {"U\1c", 3}, {"I01\n", 4}, {"\x80\2", 2},
        {"\x95\0\0\0\0\0\0\0\0", 9}, {"X\7\0\0\0storage", 12}, {"X\1\0\0\0000", 6},
        {"ctorch\nHalfStorage\n", 19}, {"ctorch\nFloatStorage\n", 20},
        {"ccollections\nOrderedDict\n", 25}, {"ctorch._utils\n_rebuild_tensor_v2\n", 33},
        {"ctorch._utils\n_rebuild_parameter\n", 33}, {"cos\nsystem\n", 11}, {"PK\1\2", 4},
        {"PK\3\4", 4}, {"PK\5\6", 4}, {"PK\6\6", 4}, {"PK\6\7", 4}, {"data.pkl", 8}, {"data/0", 6}};
    const size_t i = below(sizeof words / sizeof words[0]);
    insert(t, at, words[i].bytes, words[i].size);
}

/* in_place: bytes keep their places, so that an archive stays whole. */
static void change(text *t, int in_place) {
    for (size_t n = 1 + below(below(4) ? 3 : 12); n > 0; n--) {
        const size_t at = below(t->size + 1), size = 1 + below(below(3) ? 8 : 200);
        const input *other = &corpus[below(n_corpus)];
        const size_t from = below(other->size);
        switch (below(in_place ? 3 : 9)) {
        case 0:
            if (at < t->size) t->bytes[at] ^= (unsigned char)(1u << below(8));
            break;
        case 1:
            if (at < t->size) t->bytes[at] = (unsigned char)draw();
            break;
        case 2:
            write_number(t, at);
            break;
        case 3:
            erase(t, at, size);
            break;
        case 4: /* a copy of a part of itself */
            if (at + size <= t->size) {
                unsigned char copy[256];
                memcpy(copy, t->bytes + at, size);
                insert(t, below(t->size + 1), copy, size);
            }
            break;
        case 5: /* a part of another input */
            insert(
                t, at, other->bytes + from, size < other->size - from ? size : other->size - from);
            break;
        default:
            insert_word(t, at);
            break;
        }
    }
}

/* --- archives -------------------------------------------------------------------------------- */

static void put(text *t, const void *bytes, size_t size) {
    insert(t, t->size, bytes, size);
}

static void put_number(text *t, uint64_t n, size_t size) {
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(n >> 8 * i);
    put(t, bytes, size);
}

/* The archive m/data.pkl, m/data/0 .. m/data/4 of 24, 8, 4, 2 and 0 bytes. */
static void build(text *out, const text *pickle) {
    static const size_t sizes[] = {24, 8, 4, 2, 0};
    static const unsigned char zeros[24];
    text directory = {.size = 0};
    char name[16];
    out->size = 0;
    for (size_t i = 0; i < 6; i++) {
        const size_t size = i ? sizes[i - 1] : pickle->size, place = out->size;
        const size_t n = (size_t)(i ? snprintf(name, sizeof name, "m/data/%zu", i - 1)
                                    : snprintf(name, sizeof name, "m/data.pkl"));
        put(out, "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18);
        put_number(out, size, 4);
        put_number(out, size, 4);
        put_number(out, n, 4);
        put(out, name, n);
        put(out, i ? zeros : pickle->bytes, size);
        put(&directory, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
        put_number(&directory, size, 4);
        put_number(&directory, size, 4);
        put_number(&directory, n, 8);
        put_number(&directory, 0, 6);
        put_number(&directory, place, 4);
        put(&directory, name, n);
    }
    const size_t place = out->size;
    put(out, directory.bytes, directory.size);
    put(out, "PK\5\6\0\0\0\0\6\0\6\0", 12);
    put_number(out, directory.size, 4);
    put_number(out, place, 4);
    put_number(out, 0, 2);
}

/* The pickle of an archive; empty if there is none. */
static void find_pickle(text *out, const input *from) {
    psc_zip zip;
    out->size = 0;
    if (psc_zip_open(&zip, from->bytes, from->size, "seed", NULL) != PSC_OK) return;
    for (size_t i = 0; i < zip.n; i++) {
        const psc_zip_entry *e = &zip.entries[i];
        if (e->data && e->name_bytes > 4 && !memcmp(e->name + e->name_bytes - 4, ".pkl", 4))
            if (out->size == 0) put(out, e->data, (size_t)e->size);
    }
    psc_zip_close(&zip);
}

/* --- running --------------------------------------------------------------------------------- */

/* Reads an input from memory of exactly its size; true when it opened. */
static int read_input(const unsigned char *bytes, size_t size) {
    static psc_tensor_file file = {.name = "fuzzed"};
    psc_tensors set = {.files = &file, .n_files = 1};
    psc_error error = {0};
    volatile unsigned sum = 0;
    current.bytes = malloc(size + !size);
    if (!current.bytes) abort();
    memcpy(current.bytes, bytes, size);
    current.size = size;
    file.mapping = (psc_mapping){.data = current.bytes, .size = size};
    last_place = 0;
    const psc_status status = psc_torch_add_mapped(&set, 0, "fuzzed", &error);
    if (status && !error.message[0]) abort();
    for (size_t i = 0; i < set.count; i++) {
        const psc_tensor *t = &set.items[i];
        if ((t->flaw || status) && t->size > 0 && !t->data) abort();
        for (size_t j = 0; j < t->size; j++) sum += t->data[j];
        free(t->name);
    }
    free(set.items);
    free(current.bytes);
    current.bytes = NULL;
    return status == PSC_OK;
}

/* Whether the last input reached something new. */
static int is_new(void) {
    int found = 0;
    for (uint32_t i = 0; i < n_touched; i++) {
        found |= !seen[touched[i]];
        seen[touched[i]] = 1;
        reached[touched[i]] = 0;
    }
    n_touched = 0;
    return found;
}

static size_t count_edges(void) {
    size_t n = 0;
    for (size_t i = 0; i < EDGES; i++) n += seen[i];
    return n;
}

static void report(uint64_t runs, uint64_t opened, double seconds) {
    printf("%llu runs in %.0f s, %llu opened, %zu inputs, %zu edges\n", (unsigned long long)runs,
        seconds, (unsigned long long)opened, n_corpus, count_edges());
    fflush(stdout);
}

static void fuzz(uint64_t most_runs, double most_seconds) {
    static text t, archive;
    const time_t begin = time(NULL);
    const size_t n_seeds = n_corpus;
    uint64_t runs = 0, opened = 0;
    double seconds = 0, shown = 0;
    for (; runs < most_runs && seconds < most_seconds; runs++) {
        const input *from = &corpus[below(n_corpus)];
        if (n_opening > 0 && below(2)) from = &corpus[opening[below(n_opening)]];
        const int rebuilt = runs >= n_seeds && below(2) == 0;
        if (runs < n_seeds) from = &corpus[runs]; /* each seed as it is */
        t.size = 0;
        if (rebuilt)
            find_pickle(&t, from);
        else
            put(&t, from->bytes, from->size);
        if (runs >= n_seeds) change(&t, !rebuilt && below(3) > 0);
        if (rebuilt) build(&archive, &t);
        const text *made = rebuilt ? &archive : &t;
        if (runs % 1000 == 0) alarm(10);
        if (runs % 1000 == 0) seconds = difftime(time(NULL), begin);
        if (seconds - shown >= 60) report(runs, opened, shown = seconds);
        const int opens = read_input(made->bytes, made->size);
        opened += (uint64_t)opens;
        if (opens && runs < n_seeds) opening[n_opening++] = (size_t)runs;
        if (!is_new() || runs < n_seeds || n_corpus == MOST_INPUTS) continue;
        if (opens) opening[n_opening++] = n_corpus;
        add_input(made->bytes, made->size);
    }
    alarm(0);
    report(runs, opened, difftime(time(NULL), begin));
}

int main(int argc, char **argv) {
    uint64_t runs = UINT64_MAX;
    double seconds = 1e9;
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--runs") == 0) runs = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seconds") == 0) seconds = strtod(argv[i + 1], NULL);
        if (strcmp(argv[i], "--seed") == 0) state = strtoull(argv[i + 1], NULL, 10) | 1;
        if (strcmp(argv[i], "--keep") == 0) keep = argv[i + 1];
    }
    if (argc < 2 || argc % 2) {
        fprintf(
            stderr, "usage: %s SEEDS [--runs N] [--seconds N] [--seed N] [--keep DIR]\n", argv[0]);
        return 2;
    }
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(save_current);
#else
    signal(SIGSEGV, on_signal);
#endif
    signal(SIGALRM, on_signal);
    signal(SIGABRT, on_signal);
    read_seeds(argv[1]);
    fuzz(runs, seconds);
    return 0;
}
