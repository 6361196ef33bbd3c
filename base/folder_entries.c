/* opendir and readdir with their errors told apart. */
#include "folder_entries.h"

#include <errno.h>
#include <string.h>

static psc_status failed(const char *path, psc_error *error) {
    const psc_status status = errno == ENOMEM ? PSC_ERROR_MEMORY : PSC_ERROR_IO;
    return psc_fail(error, status, "cannot read the folder %s: %s", path, strerror(errno));
}

psc_status psc_entries_open(DIR **out, const char *path, psc_error *error) {
    *out = opendir(path);
    return *out || errno == ENOENT || errno == ENOTDIR ? PSC_OK : failed(path, error);
}

psc_status psc_entries_next(const char **out, DIR *folder, const char *path, psc_error *error) {
    errno = 0;
    const struct dirent *entry = readdir(folder);
    *out = entry ? entry->d_name : NULL;
    return entry || errno == 0 ? PSC_OK : failed(path, error);
}
