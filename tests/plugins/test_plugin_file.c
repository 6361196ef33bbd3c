/* Files that are no plugins, or only a part of one: each is refused by one sentence with its path,
 * and nothing of it is loaded. */
#include "plugin_fixture.h"
#include "plugin_file.h"
#include "plugin_symbol.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/psc_plugin_file_XXXXXX", path[128];
static unsigned char *whole;
static size_t size;

static void read_whole(void) {
    FILE *file = fopen(PLUGIN("norms"), "rb");
    cr_assert(file);
    cr_assert_eq(fseek(file, 0, SEEK_END), 0);
    size = (size_t)ftell(file);
    rewind(file);
    whole = malloc(size);
    cr_assert(whole && fread(whole, 1, size, file) == size);
    fclose(file);
}

static void begin(void) {
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tried.so", folder);
    read_whole();
}

static void end(void) {
    unlink(path);
    rmdir(folder);
    free(whole);
}

TestSuite(plugin_file, .init = begin, .fini = end, .timeout = 60);

static void write_file(const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, n, file) == n);
    fclose(file);
}

static psc_status load(void) {
    void *library = NULL;
    const psc_plugin *plugin = NULL;
    const psc_status status = psc_plugin_load(&library, &plugin, path, &error);
    psc_plugin_unload(&library);
    return status;
}

#define MUST_REFUSE(words) REFUSED(load(), PSC_ERROR_PLUGIN, "tried.so", words)

Test(plugin_file, the_whole_file_loads) {
    write_file(whole, size);
    cr_assert_eq(load(), PSC_OK, "%s", error.message);
}

/* A child loads it, so that a crash of the dynamic linker is a failure of this test alone. Returns
 * 0 if it was loaded, 1 if it was refused, -1 for a signal. */
static int load_in_child(void) {
    const pid_t child = fork();
    if (child == 0) _exit(load() == PSC_OK ? 0 : 1);
    int state = 0;
    cr_assert(child > 0 && waitpid(child, &state, 0) == child);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

Test(plugin_file, cut_short_anywhere) {
    for (size_t n = 0; n < size; n += n < 1024 ? 61 : 509) {
        write_file(whole, n);
        cr_assert_geq(load_in_child(), 0, "a signal at %zu of %zu bytes", n, size);
    }
    write_file(whole, size / 4);
    MUST_REFUSE("is cut short");
    write_file(whole, 0);
    MUST_REFUSE("is empty");
    write_file(whole, 20);
    MUST_REFUSE("is cut short");
}

#if defined(__linux__) && UINTPTR_MAX > UINT32_MAX
/* Numbers that would make the linker read anywhere: a table of segments, or
 * a segment, elsewhere. */
Test(plugin_file, damaged_headers) {
    static const size_t of_header[] = {32, 35, 39, 54, 55, 57}, of_segment[] = {12, 15, 36, 39};
    for (size_t i = 0; i < sizeof of_header / sizeof *of_header; i++) {
        const unsigned char before = whole[of_header[i]];
        whole[of_header[i]] = 0xff;
        write_file(whole, size);
        cr_assert_eq(load_in_child(), 1, "a changed byte %zu", of_header[i]);
        whole[of_header[i]] = before;
    }
    for (size_t i = 0; i < sizeof of_segment / sizeof *of_segment; i++) {
        const size_t at = 64 + of_segment[i]; /* of the first segment, which is loaded */
        const unsigned char before = whole[at];
        whole[at] = 0x7f;
        write_file(whole, size);
        cr_assert_eq(load_in_child(), 1, "a changed byte %zu", at);
        whole[at] = before;
    }
}

#endif

#ifdef __ELF__

#define BITS (unsigned)(8 * sizeof(void *))

/* Of the first n bytes, in memory of that size, so that a sanitizer sees a
 * byte read behind them. */
static psc_symbol symbol_in(const unsigned char *bytes, size_t n, const char *name) {
    unsigned char *copy = malloc(n > 0 ? n : 1);
    cr_assert(copy);
    memcpy(copy, bytes, n);
    const psc_symbol symbol = psc_elf_symbol(copy, n, BITS, name);
    free(copy);
    return symbol;
}

Test(plugin_file, the_symbol_is_what_a_caller_finds) {
    cr_assert_eq(symbol_in(whole, size, "psc_plugin_entry"), PSC_SYMBOL_THERE);
    cr_assert_eq(symbol_in(whole, size, "psc_plugin_entr"), PSC_SYMBOL_ABSENT);
    cr_assert_eq(symbol_in(whole, size, "psc_plugin_entry_"), PSC_SYMBOL_ABSENT);
    cr_assert_eq(symbol_in(whole, size, "sqrt"), PSC_SYMBOL_ABSENT, "an undefined symbol");
    cr_assert_eq(symbol_in(whole, size, ""), PSC_SYMBOL_ABSENT);
    cr_assert_eq(psc_elf_symbol(whole, size, 96 - BITS, "psc_plugin_entry"), PSC_SYMBOL_DAMAGED);
}

Test(plugin_file, a_part_of_the_tables) {
    for (size_t n = 0; n < size; n += n < 4096 ? 7 : 61)
        (void)symbol_in(whole, n, "psc_plugin_entry");
    cr_assert_eq(symbol_in(whole, 600, "psc_plugin_entry"), PSC_SYMBOL_DAMAGED);
}

/* Whatever a byte of the headers and tables becomes, nothing is read outside, and it ends. */
Test(plugin_file, changed_tables) {
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    const size_t most = size < 8192 ? size : 8192; /* a linker puts the tables first */
    int damaged = 0, absent = 0;
    for (size_t i = 0; i < most; i++) {
        const unsigned char before = whole[i];
        for (size_t v = 0; v < sizeof values; v++) {
            whole[i] = values[v];
            const psc_symbol symbol = psc_elf_symbol(whole, size, BITS, "psc_plugin_entry");
            damaged += symbol == PSC_SYMBOL_DAMAGED;
            absent += symbol == PSC_SYMBOL_ABSENT;
        }
        whole[i] = before;
    }
    cr_assert(damaged > 50 && absent > 20, "%d damaged, %d absent", damaged, absent);
}

/* A library that is whole, but whose symbol has another name. */
Test(plugin_file, no_symbol) {
    for (size_t i = 0; i + 16 <= size; i++)
        if (memcmp(whole + i, "psc_plugin_entry", 16) == 0) whole[i] = 'q';
    write_file(whole, size);
    REFUSED(load(), PSC_ERROR_PLUGIN, "tried.so", "is not a pythiascope plugin",
        "no function psc_plugin_entry");
}
#endif

Test(plugin_file, other_kinds_of_files) {
    write_file("INPUT(libm.so)\n", 15);
    MUST_REFUSE("is not a shared object");
    write_file("!<arch>\nfoo.o/", 14);
    MUST_REFUSE("is a static library; build the plugin with -shared");
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    MUST_REFUSE("is not a regular file");
    unlink(path);
    cr_assert_eq(mkdir(path, 0700), 0);
    MUST_REFUSE("is a directory; pass the plugin's file in it");
    rmdir(path);
    MUST_REFUSE("No such file");
    cr_assert_eq(symlink("/dev/zero", path), 0);
    MUST_REFUSE("is not a regular file");
    unlink(path);
    cr_assert_eq(symlink(path, path), 0);
    MUST_REFUSE("symbolic links");
}

/* A pipe whose writer has the plugin ready: still refused, and not waited for. */
Test(plugin_file, a_pipe_with_a_writer) {
    cr_assert_eq(mkfifo(path, 0600), 0);
    const int keeper = open(path, O_RDWR | O_NONBLOCK);
    cr_assert(keeper >= 0 && write(keeper, whole, 4096) == 4096);
    MUST_REFUSE("is not a regular file");
    close(keeper);
}

#if defined(__linux__)
Test(plugin_file, another_machine) {
    const unsigned char machine = whole[18], width = whole[4], order = whole[5], kind = whole[16];
    whole[18] = machine == 62 ? 183 : 62;
    write_file(whole, size);
    MUST_REFUSE("was built for another kind of processor");
    whole[18] = machine;
    whole[4] = 1;
    write_file(whole, size);
    MUST_REFUSE("was built for another word size");
    whole[4] = width;
    whole[5] = 3 - order;
    write_file(whole, size);
    MUST_REFUSE("was built for another kind of processor");
    whole[5] = order;
    whole[16] = 1; /* ET_REL, an object file */
    write_file(whole, size);
    MUST_REFUSE("is not a shared object; build it with -shared");
    whole[16] = kind;
}
#endif

/* --- Mach-O, on any machine ------------------------------------------------------------------ */

static const psc_machine arm = {64, 183, 0x0100000c};

static void put(unsigned char *at, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++) at[i] = (unsigned char)(value >> (8 * i));
}

/* A bundle of one segment that ends at byte 4096. */
static void make_bundle(unsigned char *out) {
    memset(out, 0, 256);
    put(out, 0xfeedfacf, 4);
    put(out + 4, arm.mach_cpu, 4);
    put(out + 12, 8, 4);
    put(out + 16, 1, 4);
    put(out + 20, 72, 4);
    put(out + 32, 0x19, 4);
    put(out + 36, 72, 4);
    put(out + 32 + 40, 0, 8);
    put(out + 32 + 48, 4096, 8);
}

Test(plugin_file, mach_bundles) {
    unsigned char head[256], fat[8 + 20];
    make_bundle(head);
    cr_assert_null(psc_mach_fault(head, sizeof head, 4096, &arm));
    cr_assert(strstr(psc_mach_fault(head, sizeof head, 4095, &arm), "cut short"));
    cr_assert(strstr(psc_mach_fault(head, 20, 20, &arm), "cut short"));
    put(head + 36, 0, 4);
    cr_assert(strstr(psc_mach_fault(head, sizeof head, 4096, &arm), "damaged"));
    put(head + 36, UINT32_MAX, 4);
    cr_assert(strstr(psc_mach_fault(head, sizeof head, 4096, &arm), "damaged"));
    make_bundle(head);
    put(head + 20, UINT32_MAX, 4);
    cr_assert(strstr(psc_mach_fault(head, sizeof head, 4096, &arm), "cut short"));
    make_bundle(head);
    put(head + 4, 0x01000007, 4);
    cr_assert(strstr(psc_mach_fault(head, sizeof head, 4096, &arm), "another kind"));
    make_bundle(head);
    put(head + 12, 2, 4); /* a program */
    cr_assert(strstr(psc_mach_fault(head, sizeof head, 4096, &arm), "-shared"));
    memcpy(fat, "\xca\xfe\xba\xbe\0\0\0\1\1\0\0\x0c\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0", sizeof fat);
    cr_assert_null(psc_mach_fault(fat, sizeof fat, 512, &arm));
    cr_assert(strstr(psc_mach_fault(fat, sizeof fat, 511, &arm), "cut short"));
    fat[11] = 7;
    cr_assert(strstr(psc_mach_fault(fat, sizeof fat, 512, &arm), "another kind"));
}
