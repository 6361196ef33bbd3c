/* Shared by the tokenizer's files: its tables, and the working memory of one encode call.
 * Private to tokenizer*.c and test_tokenizer_*.c.
 * Threads: psc_tokenizer is written while it opens and only read afterwards; working memory belongs
 * to one call of psc_tokenizer_encode.
 * Ownership: psc_tokenizer_close frees the tables; each call frees its working memory. */
#ifndef TOKENIZER_PRIVATE_H
#define TOKENIZER_PRIVATE_H

#include "arena.h"
#include "tokenizer.h"
#include "utf8.h"

/* The largest id + 1, so that a table by id stays small for any file. */
#define PSC_TOKENIZER_IDS (1 << 22)

enum {
    PSC_ENTRY_PRESENT = 1,
    PSC_ENTRY_CODED = 2, /* its text is in the byte alphabet: it can be a whole word */
    PSC_ENTRY_ADDED = 4,
    PSC_ENTRY_SPECIAL = 8
};

typedef struct psc_token_entry {
    uint32_t offset, bytes; /* in psc_tokenizer.bytes; a 0 byte follows */
    uint32_t flags;
} psc_token_entry;

/* (left, right) becomes result; lower ranks first. result < 0: a free slot. */
typedef struct psc_merge {
    int32_t left, right, result;
    uint32_t rank;
} psc_merge;

typedef struct psc_added_token {
    char *content; /* the text to match: normalized if the token is */
    size_t bytes;  /* 0: another entry replaces it */
    int32_t id;
    bool single_word, lstrip, rstrip;
} psc_added_token;

/* A trie node, with a list of children. Index 0 is the root and also means none. */
typedef struct psc_trie_node {
    uint32_t child, sibling;
    int32_t token; /* index into tokens, or -1 */
    unsigned char byte;
} psc_trie_node;

typedef struct psc_added_set {
    psc_added_token *tokens;
    size_t n_tokens, capacity;
    psc_trie_node *nodes;
    uint32_t n_nodes;
    uint32_t first[256]; /* the root's children by byte */
} psc_added_set;

/* What becomes of a pattern's matches: each a piece of its own; neighbors of one kind joined;
 * joined to the text before, or after it. */
typedef enum psc_split_behavior {
    PSC_SPLIT_ISOLATED,
    PSC_SPLIT_CONTIGUOUS,
    PSC_SPLIT_WITH_PREVIOUS,
    PSC_SPLIT_WITH_NEXT
} psc_split_behavior;

/* A step of the pre-tokenizer before ByteLevel. */
typedef struct psc_split_step {
    void *pattern;
    psc_split_behavior behavior;
    bool invert; /* what does not match counts as a match, and the reverse */
} psc_split_step;

enum { PSC_TOKENIZER_STEPS = 8 };

struct psc_tokenizer {
    bool nfc, prefix_space, use_regex, ignore_merges, fuse_unknown;
    bool adds_bos;       /* the post-processor puts tokens in front */
    int32_t n_steps;     /* of steps */
    int32_t unknown;     /* the id for bytes without an entry, or -1 */
    int32_t named_bos;   /* of tokenizer_config.json, or -1 */
    int32_t end_of_text; /* <|endoftext|> or -1 */
    int32_t size;        /* entries: highest id + 1 */
    int32_t n_present;   /* entries of the model's vocabulary */
    uint32_t capacity;   /* of entries */
    psc_token_entry *entries;
    char *bytes;
    size_t n_bytes, bytes_capacity;
    int32_t byte_ids[256]; /* the token of one byte, or -1 */
    psc_merge *merges;     /* open addressing, merge_mask + 1 slots */
    uint32_t merge_mask;
    int32_t *words; /* with ignore_merges: ids by their bytes, open addressing; -1: free */
    uint32_t word_mask;
    psc_added_set raw, normalized; /* matched before and after normalization */
    psc_split_step steps[PSC_TOKENIZER_STEPS];
    void *pattern; /* the compiled pattern of ByteLevel's words */
};

/* A map from normalized text to its source: normalized byte `text` is source byte `source`; bytes
 * between two points map in proportion. Without points the text is its own source. */
typedef struct psc_map_point {
    uint32_t text, source;
} psc_map_point;

typedef struct psc_normal_text {
    char *text;
    size_t bytes, capacity;
    psc_map_point *points; /* the first is 0, 0, the last both lengths */
    size_t n_points, points_capacity;
} psc_normal_text;

/* [start, end) of a text: the added token id, or plain text when id < 0. */
typedef struct psc_piece {
    int32_t id;
    size_t start, end;
} psc_piece;

typedef struct psc_pieces {
    psc_piece *at;
    size_t n, capacity;
} psc_pieces;

/* Working memory of psc_tk_merge_word. */
typedef struct psc_symbol {
    int32_t id;
    uint32_t bytes; /* 0: merged into another */
    uint32_t previous, next;
} psc_symbol;

typedef struct psc_candidate {
    uint32_t rank, at;
    int32_t result;
} psc_candidate;

typedef struct psc_word_scratch {
    psc_symbol *symbols; /* after a call the n tokens of the word */
    size_t n, capacity;
    psc_candidate *heap;
    size_t n_heap, heap_capacity;
} psc_word_scratch;

/* tokenizer_json.c, tokenizer_vocab.c, tokenizer_added.c: opening. The json_t pointers are jansson
 * values. A message names the field; the caller puts the path before it. */
struct json_t;
/* Refuses a model that is not BPE. */
psc_status psc_tk_check_model(const struct json_t *model, psc_error *error);
psc_status psc_tk_load_model(
    psc_tokenizer *tokenizer, const struct json_t *model, psc_error *error);
psc_status psc_tk_load_pre_tokenizer(
    psc_tokenizer *tokenizer, const struct json_t *item, psc_error *error);
psc_status psc_tk_add_entry(psc_tokenizer *tokenizer, int32_t id, const char *text, size_t bytes,
    uint32_t flags, const char *field, psc_error *error);
/* tokenizer_added_load.c: added tokens as they are collected. */
typedef struct psc_added_loader {
    psc_tokenizer *tokenizer;
    const struct json_t *vocab; /* text -> id */
    struct json_t *known;       /* the content of each token so far -> its id and place */
    int32_t greatest;           /* of their ids, or -1 */
} psc_added_loader;
typedef struct psc_added_flags {
    bool single_word, lstrip, rstrip, normalized, special;
} psc_added_flags;
/* The tokens of tokenizer.json. */
psc_status psc_tk_load_added(
    psc_added_loader *loader, const struct json_t *tokens, psc_error *error);
#define PSC_ANY_ID INT64_MIN
/* Adds a token. Like the library it takes the id of the content, or else the next free id; another
 * claimed id than that is refused. A known content keeps its id, and gets the flags if replace.
 * where names the entry in messages. */
psc_status psc_tk_add_token(psc_added_loader *loader, const char *content,
    const psc_added_flags *flags, int64_t claimed, bool replace, const char *where,
    psc_error *error);
/* The id of an added token, or -1. */
int32_t psc_tk_added_id(const psc_added_loader *loader, const char *content);
/* tokenizer_config.c: the tokens that other files of the folder name, and the beginning token. */
psc_status psc_tk_load_config(psc_added_loader *loader, const char *folder, psc_error *error);
psc_status psc_tk_build_trie(psc_added_set *set, psc_error *error);
void psc_tk_free_added(psc_added_set *set);

/* The byte that character c of the byte alphabet stands for, or -1. */
int psc_tk_byte_of(uint32_t c);
/* Decodes text (valid UTF-8 in the byte alphabet) to out (room for bytes); false, with out
 * undefined, when a character is not in the byte alphabet. */
bool psc_tk_uncode(char *out, size_t *n, const char *text, size_t bytes);

/* Splits text into added tokens of set and the text between them, by the library's rules. Pieces
 * may overlap where a stripping token covers another. */
psc_status psc_tk_find_added(
    psc_pieces *out, const psc_added_set *set, const char *text, size_t bytes, psc_error *error);

bool psc_tk_is_space(uint32_t c);
/* A letter, mark, digit or connector: \w of the library's added tokens. */
bool psc_tk_is_word(uint32_t c);
/* NFC of text (valid UTF-8) with its map, by the library's Unicode version: newer characters do not
 * change. *changed is false, and out empty, when text is NFC already. */
psc_status psc_tk_nfc(
    psc_normal_text *out, bool *changed, const char *text, size_t bytes, psc_error *error);
/* The source byte of byte `at` (<= bytes) of the normalized text. */
uint32_t psc_tk_map(const psc_normal_text *text, size_t at);
void psc_tk_free_text(psc_normal_text *text);

/* tokenizer_pattern.c: compiled patterns. A literal text is matched as it is. */
psc_status psc_tk_compile_words(void **pattern, psc_error *error);
psc_status psc_tk_compile_numbers(void **pattern, psc_error *error);
psc_status psc_tk_compile_pattern(
    void **pattern, const char *text, size_t bytes, bool is_literal, psc_error *error);
void psc_tk_free_pattern(void *pattern);

/* tokenizer_split.c. Each encode call needs its own match object. */
void *psc_tk_new_match(void);
void psc_tk_free_match(void *match);
/* Cuts text by a step; the pieces tile it. *end is where the next piece ends; call psc_tk_cut_next
 * until that is bytes. */
typedef struct psc_cutter {
    const psc_split_step *step;
    void *match;
    const char *text;
    size_t bytes, at;
    psc_piece next; /* the next match */
} psc_cutter;
psc_status psc_tk_cut_begin(psc_cutter *out, const psc_split_step *step, void *match,
    const char *text, size_t bytes, psc_error *error);
psc_status psc_tk_cut_next(size_t *end, psc_cutter *cutter, psc_error *error);
/* The end of the word that starts at byte `at` (< bytes). */
psc_status psc_tk_next_word(size_t *end, const void *pattern, void *match, const char *text,
    size_t bytes, size_t at, psc_error *error);

/* Merges the bytes of a nonempty word into tokens. */
psc_status psc_tk_merge_word(psc_word_scratch *out, const psc_tokenizer *tokenizer,
    const char *word, size_t bytes, psc_error *error);
uint64_t psc_tk_hash(const char *text, size_t bytes);
psc_merge *psc_tk_merge_slot(const psc_tokenizer *tokenizer, int32_t left, int32_t right);
/* The slot of psc_tokenizer.words with the id of these bytes, or a free one. */
int32_t *psc_tk_word_slot(const psc_tokenizer *tokenizer, const char *word, size_t bytes);

#endif
