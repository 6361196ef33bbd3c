/* What a file is, by its first bytes: for the sentence that refuses a file of another kind.
 * Private to base/, runtime/ and tests/. Includes psc_error.h only.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef FILE_KIND_H
#define FILE_KIND_H

#include "psc_error.h"

#include <stddef.h>

typedef enum psc_file_kind {
    PSC_FILE_OTHER,
    PSC_FILE_LFS_POINTER, /* git-lfs's text in place of a file */
    PSC_FILE_GGUF,        /* llama.cpp's format */
    PSC_FILE_ZIP,         /* PyTorch since 1.6, among others */
    PSC_FILE_OLD_TORCH,   /* PyTorch before 1.6, and its tar files */
    PSC_FILE_PICKLE,      /* any other pickle */
    PSC_FILE_SAFETENSORS,
    PSC_FILE_HDF5, /* Keras */
    PSC_FILE_HTML  /* a page in place of a download */
} psc_file_kind;

/* The bytes that psc_file_kind_of needs to see. */
#define PSC_FILE_KIND_BYTES 512

/* size: of what the caller has of the file, up to all of it. */
psc_file_kind psc_file_kind_of(const unsigned char *data, size_t size);
/* Fails with a sentence of what path is and what to do, if no reader here takes files of that kind;
 * otherwise PSC_OK. */
psc_status psc_file_kind_refuse(psc_file_kind kind, const char *path, psc_error *error);

#endif
