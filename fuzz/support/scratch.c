/* Inputs as parts and as files. A file in /dev/shm costs a few microseconds, so that readers that
 * take paths still see thousands of inputs per second. */
#undef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* nftw */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char separator[] = "\n\f\n";

void fuzz_expect(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

void fuzz_check(psc_status status, const psc_error *error) {
    if (status == PSC_OK) return;
    fuzz_expect(error->status == status, "the error has another status");
    fuzz_expect(error->message[0] != 0, "the error has no sentence");
    if (strchr(error->message, '\n')) fprintf(stderr, "%s\n", error->message);
    fuzz_expect(!strchr(error->message, '\n'), "the error has several lines");
}

void fuzz_read(const void *data, size_t size) {
    static volatile unsigned sum;
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) sum = sum + bytes[i];
}

/* --- parts ----------------------------------------------------------------------------------- */

static const uint8_t *find(fuzz_bytes in, const char *mark, size_t n) {
    for (size_t i = 0; i + n <= in.size; i++)
        if (memcmp(in.data + i, mark, n) == 0) return in.data + i;
    return NULL;
}

fuzz_bytes fuzz_part(fuzz_bytes *rest) {
    const uint8_t *end = find(*rest, separator, sizeof separator - 1);
    fuzz_bytes part = *rest;
    if (!end) {
        rest->data += rest->size;
        rest->size = 0;
        return part;
    }
    part.size = (size_t)(end - part.data);
    rest->data = end + sizeof separator - 1;
    rest->size -= part.size + sizeof separator - 1;
    return part;
}

unsigned fuzz_byte(fuzz_bytes *rest) {
    if (rest->size == 0) return 0;
    rest->size--;
    return *rest->data++;
}

char *fuzz_text(fuzz_bytes bytes) {
    char *text = malloc(bytes.size + 1);
    if (!text) abort();
    if (bytes.size > 0) memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = 0;
    return text;
}

char *fuzz_replace(size_t *size, fuzz_bytes bytes, const char *mark, const char *by) {
    const size_t n = strlen(mark), m = strlen(by);
    char *out = malloc((bytes.size / n + 1) * (m + n) + bytes.size + 1);
    size_t used = 0;
    if (!out) abort();
    for (const uint8_t *at; (at = find(bytes, mark, n));) {
        const size_t before = (size_t)(at - bytes.data);
        memcpy(out + used, bytes.data, before);
        memcpy(out + used + before, by, m);
        used += before + m;
        bytes.data += before + n;
        bytes.size -= before + n;
    }
    if (bytes.size > 0) memcpy(out + used, bytes.data, bytes.size);
    used += bytes.size;
    out[used] = 0;
    *size = used;
    return out;
}

/* --- files ----------------------------------------------------------------------------------- */

static char root[64];
static pid_t owner;

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info, (void)kind, (void)place;
    return remove(path);
}

static void remove_root(void) {
    if (getpid() == owner) nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void) {
    struct stat info;
    if (root[0]) return root;
    const char *parent = getenv("PSC_FUZZ_SCRATCH"); /* run.sh removes it after a crash, too */
    if (!parent || strlen(parent) > 40)
        parent = stat("/dev/shm", &info) == 0 && S_ISDIR(info.st_mode) ? "/dev/shm" : "/tmp";
    snprintf(root, sizeof root, "%s/psc-fuzz-XXXXXX", parent);
    fuzz_expect(mkdtemp(root) != NULL, "cannot make a scratch folder");
    owner = getpid();
    atexit(remove_root);
    return root;
}

const char *fuzz_path(const char *name) {
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", fuzz_folder(), name);
    return path;
}

void fuzz_make_folder(const char *name) {
    mkdir(fuzz_path(name), 0700);
}

static void append(int fd, const void *data, size_t size) {
    for (const char *from = data; size > 0;) {
        const ssize_t n = write(fd, from, size);
        fuzz_expect(n > 0, "cannot write a scratch file");
        from += n;
        size -= (size_t)n;
    }
}

static int create(const char *path) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_expect(fd >= 0, "cannot create a scratch file");
    return fd;
}

const char *fuzz_put(const char *name, fuzz_bytes bytes) {
    const char *path = fuzz_path(name);
    const int fd = create(path);
    append(fd, bytes.data, bytes.size);
    close(fd);
    return path;
}

const char *fuzz_put_if(const char *name, fuzz_bytes bytes) {
    if (bytes.size > 0) return fuzz_put(name, bytes);
    const char *path = fuzz_path(name);
    unlink(path);
    return path;
}

const char *fuzz_put_tensors(const char *name, fuzz_bytes bytes) {
    uint8_t length[8];
    if (bytes.size == 0 || bytes.data[0] != '{') return fuzz_put(name, bytes);
    const uint8_t *end = find(bytes, "\f\f", 2);
    const size_t n = end ? (size_t)(end - bytes.data) : bytes.size;
    const size_t rest = end ? bytes.size - n - 2 : 0;
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)n >> 8 * i);
    const char *path = fuzz_path(name);
    const int fd = create(path);
    append(fd, length, sizeof length);
    append(fd, bytes.data, n);
    if (rest > 0) append(fd, end + 2, rest);
    close(fd);
    return path;
}
