/* raw bytes -> inflate or zstd -> bytes without a byte order mark
 *
 * A file may be several gzip members or zstd frames in a row. Memory: two buffers of 64 KiB, and
 * the window that the format allows: 32 KiB of gzip, at most 128 MiB of zstd. */
#include "corpus_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { BUFFER = 64 << 10, FIRST = 6, MOST_WINDOW_LOG = 27 };

typedef enum packing { PLAIN, GZIP, ZSTD } packing;

struct corpus_stream {
    FILE *file;
    bool owned;
    const char *name;
    packing packing;
    z_stream zlib;
    ZSTD_DStream *zstd;
    bool inside;                     /* a member or frame has begun and not ended */
    bool decided;                    /* the first bytes have been looked at */
    unsigned char first[FIRST];      /* of the file */
    size_t raw_at, raw_end, at, end; /* of the buffers: the next byte, and the last one's end */
    int64_t raw_bytes;               /* read from the file */
    int64_t offset;                  /* of data[at] */
    int64_t mark;                    /* bytes of the byte order mark, 0 or 3 */
    bool raw_ended;
    char damage[160]; /* "" or what is wrong with the data that follow */
    unsigned char raw[BUFFER];
    char data[BUFFER];
};

/* --- the file -------------------------------------------------------------------------------- */

bool corpus_stream_is_own_fault(int failure) {
    return failure != EMFILE && failure != ENFILE && failure != ENOMEM && failure != EINTR &&
           failure != EAGAIN;
}

/* A stream that is not the corpus's own is read once, so the failure ends it. */
static psc_status cannot_read(const corpus_stream *s, psc_error *error) {
    const bool own = s->owned && corpus_stream_is_own_fault(errno);
    return psc_fail(error, own ? PSC_ERROR_INPUT : PSC_ERROR_IO, "cannot read %s: %s", s->name,
        strerror(errno));
}

/* Reads more raw bytes if none is left. */
static psc_status fill_raw(corpus_stream *s, psc_error *error) {
    if (s->raw_at < s->raw_end || s->raw_ended) return PSC_OK;
    s->raw_at = 0;
    s->raw_end = fread(s->raw, 1, sizeof s->raw, s->file);
    s->raw_bytes += (int64_t)s->raw_end;
    if (ferror(s->file)) return cannot_read(s, error);
    s->raw_ended = s->raw_end < sizeof s->raw;
    return PSC_OK;
}

static bool begins(const corpus_stream *s, const char *magic, size_t n) {
    return s->raw_end - s->raw_at >= n && memcmp(s->raw + s->raw_at, magic, n) == 0;
}

/* A zstd frame, or one that is to be skipped, as parallel compressors put in front. */
static bool begins_zstd(const corpus_stream *s) {
    const unsigned char *b = s->raw + s->raw_at;
    if (begins(s, "\x28\xb5\x2f\xfd", 4)) return true;
    return s->raw_end - s->raw_at >= 4 && b[0] >= 0x50 && b[0] <= 0x5f && b[1] == 0x2a &&
           b[2] == 0x4d && b[3] == 0x18;
}

static psc_status start_unpacking(corpus_stream *s, psc_error *error) {
    bool ready = true;
    if (s->packing == GZIP && s->zlib.state)
        ready = inflateReset(&s->zlib) == Z_OK;
    else if (s->packing == GZIP)
        ready = inflateInit2(&s->zlib, 15 + 16) == Z_OK; /* 16: a gzip header */
    if (s->packing == ZSTD) {
        if (!s->zstd) s->zstd = ZSTD_createDStream();
        ready =
            s->zstd && !ZSTD_isError(ZSTD_initDStream(s->zstd)) &&
            !ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, MOST_WINDOW_LOG));
    }
    s->inside = false;
    if (ready) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to decompress %s", s->name);
}

/* Looks at the first bytes of the file. */
static psc_status decide(corpus_stream *s, psc_error *error) {
    if (s->decided) return PSC_OK;
    psc_status status = fill_raw(s, error);
    if (status != PSC_OK) return status;
    s->decided = true;
    memcpy(s->first, s->raw, s->raw_end < FIRST ? s->raw_end : FIRST);
    s->packing = begins(s, "\x1f\x8b", 2) ? GZIP : begins_zstd(s) ? ZSTD : PLAIN;
    return start_unpacking(s, error);
}

/* --- one step of decompression, into what is left of data ------------------------------------ */

static void damaged(corpus_stream *s, const char *what) {
    snprintf(s->damage, sizeof s->damage, "%s", what);
}

static void step_plain(corpus_stream *s) {
    size_t n = s->raw_end - s->raw_at, room = sizeof s->data - s->end;
    if (n > room) n = room;
    memcpy(s->data + s->end, s->raw + s->raw_at, n);
    s->raw_at += n;
    s->end += n;
}

static void step_gzip(corpus_stream *s) {
    if (!s->inside) {
        const unsigned char next = s->raw[s->raw_at];
        if (next == 0) { /* zeros that fill up a block, as tapes have them */
            s->raw_at++;
            return;
        }
        if (next != 0x1f) {
            damaged(s, "has other bytes after its gzip data");
            return;
        }
        s->inside = true;
        inflateReset(&s->zlib);
    }
    s->zlib.next_in = s->raw + s->raw_at;
    s->zlib.avail_in = (uInt)(s->raw_end - s->raw_at);
    s->zlib.next_out = (unsigned char *)s->data + s->end;
    s->zlib.avail_out = (uInt)(sizeof s->data - s->end);
    const int code = inflate(&s->zlib, Z_NO_FLUSH);
    s->raw_at = s->raw_end - s->zlib.avail_in;
    s->end = sizeof s->data - s->zlib.avail_out;
    if (code == Z_STREAM_END)
        s->inside = false;
    else if (code == Z_MEM_ERROR)
        damaged(s, "needs more memory than there is to decompress");
    else if (code != Z_OK && code != Z_BUF_ERROR)
        damaged(s, "has damaged gzip data");
}

static void step_zstd(corpus_stream *s) {
    ZSTD_inBuffer in = {s->raw, s->raw_end, s->raw_at};
    ZSTD_outBuffer out = {s->data, sizeof s->data, s->end};
    const size_t code = ZSTD_decompressStream(s->zstd, &out, &in);
    s->raw_at = in.pos;
    s->end = out.pos;
    s->inside = code != 0;
    if (!ZSTD_isError(code)) return;
    if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge)
        damaged(s, "was compressed with a window of more than 128 MiB; decompress it with zstd -d "
                   "--long=31");
    else if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        damaged(s, "needs more memory than there is to decompress");
    else
        damaged(s, "has damaged zstd data");
}

/* Fills data from its end on, as far as the file reaches. */
static psc_status fill(corpus_stream *s, psc_error *error) {
    psc_status status = decide(s, error);
    while (status == PSC_OK && s->end < sizeof s->data && !s->damage[0]) {
        const bool pending = s->packing != PLAIN && s->inside; /* output may wait in the decoder */
        status = fill_raw(s, error);
        if (status != PSC_OK) return status;
        const bool none = s->raw_at == s->raw_end;
        if (none && !pending) break;
        const size_t before = s->end;
        if (s->packing == PLAIN) step_plain(s);
        if (s->packing == GZIP) step_gzip(s);
        if (s->packing == ZSTD) step_zstd(s);
        if (none && s->inside && s->end == before) {
            damaged(s, s->packing == GZIP ? "is cut off: its gzip data end too early"
                                          : "is cut off: its zstd data end too early");
        }
    }
    return status;
}

/* --- opening --------------------------------------------------------------------------------- */

/* Starts again at the file's first byte, or with what was taken. */
static psc_status restart(corpus_stream *s, psc_error *error) {
    s->raw_at = s->raw_end = s->at = s->end = 0;
    s->raw_bytes = s->offset = 0;
    s->raw_ended = false;
    s->damage[0] = 0;
    if (s->decided) { /* again: it was rewound */
        psc_status status = start_unpacking(s, error);
        if (status != PSC_OK) return status;
    }
    psc_status status = fill(s, error);
    s->mark = s->end >= 3 && memcmp(s->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    s->at = (size_t)s->mark;
    return status;
}

static psc_status start(
    corpus_stream **out, FILE *file, bool owned, const char *name, psc_error *error) {
    corpus_stream *s = calloc(1, sizeof *s);
    *out = s;
    if (!s) {
        if (owned) fclose(file);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", name);
    }
    s->file = file;
    s->owned = owned;
    s->name = name;
    psc_status status = restart(s, error);
    if (status != PSC_OK) corpus_stream_close(out);
    return status;
}

psc_status corpus_stream_open(corpus_stream **out, const char *path, psc_error *error) {
    struct stat info;
    *out = NULL;
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not block */
    FILE *file = fd >= 0 && fstat(fd, &info) == 0 ? fdopen(fd, "rb") : NULL;
    if (!file) {
        const int why = errno;
        if (fd >= 0) close(fd);
        return psc_fail(error, corpus_stream_is_own_fault(why) ? PSC_ERROR_INPUT : PSC_ERROR_IO,
            "cannot open %s: %s", path, strerror(why));
    }
    if (S_ISREG(info.st_mode)) return start(out, file, true, path, error);
    fclose(file);
    return psc_fail(error, PSC_ERROR_INPUT, "%s is not a regular file any more", path);
}

psc_status corpus_stream_take(corpus_stream **out, FILE *file, const char *name, psc_error *error) {
    return start(out, file, false, name, error);
}

void corpus_stream_close(corpus_stream **stream) {
    corpus_stream *s = *stream;
    if (!s) return;
    if (s->zlib.state) inflateEnd(&s->zlib);
    ZSTD_freeDStream(s->zstd);
    if (s->owned) fclose(s->file);
    free(s);
    *stream = NULL;
}

/* --- reading --------------------------------------------------------------------------------- */

psc_status corpus_stream_peek(const char **data, size_t *n, corpus_stream *s, psc_error *error) {
    psc_status status = PSC_OK;
    if (s->at == s->end) {
        s->at = s->end = 0;
        status = fill(s, error);
    }
    *data = s->data + s->at;
    *n = s->end - s->at;
    if (status == PSC_OK && *n == 0 && s->damage[0])
        return psc_fail(error, PSC_ERROR_INPUT, "%s %s", s->name, s->damage);
    return status;
}

void corpus_stream_skip(corpus_stream *s, size_t n) {
    s->at += n;
    s->offset += (int64_t)n;
}

static psc_status jump(corpus_stream *s, int64_t offset, psc_error *error) {
    const off_t end = fseeko(s->file, 0, SEEK_END) == 0 ? ftello(s->file) : -1;
    if (end < 0) return cannot_read(s, error);
    if (end < (off_t)(offset + s->mark))
        return psc_fail(error, PSC_ERROR_INPUT, "%s was cut short since it was read", s->name);
    if (fseeko(s->file, (off_t)(offset + s->mark), SEEK_SET) != 0) return cannot_read(s, error);
    s->raw_at = s->raw_end = s->at = s->end = 0;
    s->raw_ended = false;
    s->raw_bytes = offset + s->mark;
    s->offset = offset;
    return PSC_OK;
}

psc_status corpus_stream_seek(corpus_stream *s, int64_t offset, psc_error *error) {
    psc_status status = PSC_OK;
    const bool near = offset <= s->offset + (int64_t)(s->end - s->at);
    if (offset == s->offset) return PSC_OK;
    if (s->packing == PLAIN && s->owned && (offset < s->offset || !near))
        return jump(s, offset, error);
    if (offset < s->offset) {
        if (!s->owned || fseeko(s->file, 0, SEEK_SET) != 0)
            return psc_fail(error, PSC_ERROR_IO, "cannot read %s from its start again", s->name);
        status = restart(s, error);
    }
    while (status == PSC_OK && s->offset < offset) {
        const char *data = NULL;
        size_t n = 0;
        status = corpus_stream_peek(&data, &n, s, error);
        if (status == PSC_OK && n == 0)
            return psc_fail(error, PSC_ERROR_INPUT, "%s was cut short since it was read", s->name);
        if ((int64_t)n > offset - s->offset) n = (size_t)(offset - s->offset);
        if (status == PSC_OK) corpus_stream_skip(s, n);
    }
    return status;
}

int64_t corpus_stream_offset(const corpus_stream *s) {
    return s->offset;
}

bool corpus_stream_has_failed(const corpus_stream *s) {
    return ferror(s->file) != 0;
}

bool corpus_stream_is_packed(const corpus_stream *s) {
    return s->packing != PLAIN;
}

int64_t corpus_stream_read(const corpus_stream *s) {
    return s->raw_bytes - (int64_t)(s->raw_end - s->raw_at);
}

const char *corpus_stream_guess(const corpus_stream *s) {
    static const struct {
        const char *bytes, *what;
        size_t n;
    } known[] = {
        {"\xfd"
         "7zXZ",
            " (it is an xz file; decompress it first)", 5},
        {"BZh", " (it is a bzip2 file; decompress it first)", 3},
        {"PK\x03\x04", " (it is a zip file; unpack it first)", 4},
        {"PAR1", " (it is a Parquet file; write its texts as JSONL first)", 4},
        {"\xff\xfe", " (it looks like UTF-16; convert it with iconv)", 2},
        {"\xfe\xff", " (it looks like UTF-16; convert it with iconv)", 2},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (memcmp(s->first, known[i].bytes, known[i].n) == 0) return known[i].what;
    return "";
}
