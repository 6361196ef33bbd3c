/* Opening a FIFO waits for a writer, so files are opened without waiting. */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITER_MS = 2000 };

size_t cli_input_mark(const char *text, size_t bytes) {
    return bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

psc_status cli_input_open(FILE **out, const char *path, psc_error *error) {
    struct stat info;
    *out = NULL;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not a regular file", path);
    *out = fopen(path, "rb");
    if (!*out) return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    char first[3];
    const size_t n = fread(first, 1, sizeof first, *out);
    if (cli_input_mark(first, n) > 0 || fseek(*out, 0, SEEK_SET) == 0) return PSC_OK;
    psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", path, strerror(errno));
    fclose(*out);
    *out = NULL;
    return PSC_ERROR_IO;
}

/* False if nothing arrives in time because no program has the pipe open for writing. */
static bool has_writer(FILE *file) {
    struct pollfd pipe = {.fd = fileno(file), .events = POLLIN};
    char first;
    if (poll(&pipe, 1, WRITER_MS) != 0) return true;
    const ssize_t n = read(pipe.fd, &first, 1);
    if (n == 1) ungetc((unsigned char)first, file);
    return n != 0;
}

psc_status cli_input_once(FILE **out, const char *path, const char *what, psc_error *error) {
    struct stat info;
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    FILE *file = fd >= 0 && fstat(fd, &info) == 0 ? fdopen(fd, "rb") : NULL;
    *out = NULL;
    if (!file) {
        const int why = errno;
        if (fd >= 0) close(fd);
        return psc_fail(error, PSC_ERROR_INPUT, "cannot open %s: %s", what, strerror(why));
    }
    if (S_ISFIFO(info.st_mode) && !has_writer(file)) {
        fclose(file);
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is a pipe that no program writes to; start its writer first, or pass a file", what);
    }
    const int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    *out = file;
    return PSC_OK;
}

bool cli_input_same(const char *a, const char *b) {
    struct stat left, right;
    if (stat(a, &left) != 0 || stat(b, &right) != 0) return false;
    if (!S_ISREG(left.st_mode) || !S_ISREG(right.st_mode) || left.st_size != right.st_size)
        return false;
    FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
    bool same = x && y;
    while (same) {
        char some[4096], others[4096];
        const size_t n = fread(some, 1, sizeof some, x), m = fread(others, 1, sizeof others, y);
        same = n == m && memcmp(some, others, n) == 0 && !ferror(x) && !ferror(y);
        if (n == 0) break;
    }
    if (x) fclose(x);
    if (y) fclose(y);
    return same;
}
