/* An output directory that appears whole or not at all.
 *   begin:  creates <parent>/.<name>.partial-<pid>-<n>/ beside the target
 *   commit: syncs every file and the directory, then gives it its name by one rename
 * POSIX lets a directory be renamed onto an empty one and refuses one that is not empty. A target
 * that another program fills meanwhile is therefore never lost. */
#undef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct psc_output {
    char *target;    /* no trailing slash; resolved when it existed */
    char *temporary; /* a sibling of target; null before it exists */
    mode_t mode;     /* of the empty directory that it replaces; 0 for none */
};

static psc_status refuse(psc_error *error, const char *path, const char *reason) {
    return psc_fail(error, PSC_ERROR_IO, "cannot create the output folder %s: %s", path, reason);
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
    if (!empty) return refuse(error, path, "it exists and is not empty; use a new or empty folder");
    output->mode = info.st_mode & 07777;
    return PSC_OK;
}

/* Makes the temporary sibling. */
static psc_status make_temporary(psc_output *output, const char *path, psc_error *error) {
    const char *slash = strrchr(output->target, '/');
    const char *name = slash ? slash + 1 : output->target;
    int parent = (int)(name - output->target); /* characters of the parent, its slash included */
    size_t length = strlen(output->target) + 48;
    if (!*name) return refuse(error, path, "it is the root of the file system");
    output->temporary = malloc(length);
    if (!output->temporary)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    for (int i = 0; i < 100; i++) {
        snprintf(output->temporary, length, "%.*s.%s.partial-%ld-%d", parent, output->target, name,
            (long)getpid(), i);
        if (mkdir(output->temporary, 0777) == 0) return PSC_OK;
        if (errno != EEXIST) break;
    }
    free(output->temporary);
    output->temporary = NULL;
    return refuse(error, path, strerror(errno));
}

psc_status psc_output_begin(psc_output **out, const char *path, psc_error *error) {
    psc_output *output = calloc(1, sizeof *output);
    *out = NULL;
    if (!output) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for an output folder");
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

psc_status psc_output_open(FILE **file, psc_output *output, const char *name, psc_error *error) {
    *file = NULL;
    if (!is_inside(name))
        return psc_fail(
            error, PSC_ERROR_INPUT, "%s is not a plain path inside the output folder", name);
    char *path = psc_path_join(output->temporary, name);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write %s", name);
    int fd = -1;
    if (make_folders(path, strlen(output->temporary) + 1))
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    free(path);
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

/* The rename is durable once the parent is synced. A file system that cannot sync is not an
 * error. */
static void sync_directory(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

typedef void (*inside_fn)(int folder, const char *name);

/* Calls fn for what is in the directory, the folders in it last of what they hold, then closes it.
 * Symbolic links are not followed. */
static void visit(int fd, inside_fn fn) {
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        visit(openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fn);
        fn(fd, entry->d_name);
    }
    closedir(dir);
}

static void sync_inside(int folder, const char *name) {
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static void remove_inside(int folder, const char *name) {
    if (unlinkat(folder, name, 0) != 0) unlinkat(folder, name, AT_REMOVEDIR);
}

static int open_directory(const char *path) {
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

psc_status psc_output_commit(psc_output **output, psc_error *error) {
    psc_output *o = *output;
    if (o->mode) chmod(o->temporary, o->mode);
    visit(open_directory(o->temporary), sync_inside);
    sync_directory(o->temporary);
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
    sync_directory(slash ? o->target : ".");
    psc_output_abort(output);
    return PSC_OK;
}

void psc_output_abort(psc_output **output) {
    if (!*output) return;
    if ((*output)->temporary) {
        visit(open_directory((*output)->temporary), remove_inside);
        rmdir((*output)->temporary);
    }
    free((*output)->temporary);
    free((*output)->target);
    free(*output);
    *output = NULL;
}
