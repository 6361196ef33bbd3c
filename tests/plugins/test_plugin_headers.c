/* Headers of shared objects made here, for 64 and for 32 bits, and of Mach-O: each number that lies
 * has its sentence. On this machine they are checked for any machine. */
#include "plugin_file.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#define CUT "is cut short: its headers name more bytes than it has; copy or build it again"
#define DAMAGED "is damaged: its headers contradict each other; copy or build it again"
#define NOT_SHARED "is not a shared object; build it with -shared"
#define OTHER_MACHINE "was built for another kind of processor; build it on this machine"
#define OTHER_WIDTH "was built for another word size than this program's; build it on this machine"
#define NOT_LIBRARY "is not a shared object; pass the file that the compiler's -shared made"

static unsigned char head[1024];

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
static const bool big = true;
#else
static const bool big = false;
#endif

/* A number in the byte order of this machine. */
static void put(size_t at, size_t n, uint64_t value) {
    for (size_t i = 0; i < n; i++)
        head[at + (big ? n - 1 - i : i)] = (unsigned char)(value >> (8 * i));
}

static void said(const char *fault, const char *sentence) {
    if (!sentence)
        cr_assert_null(fault, "%s", fault);
    else
        cr_assert(fault && strcmp(fault, sentence) == 0, "%s, not %s", fault, sentence);
}

/* --- ELF ------------------------------------------------------------------------------------- */

enum { SIZE = 4096 };

/* Where the members stand, of 64 bits and of 32. */
typedef struct places {
    psc_machine machine;
    size_t word, phoff, phentsize, phnum, header, entry, offset, filesz, memsz;
} places;

static const places widths[] = {{{64, 62, 0}, 8, 32, 54, 56, 64, 56, 8, 32, 40},
    {{32, 3, 0}, 4, 28, 42, 44, 52, 32, 4, 16, 20}};

/* A shared object of two segments: what is loaded, [0, 4096), and the dynamic section in it. */
static void make_elf(const places *p) {
    memset(head, 0, sizeof head);
    memcpy(head, "\177ELF", 4);
    head[4] = p->word == 8 ? 2 : 1;
    head[5] = big ? 2 : 1;
    put(16, 2, 3);
    put(18, 2, p->machine.elf);
    put(p->phoff, p->word, p->header);
    put(p->phentsize, 2, p->entry);
    put(p->phnum, 2, 2);
    for (size_t i = 0; i < 2; i++) {
        const size_t at = p->header + i * p->entry;
        put(at, 4, 1 + i);
        put(at + p->offset, p->word, i * 512);
        put(at + p->filesz, p->word, i ? 64 : SIZE);
        put(at + p->memsz, p->word, i ? 64 : SIZE);
    }
}

static void elf(const places *p, size_t n, const char *sentence) {
    said(psc_elf_fault(head, n, SIZE, &p->machine), sentence);
}

/* The headers with a number changed. */
static void changed(const places *p, size_t at, size_t n, uint64_t value, const char *sentence) {
    make_elf(p);
    put(at, n, value);
    elf(p, sizeof head, sentence);
}

Test(plugin_headers, whole_shared_objects) {
    for (const places *p = widths; p < widths + 2; p++) {
        make_elf(p);
        elf(p, sizeof head, NULL);
        const psc_machine unknown = {p->machine.bits, 0, 0};
        said(psc_elf_fault(head, sizeof head, SIZE, &unknown), NULL);
        said(psc_elf_fault(head, sizeof head, SIZE, &widths[p == widths].machine), OTHER_WIDTH);
    }
}

Test(plugin_headers, elf_numbers) {
    for (const places *p = widths; p < widths + 2; p++) {
        const size_t first = p->header, second = first + p->entry;
        changed(p, 0, 1, 'E', NOT_LIBRARY);
        changed(p, 4, 1, 0, OTHER_WIDTH);
        changed(p, 5, 1, 0, OTHER_MACHINE);
        changed(p, 16, 2, 2, NOT_SHARED);
        changed(p, 18, 2, 20, OTHER_MACHINE);
        changed(p, p->phentsize, 2, p->entry + 1, DAMAGED);
        changed(p, p->phnum, 2, 0, DAMAGED);
        changed(p, p->phnum, 2, 0xffff, CUT);
        changed(p, p->phoff, p->word, SIZE - 1, CUT);
        changed(p, p->phoff, p->word, UINT64_MAX >> (64 - 8 * p->word), CUT);
        changed(p, p->phoff, p->word, 2048, DAMAGED); /* behind what a linker writes first */
        changed(p, first + p->offset, p->word, 1, CUT);
        changed(p, first + p->filesz, p->word, SIZE + 1, CUT);
        changed(p, first + p->memsz, p->word, SIZE - 1, DAMAGED);
        changed(p, first + p->memsz, p->word, SIZE + 1, NULL); /* zeros behind the file's bytes */
        changed(p, second + p->offset, p->word, SIZE, CUT);
        changed(p, second, 4, 7, NOT_SHARED); /* no dynamic section */
        changed(p, second + p->filesz, p->word, 0, NOT_SHARED);
        changed(p, first, 4, 7, NULL); /* a segment that the linker does not map */
        make_elf(p);
        elf(p, 15, NOT_LIBRARY);
        elf(p, p->header - 1, CUT);
        elf(p, p->header, DAMAGED);
    }
}

/* --- Mach-O ---------------------------------------------------------------------------------- */

static const psc_machine arm = {64, 183, 0x0100000c};

/* A library with one segment, [0, 4096), and one short command behind it. */
static void make_mach(void) {
    memset(head, 0, sizeof head);
    put(0, 4, 0xfeedfacf);
    put(4, 4, arm.mach_cpu);
    put(12, 4, 6);
    put(16, 4, 2);
    put(20, 4, 80);
    put(32, 4, 0x19);
    put(36, 4, 72);
    put(32 + 48, 8, SIZE);
    put(32 + 72, 4, 0x1b);
    put(32 + 72 + 4, 4, 8);
}

static void mach(size_t at, size_t n, uint64_t value, const char *sentence) {
    make_mach();
    put(at, n, value);
    said(psc_mach_fault(head, sizeof head, SIZE, &arm), sentence);
}

Test(plugin_headers, mach_numbers) {
    mach(0, 4, 0xfeedfacf, NULL);
    mach(0, 4, 0xfeedface, OTHER_WIDTH);
    mach(0, 4, 0x12345678, NOT_LIBRARY);
    mach(12, 4, 8, NULL);
    mach(12, 4, 2, NOT_SHARED);
    mach(4, 4, 7, OTHER_MACHINE);
    mach(16, 4, 1, NULL);
    mach(16, 4, 3, DAMAGED); /* a command behind the last */
    mach(20, 4, SIZE, CUT);
    mach(20, 4, 2000, DAMAGED); /* more commands than a linker writes first */
    mach(20, 4, 76, DAMAGED);   /* the last command is cut */
    mach(36, 4, 7, DAMAGED);
    mach(36, 4, 16, DAMAGED); /* too short for a segment */
    mach(32 + 40, 8, 1, CUT);
    mach(32 + 48, 8, SIZE + 1, CUT);
    const psc_machine unknown = {64, 0, 0};
    mach(4, 4, 7, OTHER_MACHINE);
    said(psc_mach_fault(head, sizeof head, SIZE, &unknown), NULL);
    said(psc_mach_fault(head, 7, 7, &arm), NOT_LIBRARY);
}

/* A file of n machines' files; its numbers are big-endian everywhere. */
Test(plugin_headers, fat_files) {
    memset(head, 0, sizeof head);
    memcpy(head, "\xca\xfe\xba\xbe\0\0\0\2", 8);
    said(psc_mach_fault(head, 8 + 39, SIZE, &arm), CUT);
    memcpy(head + 28, "\1\0\0\x0c\0\0\0\0\0\0\2\0\0\0\2\0", 16);
    said(psc_mach_fault(head, sizeof head, SIZE, &arm), NULL);
    said(psc_mach_fault(head, sizeof head, 1023, &arm), CUT);
    const psc_machine unknown = {64, 0, 0};
    said(psc_mach_fault(head, sizeof head, SIZE, &unknown), OTHER_MACHINE);
    head[7] = 0;
    said(psc_mach_fault(head, sizeof head, SIZE, &arm), OTHER_MACHINE);
}
