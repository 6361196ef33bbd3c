/* The tokenizer of a model folder: tokenizer.json's byte-level BPE, text to ids and back.
 * Private to runtime/ and tests/. Includes psc_error.h only.
 * Threads: an open tokenizer never changes; calls on a const tokenizer may run concurrently.
 * Ownership: opens and closes by **; the caller owns spans and text, the tokenizer token bytes. */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include "psc_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct psc_tokenizer psc_tokenizer;

/* One token of a text: its id and its bytes [start, end) of the text as given.
 *
 * The ranges tile the text: the first starts at 0, each starts where the previous one ends, the
 * last ends at the text's end. They are the offsets of the Hugging Face tokenizers library with
 * trim_offsets off (a leading space belongs to its token), made to tile by three rules:
 * - Tokens that share a character: the library gives each of them the whole character. Here each
 *   has its own bytes of it; rounded outward to whole characters the range is the library's.
 * - NFC made one character from several: the library's range covers only the first of them. Here
 *   the range covers all.
 * - Tokens that share source characters which NFC changed: byte k of the n bytes that s source
 *   bytes became is at floor(k s / n), at least 1 inside. With n > s a range may be empty.
 * A space that add_prefix_space put in front has no bytes of its own. */
typedef struct psc_token_span {
    int32_t id;
    uint32_t start, end;
} psc_token_span;

/* Reads a tokenizer.json: model BPE over bytes; normalizer null, NFC or a Sequence of it;
 * pre_tokenizer ByteLevel, perhaps after Split and Digits; post_processor null, ByteLevel or
 * TemplateProcessing, whose special tokens are not added. A decoder must be null or begin with
 * ByteLevel; decoding gives the tokens' own bytes. PSC_ERROR_SUPPORT names anything else;
 * truncation and padding are ignored, as by a call of transformers. */
psc_status psc_tokenizer_open(psc_tokenizer **out, const char *path, psc_error *error);
/* The same for folder/tokenizer.json, with the tokens that stand beside it in
 * tokenizer_config.json, or else in special_tokens_map.json and added_tokens.json, as transformers
 * adds them. A token whose listed id is not the one that transformers gives it is an error. */
psc_status psc_tokenizer_open_folder(psc_tokenizer **out, const char *folder, psc_error *error);
void psc_tokenizer_close(psc_tokenizer **tokenizer);

/* Splits text (UTF-8 of `bytes` bytes, at most 256 MiB, zero bytes allowed) into tokens, without a
 * token in front. The caller frees *spans (null when *n is 0) by psc_tokenizer_free_spans. */
psc_status psc_tokenizer_encode(psc_token_span **spans, size_t *n, const psc_tokenizer *tokenizer,
    const char *text, size_t bytes, psc_error *error);
/* The first tokens of the text: ends soon after `most` of them. More than
 * most: the text has more. */
psc_status psc_tokenizer_encode_first(psc_token_span **spans, size_t *n,
    const psc_tokenizer *tokenizer, const char *text, size_t bytes, size_t most, psc_error *error);
void psc_tokenizer_free_spans(psc_token_span *spans);

/* The highest id + 1. */
int32_t psc_tokenizer_size(const psc_tokenizer *tokenizer);

/* The token's own bytes, perhaps part of a character, with a 0 byte after them; null if no entry
 * has this id. They live as long as the tokenizer. */
const char *psc_tokenizer_bytes(const psc_tokenizer *tokenizer, int32_t id, size_t *bytes);

/* True for an added token with the flag `special`. */
bool psc_tokenizer_is_special(const psc_tokenizer *tokenizer, int32_t id);

/* The text of n ids, as from the library's ByteLevel decoder: ids without an entry produce nothing,
 * each maximal part of a broken character produces U+FFFD. A negative id is an error. *text has a 0
 * byte after its *bytes bytes; the caller frees it by free(). */
psc_status psc_tokenizer_decode(char **text, size_t *bytes, const psc_tokenizer *tokenizer,
    const int32_t *ids, size_t n, bool skip_special, psc_error *error);

/* The beginning token: the bos_token of tokenizer_config.json; else config_id, the bos_token_id of
 * config.json or -1, if it is an added token; else <|endoftext|>; else config_id. -1: none. */
int32_t psc_tokenizer_bos_of(const psc_tokenizer *tokenizer, int32_t config_id);
/* Whether tokenizer_config.json names a beginning token of the vocabulary. */
bool psc_tokenizer_names_bos(const psc_tokenizer *tokenizer);
/* psc_tokenizer_bos_of without a config. */
int32_t psc_tokenizer_bos(const psc_tokenizer *tokenizer);
/* Whether the library would put tokens in front of a text (post_processor); encode does not. */
bool psc_tokenizer_adds_bos(const psc_tokenizer *tokenizer);

#endif
