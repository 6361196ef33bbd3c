/* A partial file is locked (flock, as huggingface_hub does), hashed as far as it goes, and
 * continued by a Range request. Its bytes are hashed as they arrive. Only a file of the announced
 * size and hash is synced and renamed. */
#define _DEFAULT_SOURCE /* flock */
#include "hub_transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_DISCARDED = 1 << 20, MOST_RESETS = 1 };

/* --- opening --------------------------------------------------------------------------------- */

/* 1: locked, or the file system has no locks; 0: another process has it; -1: error. */
static int take_lock(int fd) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 1;
    if (errno == EWOULDBLOCK || errno == EINTR) return 0;
    return errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP ? 1 : -1;
}

/* Whether path still names the open file: a process that finished it has renamed it. */
static bool is_named(int fd, const char *path) {
    struct stat mine, named;
    return fstat(fd, &mine) == 0 && lstat(path, &named) == 0 && mine.st_dev == named.st_dev &&
           mine.st_ino == named.st_ino;
}

static int open_file(const char *path) {
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
}

static hub_start broken(const hub_transfer *t, const char *path, psc_error *error) {
    hub_store_say(t->store, path, error);
    return HUB_BROKEN;
}

static hub_start open_partial(hub_transfer *t, psc_error *error) {
    struct stat info;
    if (t->target.lock[0]) {
        t->lock = open(t->target.lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
        if (t->lock < 0) return broken(t, t->target.lock, error);
    }
    int locked = t->target.lock[0] ? take_lock(t->lock) : 1;
    if (locked < 0) return broken(t, t->target.lock, error);
    if (locked == 0) return HUB_BUSY;
    t->fd = open_file(t->target.partial);
    if (t->fd < 0) return broken(t, t->target.partial, error);
    if (!t->target.lock[0]) locked = take_lock(t->fd);
    if (locked < 0) return broken(t, t->target.partial, error);
    if (locked == 0 || !is_named(t->fd, t->target.partial)) return HUB_BUSY;
    t->is_locked = true;
    if (hub_store_has(t->store, &t->target, t->file)) return HUB_HERE;
    errno = EINVAL;
    if (fstat(t->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return broken(t, t->target.partial, error);
    t->at = info.st_size <= t->file->size ? info.st_size : 0;
    if (t->at != info.st_size && ftruncate(t->fd, 0) != 0)
        return broken(t, t->target.partial, error);
    return HUB_READY;
}

/* Begins again with an empty file. A failure is also the transfer's write_error. */
static psc_status start_over(hub_transfer *t, psc_error *error) {
    t->at = t->before = 0;
    hub_digest_close(&t->digest);
    if (ftruncate(t->fd, 0) != 0) {
        t->write_error = errno;
        return hub_store_say(t->store, t->target.partial, error);
    }
    const psc_status status = hub_digest_open(&t->digest, t->file, error);
    if (status) t->write_error = ENOMEM;
    return status;
}

hub_start hub_transfer_open(hub_transfer *out, const hub_settings *settings, const hub_store *store,
    const hub_listing *listing, const hub_file *file, const char *repository, psc_error *error) {
    char path[1024];
    *out = (hub_transfer){.store = store, .listing = listing, .file = file, .fd = -1, .lock = -1};
    snprintf(path, sizeof path, "/%s/resolve/%s/", repository, listing->commit);
    hub_escape(path, sizeof path, file->name); /* names are short and plain: hub_listing.c */
    hub_start start = HUB_BROKEN;
    if (hub_store_target(&out->target, store, listing, file, error) == PSC_OK)
        start = hub_store_has(store, &out->target, file) ? HUB_HERE : open_partial(out, error);
    if (start == HUB_READY &&
        (hub_digest_open(&out->digest, file, error) ||
            hub_request_open(&out->request, settings, path, listing->subject, error)))
        start = HUB_BROKEN;
    if (start == HUB_READY && !hub_digest_add_file(&out->digest, out->fd, out->at) &&
        !hub_interrupted && start_over(out, error))
        start = HUB_BROKEN;
    out->before = out->at;
    if (start != HUB_READY) hub_transfer_close(out);
    return start;
}

void hub_transfer_close(hub_transfer *t) {
    struct stat info;
    hub_request_close(&t->request);
    hub_digest_close(&t->digest);
    if (t->fd >= 0) {
        const bool empty = t->is_locked && fstat(t->fd, &info) == 0 && info.st_size == 0;
        if (empty && is_named(t->fd, t->target.partial)) unlink(t->target.partial);
        close(t->fd);
    }
    if (t->lock >= 0) close(t->lock); /* which unlocks it */
    t->fd = t->lock = -1;
}

/* --- receiving ------------------------------------------------------------------------------- */

static bool write_at(hub_transfer *t, const char *data, size_t size) {
    for (size_t done = 0; done < size;) {
        const ssize_t n = pwrite(t->fd, data + done, size - done, (off_t)(t->at + (int64_t)done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) t->write_error = errno;
        if (n < 0) return false;
        done += (size_t)n;
    }
    return true;
}

static size_t on_data(char *data, size_t one, size_t n, void *payload) {
    hub_transfer *t = payload;
    hub_request *r = &t->request;
    (void)one;
    if (!hub_request_succeeds(r)) { /* the text of a redirect or an error */
        t->discarded += (int64_t)n;
        return t->discarded <= MOST_DISCARDED ? n : 0;
    }
    if (r->status == 200 && r->from > 0) { /* no range: the file from its beginning */
        if (start_over(t, NULL)) return 0;
        r->from = 0;
    }
    const int64_t first = r->status == 206 ? r->range_first : 0;
    if (t->at == r->from && first != r->from) t->is_odd = true;
    if (r->status == 206 && r->range_total != t->file->size) t->is_odd = true;
    if ((int64_t)n > t->file->size - t->at) t->too_long = true;
    if (t->is_odd || t->too_long || !write_at(t, data, n)) return 0;
    hub_digest_add(&t->digest, data, n);
    t->at += (int64_t)n;
    return n;
}

psc_status hub_transfer_prepare(hub_transfer *t, psc_error *error) {
    t->discarded = 0;
    t->too_long = t->is_odd = false;
    const psc_status status = hub_request_prepare(&t->request, t->at, error);
    if (status) return status;
    curl_easy_setopt(t->request.curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(t->request.curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->request.curl, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(t->request.curl, CURLOPT_PRIVATE, t);
    return PSC_OK;
}

/* --- checking -------------------------------------------------------------------------------- */

/* A damaged file is not kept. What an earlier command left may be the fault, so it is tried once
 * more from the beginning. */
static hub_verdict damaged(long *pause, hub_transfer *t, const char *how, psc_error *error) {
    const bool again = t->resets++ < MOST_RESETS;
    const psc_status status = start_over(t, error);
    *pause = 0;
    t->request.redirects = 0;
    memcpy(t->request.url, t->request.start, sizeof t->request.start);
    if (status) return HUB_FAILED;
    if (again) return HUB_AGAIN;
    psc_fail(error, PSC_ERROR_IO,
        "%s of %s is damaged: %s; nothing of it was kept. Try again later, or check HF_ENDPOINT",
        t->file->name, t->listing->subject, how);
    return HUB_FAILED;
}

hub_verdict hub_transfer_finish(long *pause, hub_transfer *t, psc_error *error) {
    char how[160];
    snprintf(how, sizeof how, "its %s is not the one that the hub announces",
        t->file->is_large ? "SHA-256" : "SHA-1");
    if (!hub_digest_matches(&t->digest, t->file)) return damaged(pause, t, how, error);
    const int failed =
        fsync(t->fd) != 0 || rename(t->target.partial, t->target.whole) != 0 ? errno : 0;
    if (failed == ENOENT && hub_store_has(t->store, &t->target, t->file))
        return HUB_DONE; /* without locks another process was first */
    if (failed) {
        errno = failed;
        hub_store_say(t->store, t->target.whole, error);
        return HUB_FAILED;
    }
    return HUB_DONE;
}

hub_verdict hub_transfer_judge(long *pause, hub_transfer *t, CURLcode code, psc_error *error) {
    hub_request *r = &t->request;
    char how[160];
    const bool wanted = hub_request_succeeds(r);
    snprintf(how, sizeof how, "the hub announces %lld bytes and sends another number",
        (long long)t->file->size);
    if (hub_interrupted) {
        psc_fail(error, PSC_ERROR_CANCELLED, "interrupted");
        return HUB_FAILED;
    }
    if (t->write_error) {
        errno = t->write_error;
        hub_store_say(t->store, t->target.partial, error);
        return HUB_FAILED;
    }
    if (wanted && (t->too_long || t->is_odd)) return damaged(pause, t, how, error);
    if (wanted && t->at == t->file->size) return hub_transfer_finish(pause, t, error);
    if (r->status == 416) return damaged(pause, t, how, error);
    if (t->at - t->before > t->file->size / 100) { /* progress: the attempts count from here */
        t->before = t->at;
        r->attempts = 0;
    }
    if (wanted && code == CURLE_OK) code = CURLE_PARTIAL_FILE; /* the answer ended too early */
    return hub_request_judge(pause, r, code, false, error);
}
