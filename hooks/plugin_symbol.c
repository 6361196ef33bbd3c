/* Looks a symbol up in an ELF file as the dynamic linker does, without loading the file.
 *
 *   PT_LOAD      address -> offset in the file
 *   PT_DYNAMIC   tags: the addresses of the symbols, of their names, and of one or two hash tables
 *   DT_GNU_HASH  n buckets, first symbol, n bloom words, shift; bloom[]; bucket[]; chain[]: hash of each
 *                symbol from the first on; bit 0 ends a bucket's chain
 *   DT_HASH      n buckets, n symbols; bucket[]; chain[]: the next symbol, or 0
 *
 * Every number is a stranger's: each range is compared with the one that it must lie in. */
#include "plugin_symbol.h"

#include <string.h>

#include "object_bytes.h"

enum { LOAD = 1, DYNAMIC = 2 }; /* segments */
enum { TAG_HASH = 4, TAG_NAMES = 5, TAG_SYMBOLS = 6, TAG_NAME_BYTES = 10 };
#define TAG_GNU_HASH UINT64_C(0x6ffffef5)
enum { NO_TYPE = 0, FUNCTION = 2, INDIRECT_FUNCTION = 10 }; /* what can be called */
enum { GLOBAL = 1, WEAK = 2, UNIQUE = 10 };                 /* what others find */
enum { VISIBLE = 0, PROTECTED = 3 };

/* Where the members stand: of 64 bits, and of 32. */
typedef struct layout {
    size_t header, phoff, phnum, segment, word;
    size_t p_offset, p_vaddr, p_filesz;
    size_t symbol, st_info, st_other, st_shndx, st_value;
} layout;

static const layout layout_64 = {64, 32, 56, 56, 8, 8, 16, 32, 24, 4, 5, 6, 8};
static const layout layout_32 = {52, 28, 44, 32, 4, 4, 8, 16, 16, 12, 13, 14, 4};

typedef struct range {
    const unsigned char *data; /* null: the file names none */
    uint64_t size;
} range;

typedef struct object {
    range file, segments;
    const layout *at;
    range symbols, names, hash, gnu_hash;
} object;

/* size bytes from an offset of the outer range on; none if it has fewer. */
static range part_of(range outer, uint64_t offset, uint64_t size) {
    if (!outer.data || !is_within(offset, size, outer.size)) return (range){NULL, 0};
    return (range){outer.data + offset, size};
}

static uint64_t word_at(const object *o, const unsigned char *at) {
    return own(at, o->at->word);
}

/* --- tables ---------------------------------------------------------------------------------- */

/* The bytes of the file that are loaded at an address, up to the end of their segment. */
static range loaded_at(const object *o, uint64_t address) {
    for (uint64_t i = 0; i < o->segments.size; i += o->at->segment) {
        const unsigned char *segment = o->segments.data + i;
        const uint64_t begin = word_at(o, segment + o->at->p_vaddr);
        const uint64_t bytes = word_at(o, segment + o->at->p_filesz);
        if (own(segment, 4) != LOAD || address < begin || address - begin >= bytes) continue;
        const range whole = part_of(o->file, word_at(o, segment + o->at->p_offset), bytes);
        return part_of(whole, address - begin, bytes - (address - begin));
    }
    return (range){NULL, 0};
}

static bool find_segments(object *o) {
    if (o->file.size < o->at->header) return false;
    const unsigned char *header = o->file.data;
    const uint64_t bytes = own(header + o->at->phnum, 2) * o->at->segment;
    o->segments = part_of(o->file, word_at(o, header + o->at->phoff), bytes);
    return o->segments.data != NULL;
}

/* Reads the tags; false if a table that one of them names is not in the file. */
static bool read_tags(object *o, range tags) {
    uint64_t name_bytes = 0;
    const size_t word = o->at->word;
    for (uint64_t i = 0; tags.size - i >= 2 * word; i += 2 * word) {
        const uint64_t tag = word_at(o, tags.data + i), value = word_at(o, tags.data + i + word);
        range *table = tag == TAG_HASH       ? &o->hash
                       : tag == TAG_GNU_HASH ? &o->gnu_hash
                       : tag == TAG_NAMES    ? &o->names
                       : tag == TAG_SYMBOLS  ? &o->symbols
                                             : NULL;
        if (tag == 0) break;
        if (tag == TAG_NAME_BYTES) name_bytes = value;
        if (!table) continue;
        *table = loaded_at(o, value);
        if (!table->data) return false;
    }
    o->names = part_of(o->names, 0, name_bytes);
    return o->symbols.data && o->names.data;
}

static bool find_tables(object *o) {
    for (uint64_t i = 0; i < o->segments.size; i += o->at->segment) {
        const unsigned char *segment = o->segments.data + i;
        if (own(segment, 4) != DYNAMIC) continue;
        const uint64_t bytes = word_at(o, segment + o->at->p_filesz);
        range tags = loaded_at(o, word_at(o, segment + o->at->p_vaddr));
        tags = part_of(tags, 0, bytes);
        return tags.data && read_tags(o, tags);
    }
    return false;
}

/* --- symbols --------------------------------------------------------------------------------- */

/* Whether a symbol has the name and is one that a caller of dlsym finds and may call. */
static psc_symbol compare(const object *o, uint64_t index, const char *name) {
    const size_t bytes = strlen(name) + 1;
    const range symbol = part_of(o->symbols, index * o->at->symbol, o->at->symbol);
    if (!symbol.data) return PSC_SYMBOL_DAMAGED;
    const range own_name = part_of(o->names, own(symbol.data, 4), bytes);
    if (!own_name.data || memcmp(own_name.data, name, bytes) != 0) return PSC_SYMBOL_ABSENT;
    const unsigned info = symbol.data[o->at->st_info], type = info & 15, binding = info >> 4;
    const unsigned seen = symbol.data[o->at->st_other] & 3;
    const bool defined = own(symbol.data + o->at->st_shndx, 2) != 0 &&
                         word_at(o, symbol.data + o->at->st_value) != 0;
    const bool found = (binding == GLOBAL || binding == WEAK || binding == UNIQUE) &&
                       (seen == VISIBLE || seen == PROTECTED);
    const bool callable = type == FUNCTION || type == INDIRECT_FUNCTION || type == NO_TYPE;
    return defined && found && callable ? PSC_SYMBOL_THERE : PSC_SYMBOL_ABSENT;
}

static psc_symbol find_by_gnu_hash(const object *o, const char *name) {
    const range table = o->gnu_hash;
    uint32_t hash = 5381;
    for (const char *c = name; *c; c++) hash = hash * 33 + (unsigned char)*c;
    if (table.size < 16) return PSC_SYMBOL_DAMAGED;
    const uint64_t n = own(table.data, 4), first = own(table.data + 4, 4);
    const uint64_t buckets = 16 + own(table.data + 8, 4) * o->at->word, chains = buckets + 4 * n;
    if (!is_within(buckets, 4 * n, table.size)) return PSC_SYMBOL_DAMAGED;
    if (n == 0) return PSC_SYMBOL_ABSENT;
    uint64_t index = own(table.data + buckets + 4 * (hash % n), 4);
    if (index == 0) return PSC_SYMBOL_ABSENT;
    if (index < first) return PSC_SYMBOL_DAMAGED;
    for (;; index++) {
        const range link = part_of(table, chains + 4 * (index - first), 4);
        if (!link.data) return PSC_SYMBOL_DAMAGED;
        const uint32_t value = (uint32_t)own(link.data, 4);
        const psc_symbol is =
            (value | 1) == (hash | 1) ? compare(o, index, name) : PSC_SYMBOL_ABSENT;
        if (is != PSC_SYMBOL_ABSENT || value & 1) return is;
    }
}

static psc_symbol find_by_hash(const object *o, const char *name) {
    const range table = o->hash;
    uint32_t hash = 0;
    for (const char *c = name; *c; c++) {
        hash = (hash << 4) + (unsigned char)*c;
        hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
    }
    if (table.size < 8) return PSC_SYMBOL_DAMAGED;
    const uint64_t n = own(table.data, 4), n_symbols = own(table.data + 4, 4);
    if (!is_within(8, 4 * (n + n_symbols), table.size)) return PSC_SYMBOL_DAMAGED;
    if (n == 0) return PSC_SYMBOL_ABSENT;
    uint64_t index = own(table.data + 8 + 4 * (hash % n), 4);
    for (uint64_t steps = 0; index != 0; steps++) { /* a chain may run in a circle */
        if (index >= n_symbols || steps >= n_symbols) return PSC_SYMBOL_DAMAGED;
        const psc_symbol is = compare(o, index, name);
        if (is != PSC_SYMBOL_ABSENT) return is;
        index = own(table.data + 8 + 4 * (n + index), 4);
    }
    return PSC_SYMBOL_ABSENT;
}

psc_symbol psc_elf_symbol(const unsigned char *file, size_t size, unsigned bits, const char *name) {
    object o = {.file = {file, size}, .at = bits == 64 ? &layout_64 : &layout_32};
    if (!find_segments(&o) || !find_tables(&o)) return PSC_SYMBOL_DAMAGED;
    if (o.gnu_hash.data) return find_by_gnu_hash(&o, name);
    return o.hash.data ? find_by_hash(&o, name) : PSC_SYMBOL_ABSENT;
}
