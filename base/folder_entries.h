/* The names in a folder, where an error is not taken for the end or for no folder.
 * Private to base/ and runtime/.
 * Threads: reentrant; one folder belongs to one thread at a time.
 * Ownership: the caller closes the folder by closedir. */
#ifndef FOLDER_ENTRIES_H
#define FOLDER_ENTRIES_H

#include "psc_error.h"

#include <dirent.h>

/* *out is null if nothing of that name is there, or no folder. */
psc_status psc_entries_open(DIR **out, const char *path, psc_error *error);
/* The next name in *out, valid until the next call; null at the end. */
psc_status psc_entries_next(const char **out, DIR *folder, const char *path, psc_error *error);

#endif
