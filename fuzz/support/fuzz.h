/* What the harnesses share: files in memory, parts of an input, a tiny model.
 * Private to fuzz/. Includes psc.h only.
 * Threads: one at a time.
 * Ownership: paths, folders and the model live until the program ends. */
#ifndef FUZZ_H
#define FUZZ_H

#include "psc.h"

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's entry; run_inputs.c calls it, too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input, or what is left of it. */
typedef struct fuzz_bytes {
    const uint8_t *data;
    size_t size;
} fuzz_bytes;

/* Takes the bytes up to the next separator, which is "\n\f\n", or all; the rest begins after it. */
fuzz_bytes fuzz_part(fuzz_bytes *rest);
/* Takes one byte, 0 at the end. */
unsigned fuzz_byte(fuzz_bytes *rest);
/* A copy with a 0 byte after it; the caller frees it by free(). */
char *fuzz_text(fuzz_bytes bytes);
/* The same with every occurrence of a mark replaced: names that a seed cannot know. */
char *fuzz_replace(size_t *size, fuzz_bytes bytes, const char *mark, const char *by);

/* A folder of this process, in memory where /dev/shm is; removed when the program ends. */
const char *fuzz_folder(void);
/* Its file of that name, which may lie in a subfolder; in one of eight rotating buffers. */
const char *fuzz_path(const char *name);
/* Writes the file and returns its path, in the same buffers. */
const char *fuzz_put(const char *name, fuzz_bytes bytes);
/* The same for an optional file: an empty part removes it. */
const char *fuzz_put_if(const char *name, fuzz_bytes bytes);
/* Writes a safetensors file. A part that begins with '{' is a header without its length;
 * data follow after "\f\f". */
const char *fuzz_put_tensors(const char *name, fuzz_bytes bytes);
void fuzz_make_folder(const char *name);

/* Aborts if a failed call left no sentence, one of several lines, or another status. */
void fuzz_check(psc_status status, const psc_error *error);
/* Reads every byte, so that a sanitizer sees one that is out of bounds. */
void fuzz_read(const void *data, size_t size);
/* Aborts after printing what is wrong. */
void fuzz_expect(int holds, const char *what);

/* A golden model of three layers, two heads and 16 dimensions with a tokenizer over bytes. */
const char *fuzz_model_folder(void);
psc_model *fuzz_model(void);
/* The folder "dictionary" of fuzz_folder(): a sparse dictionary of four latents for that model. */
const char *fuzz_dictionary(void);
#define FUZZ_CONTEXT 64
/* A session of one thread over it; the caller closes it. */
psc_session *fuzz_session(int accumulate);
/* Runs n <= FUZZ_CONTEXT tokens through sequence 0, which is truncated before. */
psc_status fuzz_run(psc_session *session, int32_t n, psc_error *error);

#endif
