/* A list of paths in a file or on standard input: one per line, or with 0 bytes between them.
 * Private to cli/. Includes psc_error.h only.
 * Threads: reentrant.
 * Ownership: cli_path_list_free frees what cli_path_list_read made. */
#ifndef PATH_LIST_H
#define PATH_LIST_H

#include "psc_error.h"

#include <stdint.h>

typedef struct cli_path_list {
    const char **paths; /* [n] */
    int32_t n;
    char *text;
} cli_path_list;

/* The `first` paths, which are borrowed, then those of the list `name` (- is standard input), as
 * they are written: relative to the working directory. Empty lines are none. Refuses a list without
 * paths, or of more than 1 GiB. */
psc_status cli_path_list_read(cli_path_list *out, const char *name, const char *const *first,
    int32_t n_first, psc_error *error);
void cli_path_list_free(cli_path_list *list);

#endif
