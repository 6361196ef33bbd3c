/* Files: mapped read-only, read whole with a cap, and written whole or not at all.
 * Private to base/, runtime/, report/ and tests/. Includes psc_error.h only.
 * Threads: all calls are reentrant; one output directory belongs to one thread at a time.
 * Ownership: objects close the way they open, by * or **; the caller frees read data by free(). */
#ifndef FILES_H
#define FILES_H

#include "psc_error.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Identifies one state of a file without reading it. */
typedef struct psc_file_facts {
    uint64_t size, device, inode;
    int64_t modified; /* ns since 1970 */
    int64_t changed;  /* of the inode, which no program can set back */
} psc_file_facts;

/* A read-only mapping. data is page-aligned, null when size is 0. */
typedef struct psc_mapping {
    const unsigned char *data;
    size_t size;
    psc_file_facts facts; /* of the file, when it was mapped */
} psc_mapping;

/* Maps the whole of a regular file. The size is that at the time of the call: if another program
 * cuts the file short later, access beyond its new end raises SIGBUS. */
psc_status psc_map_file(psc_mapping *out, const char *path, psc_error *error);
void psc_unmap_file(psc_mapping *mapping);
/* The current facts; false unless path names a regular file. */
bool psc_file_examine(psc_file_facts *out, const char *path);
bool psc_file_same(const psc_file_facts *a, const psc_file_facts *b);

/* Fresh zeroed memory in pages of its own, huge ones where the system offers them; psc_unmap_file
 * releases it. The caller may write to it until psc_memory_seal. */
psc_status psc_map_memory(psc_mapping *out, size_t size, psc_error *error);
/* Makes the memory read-only. */
void psc_memory_seal(const psc_mapping *mapping);
/* Gives back the pages of a file's mapping within [data, data + size); the next access reads them
 * again. Does nothing where the system has no such call. */
void psc_drop_pages(const void *data, size_t size);

/* Reads a whole regular file of at most cap bytes into *data, with a 0 byte after the last one; the
 * caller frees it by free(). A larger file is refused by its size, before any read. */
psc_status psc_read_file(char **data, size_t *size, const char *path, size_t cap, psc_error *error);

/* False only when path names nothing that exists: of what cannot be looked at, opening says why. */
bool psc_path_exists(const char *path);

/* Whether path ends in suffix: ".txt". */
bool psc_path_ends(const char *path, const char *suffix);
/* folder/name in fresh memory, which the caller frees by free(); null when memory runs out. */
char *psc_path_join(const char *folder, const char *name);

/* The rule for what appears whole or not at all. It is written under a temporary name beside its
 * target, .<name>.psc-tmp, which is fixed and held by a lock. Two processes never write under one
 * name: the second waits for five seconds, then gets an error. What a killed process left is
 * removed when the same target is written or checked next. A file found under the name is never
 * written to, and a link never followed. Where the file system has no locks, the name gets the
 * process's number, and what a killed process left stays. */
typedef struct psc_temporary {
    char *path; /* null: closed */
    int fd;     /* new and empty, for reading and writing */
} psc_temporary;

/* cannot begins the error's sentence: "cannot write". */
psc_status psc_temporary_open(
    psc_temporary *out, const char *path, const char *cannot, psc_error *error);
/* Syncs the file, gives it its name by a rename and closes it; on failure the file is removed. */
psc_status psc_temporary_commit(psc_temporary *temporary, const char *path, psc_error *error);
/* Removes the file unless it was committed. Does nothing for {NULL, -1}, as which it leaves it. */
void psc_temporary_close(psc_temporary *temporary);
/* Removes what a dead process left under the temporary name of path, which is not written now. */
void psc_temporary_sweep(const char *path);

/* Syncs a folder, where the file system can. */
void psc_folder_sync(const char *path);
/* Removes what path names, a folder with all that is in it; follows no link. 0 also if nothing is
 * there, or -1 with errno set. */
int psc_folder_remove(const char *path);

/* Keep INT, TERM and HUP from this thread, so that they wait until a file or folder is whole. The
 * calls below do so themselves. SIGQUIT still ends the process at once, as SIGKILL does. */
void psc_signals_hold(sigset_t *before);
void psc_signals_release(const sigset_t *before);

/* Writes data to the temporary file of path, syncs it and renames it onto path. If path is a
 * symbolic link, the link stays and the file that it names is replaced. */
psc_status psc_write_file(const char *path, const void *data, size_t size, psc_error *error);
/* The same, but a symbolic link is replaced itself: for folders where others may plant one. */
psc_status psc_replace_file(const char *path, const void *data, size_t size, psc_error *error);
/* Checks in advance that psc_write_file can make the file. Leaves nothing. */
psc_status psc_check_file(const char *path, psc_error *error);

/* A directory that appears under its name whole or not at all: the files go to a temporary
 * directory beside it, .<name>.psc-tmp.d, which commit syncs and renames. The target must not exist
 * or must be an empty directory; its parent must exist and be writable. From begin to commit or
 * abort INT, TERM and HUP are kept from the thread. */
typedef struct psc_output psc_output;

psc_status psc_output_begin(psc_output **out, const char *path, psc_error *error);
/* Opens a new file of the directory for writing. name is a file name, or names with slashes between
 * them, whose folders are made; "." and ".." are refused. */
psc_status psc_output_open(FILE **file, psc_output *output, const char *name, psc_error *error);
/* Flushes, syncs and closes *file, which becomes null, also on failure. The call reports every
 * earlier write error of the stream, so callers need not check each write. */
psc_status psc_output_close(FILE **file, psc_output *output, const char *name, psc_error *error);
/* Opens, writes and closes one file. */
psc_status psc_output_write(
    psc_output *output, const char *name, const void *data, size_t size, psc_error *error);
/* Gives the directory its name and closes *output. On failure the files are removed. */
psc_status psc_output_commit(psc_output **output, psc_error *error);
/* Removes the files and closes *output, which may be null and becomes null. */
void psc_output_abort(psc_output **output);

#endif
