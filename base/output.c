/* An output directory that appears whole or not at all.
 *   begin:  locks the target's temporary name (temporary.c), creates .<name>.psc-tmp.d/ beside it
 *   commit: syncs every file and the directories, then gives it its name by one rename
 *   abort:  removes the files by the names that are known, which needs no memory
 * POSIX lets a directory be renamed onto an empty one and refuses one that is not empty. A target
 * that another program fills meanwhile is therefore never lost. */
#undef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct psc_output {
    char *target; /* no trailing slash; resolved when it existed */
    psc_temporary lock;
    char *temporary; /* a sibling of target; null before it exists */
    mode_t mode;     /* of the empty directory that it replaces; 0 for none */
    char **files;    /* [n_files] paths in temporary, in the order of their making */
    size_t n_files, room;
    sigset_t before; /* the thread's signals */
};

#define CANNOT "cannot create the output folder"

static psc_status refuse(psc_error *error, const char *path, const char *reason) {
    return psc_fail(error, PSC_ERROR_IO, CANNOT " %s: %s", path, reason);
}

/* 1 when the directory holds no entry, 0 when it holds some, -1 when it cannot be read. */
static int is_empty(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return -1;
    int empty = 1;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = 0;
    closedir(dir);
    return empty;
}

/* Sets target and mode from path: a new name, or an empty directory. */
static psc_status check_target(psc_output *output, const char *path, psc_error *error) {
    struct stat info;
    if (!*path) return psc_fail(error, PSC_ERROR_INPUT, "the output folder's name is empty");
    if (lstat(path, &info) != 0) {
        if (errno != ENOENT) return refuse(error, path, strerror(errno));
        output->target = strdup(path);
        if (!output->target)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
        size_t n = strlen(path);
        while (n > 1 && output->target[n - 1] == '/') output->target[--n] = 0;
        return PSC_OK;
    }
    output->target = realpath(path, NULL);
    if (!output->target || stat(output->target, &info) != 0)
        return refuse(error, path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) return refuse(error, path, "a file with that name exists");
    int empty = is_empty(output->target);
    if (empty < 0) return refuse(error, path, strerror(errno));
    if (!empty) {
        psc_temporary_sweep(output->target); /* its maker may have died after the rename */
        return refuse(error, path, "it exists and is not empty; use a new or empty folder");
    }
    output->mode = info.st_mode & 07777;
    return PSC_OK;
}

/* Makes the temporary sibling, in place of one that a killed process left. */
static psc_status make_temporary(psc_output *output, const char *path, psc_error *error) {
    static const char suffix[] = ".d";
    const char *slash = strrchr(output->target, '/');
    if (slash && !slash[1]) return refuse(error, path, "it is the root of the file system");
    psc_status status = psc_temporary_open(&output->lock, output->target, CANNOT, error);
    if (status) return status;
    const size_t n = strlen(output->lock.path);
    char *folder = malloc(n + sizeof suffix);
    if (!folder) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    memcpy(folder, output->lock.path, n);
    memcpy(folder + n, suffix, sizeof suffix);
    if (psc_folder_remove(folder) != 0)
        status = psc_fail(error, PSC_ERROR_IO,
            CANNOT
            " %.300s: its temporary folder %.300s exists and cannot be removed (%s); remove it",
            path, folder, strerror(errno));
    else if (mkdir(folder, 0777) != 0)
        status = refuse(error, path, strerror(errno));
    if (status)
        free(folder);
    else
        output->temporary = folder;
    return status;
}

psc_status psc_output_begin(psc_output **out, const char *path, psc_error *error) {
    psc_output *output = calloc(1, sizeof *output);
    *out = NULL;
    if (!output) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for an output folder");
    output->lock.fd = -1;
    psc_signals_hold(&output->before);
    psc_status status = check_target(output, path, error);
    if (!status) status = make_temporary(output, path, error);
    if (status) {
        psc_output_abort(&output);
        return status;
    }
    *out = output;
    return PSC_OK;
}

static psc_status cannot_write(psc_output *output, const char *name, psc_error *error) {
    return psc_fail(
        error, PSC_ERROR_IO, "cannot write %s/%s: %s", output->target, name, strerror(errno));
}

/* "name", or names of folders and a file with slashes between them. */
static bool is_inside(const char *name) {
    for (const char *at = name;; at++) {
        const size_t n = strcspn(at, "/");
        if (n == 0 || (n == 1 && *at == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        at += n;
        if (!*at) return true;
    }
}

/* Makes the folders of path after the first `root` bytes; false with errno set. */
static bool make_folders(char *path, size_t root) {
    for (char *slash = path + root; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        const bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made) return false;
    }
    return true;
}

/* Takes the path, which the output frees, before its file is made; false without memory. */
static bool keep_path(psc_output *output, char *path) {
    if (output->n_files == output->room) {
        const size_t room = output->room ? 2 * output->room : 8;
        char **more = realloc(output->files, room * sizeof *more);
        if (!more) return false;
        output->files = more;
        output->room = room;
    }
    output->files[output->n_files++] = path;
    return true;
}

psc_status psc_output_open(FILE **file, psc_output *output, const char *name, psc_error *error) {
    *file = NULL;
    if (!is_inside(name))
        return psc_fail(
            error, PSC_ERROR_INPUT, "%s is not a plain path inside the output folder", name);
    char *path = psc_path_join(output->temporary, name);
    if (!path || !keep_path(output, path)) {
        free(path);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write %s", name);
    }
    int fd = -1;
    if (make_folders(path, strlen(output->temporary) + 1))
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return cannot_write(output, name, error);
    *file = fdopen(fd, "wb");
    if (*file) return PSC_OK;
    psc_status status = cannot_write(output, name, error);
    close(fd);
    return status;
}

psc_status psc_output_close(FILE **file, psc_output *output, const char *name, psc_error *error) {
    FILE *stream = *file;
    *file = NULL;
    errno = EIO; /* for an earlier failed write, when no call below fails */
    bool written = !ferror(stream) && fflush(stream) == 0 && fsync(fileno(stream)) == 0;
    psc_status status = written ? PSC_OK : cannot_write(output, name, error);
    if (fclose(stream) != 0 && written) status = cannot_write(output, name, error);
    return status;
}

psc_status psc_output_write(
    psc_output *output, const char *name, const void *data, size_t size, psc_error *error) {
    FILE *file;
    psc_status status = psc_output_open(&file, output, name, error);
    if (status) return status;
    if (size > 0) fwrite(data, 1, size, file);
    return psc_output_close(&file, output, name, error);
}

typedef void (*folder_fn)(const char *path);

static void remove_folder(const char *path) {
    rmdir(path);
}

/* Calls fn for the folders of path below its first `root` bytes, the inner ones first. */
static void visit_folders(char *path, size_t root, folder_fn fn) {
    for (char *end = path + strlen(path); end > path + root; end--) {
        if (*end != '/') continue;
        *end = 0;
        fn(path);
        *end = '/';
    }
}

/* The files, then the folders, which must be empty. */
static void remove_files(psc_output *o) {
    const size_t root = strlen(o->temporary);
    for (size_t i = 0; i < o->n_files; i++) unlink(o->files[i]);
    for (size_t i = o->n_files; i-- > 0;) visit_folders(o->files[i], root, remove_folder);
    if (rmdir(o->temporary) != 0) psc_folder_remove(o->temporary); /* another program put more */
}

/* Syncs the folders of file i, unless the file before is in the same one. */
static void sync_folders(psc_output *o, size_t i) {
    char *path = o->files[i];
    const size_t n = (size_t)(strrchr(path, '/') - path) + 1;
    if (i > 0 && strncmp(o->files[i - 1], path, n) == 0 && !strchr(o->files[i - 1] + n, '/'))
        return;
    visit_folders(path, strlen(o->temporary), psc_folder_sync);
}

psc_status psc_output_commit(psc_output **output, psc_error *error) {
    psc_output *o = *output;
    if (o->mode) chmod(o->temporary, o->mode);
    for (size_t i = 0; i < o->n_files; i++) sync_folders(o, i);
    psc_folder_sync(o->temporary);
    if (rename(o->temporary, o->target) != 0) {
        bool filled = errno == ENOTEMPTY || errno == EEXIST;
        psc_status status =
            refuse(error, o->target, filled ? "it is no longer empty" : strerror(errno));
        psc_output_abort(output);
        return status;
    }
    free(o->temporary);
    o->temporary = NULL;
    char *slash = strrchr(o->target, '/');
    if (slash) slash[slash == o->target] = 0;
    psc_folder_sync(slash ? o->target : "."); /* makes the rename durable */
    psc_output_abort(output);
    return PSC_OK;
}

void psc_output_abort(psc_output **output) {
    psc_output *o = *output;
    if (!o) return;
    const sigset_t before = o->before;
    if (o->temporary) remove_files(o);
    psc_temporary_close(&o->lock);
    for (size_t i = 0; i < o->n_files; i++) free(o->files[i]);
    free(o->files);
    free(o->temporary);
    free(o->target);
    free(o);
    *output = NULL;
    psc_signals_release(&before);
}
