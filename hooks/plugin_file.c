/* Compares a shared object's headers with the size of its file, and looks for a plugin's symbol.
 *
 *   ELF     identification, header, table of program headers: each segment [offset, offset + bytes)
 *   Mach-O  header, load commands: each segment likewise; a fat file holds one such file per machine
 *
 * The dynamic linker believes these numbers and maps the file: a page past its end is SIGBUS. */
#define _GNU_SOURCE /* dladdr, pread, on glibc */
#include "plugin_file.h"

#include "object_bytes.h"
#include "plugin_symbol.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The headers stand in the first bytes of every file that a linker makes. */
#define HEAD_BYTES ((size_t)64 << 10)

#define CUT_SHORT "is cut short: its headers name more bytes than it has; copy or build it again"
#define DAMAGED "is damaged: its headers contradict each other; copy or build it again"
#define DAMAGED_SYMBOLS "is damaged: its table of symbols leaves the file; copy or build it again"
#define NOT_SHARED "is not a shared object; build it with -shared"
#define OTHER_MACHINE "was built for another kind of processor; build it on this machine"
#define OTHER_WIDTH "was built for another word size than this program's; build it on this machine"
#define NOT_LIBRARY "is not a shared object; pass the file that the compiler's -shared made"

/* --- ELF ------------------------------------------------------------------------------------- */

enum { ELF_IDENT = 16, ELF_DYN = 3, ELF_REL = 1, ELF_LOAD = 1, ELF_DYNAMIC = 2 };

/* Where the members stand: of 64 bits, and of 32. */
typedef struct elf_layout {
    size_t header, phoff, phentsize, phnum, entry, word;
    size_t p_offset, p_filesz, p_memsz;
} elf_layout;

static const elf_layout elf_64 = {64, 32, 54, 56, 56, 8, 8, 32, 40};
static const elf_layout elf_32 = {52, 28, 42, 44, 32, 4, 4, 16, 20};

static const char *segment_fault(
    const unsigned char *entry, const elf_layout *at, size_t size, bool *dynamic) {
    const uint64_t type = own(entry, 4), offset = own(entry + at->p_offset, at->word);
    const uint64_t bytes = own(entry + at->p_filesz, at->word);
    *dynamic = *dynamic || (type == ELF_DYNAMIC && bytes > 0);
    if (type != ELF_LOAD && type != ELF_DYNAMIC) return NULL;
    if (!is_within(offset, bytes, size)) return CUT_SHORT;
    return own(entry + at->p_memsz, at->word) < bytes ? DAMAGED : NULL;
}

const char *psc_elf_fault(
    const unsigned char *head, size_t n, size_t size, const psc_machine *machine) {
    const elf_layout *at = machine->bits == 64 ? &elf_64 : &elf_32;
    if (n < ELF_IDENT || memcmp(head, "\177ELF", 4) != 0) return NOT_LIBRARY;
    if (head[4] != (machine->bits == 64 ? 2 : 1)) return OTHER_WIDTH;
    if (head[5] != (BIG_ENDIAN_HERE ? 2 : 1)) return OTHER_MACHINE;
    if (n < at->header) return CUT_SHORT;
    if (machine->elf && own(head + 18, 2) != machine->elf) return OTHER_MACHINE;
    if (own(head + 16, 2) != ELF_DYN) return NOT_SHARED;
    const uint64_t table = own(head + at->phoff, at->word), entries = own(head + at->phnum, 2);
    const uint64_t bytes = entries * at->entry;
    if (own(head + at->phentsize, 2) != at->entry || entries == 0) return DAMAGED;
    if (!is_within(table, bytes, size)) return CUT_SHORT;
    if (!is_within(table, bytes, n)) return DAMAGED;
    bool dynamic = false;
    for (uint64_t i = 0; i < entries; i++) {
        const char *fault = segment_fault(head + table + i * at->entry, at, size, &dynamic);
        if (fault) return fault;
    }
    return dynamic ? NULL : NOT_SHARED;
}

/* --- Mach-O ---------------------------------------------------------------------------------- */

#define MACH_64 UINT32_C(0xfeedfacf)
#define MACH_32 UINT32_C(0xfeedface)
#define MACH_FAT UINT32_C(0xcafebabe)
enum { MACH_HEADER = 32, MACH_SEGMENT = 0x19, MACH_DYLIB = 6, MACH_BUNDLE = 8, FAT_ENTRY = 20 };

/* One machine's file, at head; bytes of it are there. */
static const char *thin_fault(
    const unsigned char *head, size_t n, size_t size, const psc_machine *machine) {
    if (n < MACH_HEADER) return CUT_SHORT;
    if (own(head, 4) == MACH_32) return OTHER_WIDTH;
    if (own(head, 4) != MACH_64) return NOT_LIBRARY;
    const uint64_t kind = own(head + 12, 4), commands = own(head + 16, 4);
    if (machine->mach_cpu && own(head + 4, 4) != machine->mach_cpu) return OTHER_MACHINE;
    if (kind != MACH_DYLIB && kind != MACH_BUNDLE) return NOT_SHARED;
    if (!is_within(MACH_HEADER, own(head + 20, 4), size)) return CUT_SHORT;
    uint64_t at = MACH_HEADER;
    const uint64_t end = at + own(head + 20, 4);
    if (end > n) return DAMAGED;
    for (uint64_t i = 0; i < commands; i++) {
        if (end - at < 8) return DAMAGED;
        const uint64_t bytes = own(head + at + 4, 4);
        if (bytes < 8 || bytes > end - at) return DAMAGED;
        if (own(head + at, 4) == MACH_SEGMENT) {
            if (bytes < 72) return DAMAGED;
            if (!is_within(own(head + at + 40, 8), own(head + at + 48, 8), size)) return CUT_SHORT;
        }
        at += bytes;
    }
    return NULL;
}

const char *psc_mach_fault(
    const unsigned char *head, size_t n, size_t size, const psc_machine *machine) {
    if (n < 8) return NOT_LIBRARY;
    if (number(head, 4, true) != MACH_FAT) return thin_fault(head, n, size, machine);
    const uint64_t entries = number(head + 4, 4, true);
    for (uint64_t i = 0; i < entries; i++) {
        const uint64_t entry = 8 + i * FAT_ENTRY;
        if (!is_within(entry, FAT_ENTRY, n)) return CUT_SHORT;
        const uint64_t offset = number(head + entry + 8, 4, true);
        if (!is_within(offset, number(head + entry + 12, 4, true), size)) return CUT_SHORT;
        if (machine->mach_cpu && number(head + entry, 4, true) == machine->mach_cpu) return NULL;
    }
    return OTHER_MACHINE;
}

/* --- the file -------------------------------------------------------------------------------- */

/* From the headers of the image that this code is in; 0 where the system does not show them. */
static psc_machine this_machine(void) {
    psc_machine machine = {.bits = 8 * sizeof(void *)};
    Dl_info image;
    if (dladdr(&elf_64, &image) == 0 || !image.dli_fbase) return machine;
    const unsigned char *head = image.dli_fbase;
    if (memcmp(head, "\177ELF", 4) == 0)
        machine.elf = (unsigned)own(head + 18, 2);
    else if (own(head, 4) == MACH_64)
        machine.mach_cpu = (unsigned)own(head + 4, 4);
    return machine;
}

static const char *fault_of_head(const unsigned char *head, size_t n, size_t size) {
    const psc_machine machine = this_machine();
    if (size == 0) return "is empty; copy or build it again";
    if (n >= 8 && memcmp(head, "!<arch>\n", 8) == 0)
        return "is a static library; build the plugin with -shared";
#if defined(__APPLE__)
    return psc_mach_fault(head, n, size, &machine);
#else
    return psc_elf_fault(head, n, size, &machine);
#endif
}

static const char *fault_of_kind(mode_t mode) {
    if (S_ISREG(mode)) return NULL;
    if (S_ISDIR(mode)) return "is a directory; pass the plugin's file in it";
    return "is not a regular file; pass the path of a plugin's file";
}

/* The first bytes of the file; false, with errno, if they cannot be read. */
static bool read_head(int file, unsigned char *head, size_t *n) {
    *n = 0;
    while (*n < HEAD_BYTES) {
        const ssize_t got = pread(file, head + *n, HEAD_BYTES - *n, (off_t)*n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) return true;
        *n += (size_t)got;
    }
    return true;
}

static psc_status cannot_read(const char *path, psc_error *error) {
    return psc_fail(
        error, PSC_ERROR_PLUGIN, "cannot load plugin '%.300s': %s", path, strerror(errno));
}

static psc_status no_memory(const char *path, psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to load plugin '%.300s'", path);
}

static psc_status refuse(const char *path, const char *fault, psc_error *error) {
    return psc_fail(error, PSC_ERROR_PLUGIN, "cannot load plugin '%.300s': it %s", path, fault);
}

static psc_status check_headers(int file, size_t size, const char *path, psc_error *error) {
    size_t n = 0;
    const char *fault = NULL;
    unsigned char *head = malloc(HEAD_BYTES);
    if (!head) return no_memory(path, error);
    const bool read = read_head(file, head, &n);
    if (read) fault = fault_of_head(head, n, size);
    free(head);
    if (!read) return cannot_read(path, error);
    return fault ? refuse(path, fault, error) : PSC_OK;
}

/* dlopen runs a library's constructors, so what is no plugin is refused before. Of Mach-O files
 * dlsym looks the symbol up, after the constructors. */
static psc_status check_symbol(int file, size_t size, const char *path, psc_error *error) {
#if defined(__APPLE__)
    (void)file, (void)size, (void)path, (void)error;
    return PSC_OK;
#else
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED) return cannot_read(path, error);
    const psc_symbol symbol =
        psc_elf_symbol(bytes, size, 8 * sizeof(void *), PSC_PLUGIN_SYMBOL_NAME);
    munmap(bytes, size);
    if (symbol == PSC_SYMBOL_DAMAGED) return refuse(path, DAMAGED_SYMBOLS, error);
    if (symbol == PSC_SYMBOL_ABSENT) return psc_plugin_no_symbol(path, error);
    return PSC_OK;
#endif
}

psc_status psc_plugin_no_symbol(const char *path, psc_error *error) {
    return psc_fail(error, PSC_ERROR_PLUGIN,
        "'%.300s' is not a pythiascope plugin: it has no function " PSC_PLUGIN_SYMBOL_NAME, path);
}

static psc_status check_open(int file, const char *path, psc_error *error) {
    struct stat facts;
    if (fstat(file, &facts) != 0) return cannot_read(path, error);
    const char *fault = fault_of_kind(facts.st_mode);
    if (fault) return refuse(path, fault, error);
    const size_t size = (size_t)facts.st_size;
    const psc_status status = check_headers(file, size, path, error);
    return status ? status : check_symbol(file, size, path, error);
}

psc_status psc_plugin_file_check(const char *path, psc_error *error) {
    const int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return cannot_read(path, error);
    const psc_status status = check_open(file, path, error);
    close(file);
    return status;
}
