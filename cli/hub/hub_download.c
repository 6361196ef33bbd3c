/* A loop over libcurl's multi interface. Each of a few slots has one file; a file that another
 * process downloads is tried again after a while. */
#define _DEFAULT_SOURCE
#include "hub_download.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "hub_say.h"
#include "hub_transfer.h"
#include "progress.h"
#include "signals.h"

enum { SLOTS = 4, POLL_MS = 200, BUSY_MS = 300 };

typedef struct item {
    int32_t listing, file;
    int64_t wake; /* ms; not tried before */
    bool is_done, is_active;
} item;

typedef struct slot {
    hub_transfer transfer;
    item *item;
    int64_t wake; /* ms; when to send again, while is_waiting */
    bool is_used, is_waiting;
} slot;

typedef struct download {
    const hub_settings *settings;
    const hub_store *store;
    const char *repository;
    const hub_listing *listings;
    int32_t n_listings, n_items, n_whole; /* n_whole: revisions that are finished */
    int32_t *left;                        /* [n_listings]: files that are missing */
    int64_t *loaded;                      /* [n_listings]: bytes */
    item *items;
    CURLM *multi;
    slot slots[SLOTS];
    int64_t total, done; /* bytes: to download, downloaded by finished files */
    hub_whole_fn whole;
    void *payload;
} download;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void hub_catch_signals(void) {
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigemptyset(&action.sa_mask);
    cli_signals_catch(&hub_interrupted, 0);
    sigaction(SIGPIPE, &action, NULL);
}

/* --- the plan -------------------------------------------------------------------------------- */

static const hub_file *file_of(const download *d, const item *i) {
    return &d->listings[i->listing].files[i->file];
}

/* Finishes the revisions that have all their files, in order: a later one waits for those before
 * it. */
static psc_status finish_whole(download *d, psc_error *error) {
    psc_status status = PSC_OK;
    while (!status && d->n_whole < d->n_listings && d->left[d->n_whole] == 0) {
        const hub_listing *l = &d->listings[d->n_whole];
        status = hub_store_finish(d->store, l, error);
        if (!status) d->whole(d->store, l, d->loaded[d->n_whole], d->payload);
        d->n_whole++;
    }
    return status;
}

/* A file is there: link it, and finish its revision if it was the last. */
static psc_status settle(download *d, item *i, psc_error *error) {
    const hub_listing *l = &d->listings[i->listing];
    psc_status status = hub_store_link(d->store, l, file_of(d, i), error);
    i->is_done = true;
    i->is_active = false;
    if (!status && --d->left[i->listing] == 0) status = finish_whole(d, error);
    return status;
}

/* Bytes that are still to come: each blob once, without what has arrived. */
static int64_t missing_bytes(const download *d, const item *i) {
    const hub_file *file = file_of(d, i);
    hub_target target;
    struct stat info;
    for (const item *j = d->items; !d->store->is_plain && j < i; j++)
        if (strcmp(file_of(d, j)->hash, file->hash) == 0) return 0;
    if (hub_store_target(&target, d->store, &d->listings[i->listing], file, NULL)) return 0;
    if (!d->store->is_plain && hub_store_has(d->store, &target, file)) return 0;
    const bool has_part = stat(target.partial, &info) == 0 && info.st_size <= file->size;
    return file->size - (has_part ? info.st_size : 0);
}

/* Lists the files of a revision that are not there. */
static psc_status plan_listing(download *d, int32_t listing, psc_error *error) {
    const hub_listing *l = &d->listings[listing];
    psc_status status = hub_store_check_others(d->store, l, error);
    for (int32_t f = 0; f < l->n && !status; f++) {
        item *i = &d->items[d->n_items];
        const bool is_done = hub_store_is_done(d->store, l, &l->files[f]);
        if (hub_interrupted) return psc_fail(error, PSC_ERROR_CANCELLED, "interrupted");
        if (is_done) continue;
        status = hub_store_check_name(d->store, l, &l->files[f], error);
        *i = (item){.listing = listing, .file = f};
        d->total += missing_bytes(d, i);
        d->left[listing]++;
        d->n_items++;
    }
    return status;
}

/* Lists what is not there, and checks the room for it. Revisions that are whole are finished. */
static psc_status plan(download *d, psc_error *error) {
    int64_t all = 0;
    psc_status status = PSC_OK;
    for (int32_t l = 0; l < d->n_listings; l++) all += d->listings[l].n;
    d->items = calloc((size_t)all + 1, sizeof *d->items);
    d->left = calloc((size_t)d->n_listings + 1, sizeof *d->left);
    d->loaded = calloc((size_t)d->n_listings + 1, sizeof *d->loaded);
    if (!d->items || !d->left || !d->loaded)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a list of files");
    for (int32_t l = 0; l < d->n_listings && !status; l++) status = plan_listing(d, l, error);
    if (!status) status = hub_store_check_room(d->store, d->total, error);
    for (int32_t l = 0; l < d->n_listings && !status; l++)
        if (d->left[l] > 0) status = hub_store_prepare(d->store, &d->listings[l], error);
    return status ? status : finish_whole(d, error);
}

/* --- the loop -------------------------------------------------------------------------------- */

static psc_status send_file(download *d, slot *s, psc_error *error) {
    psc_status status = hub_transfer_prepare(&s->transfer, error);
    s->is_waiting = false;
    if (status) return status;
    if (curl_multi_add_handle(d->multi, s->transfer.request.curl) != CURLM_OK)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a connection");
    return PSC_OK;
}

/* After a verdict: the slot is free, waits, or sends again. */
static psc_status act(download *d, slot *s, hub_verdict verdict, long pause, psc_error *error) {
    if (verdict == HUB_FAILED) return PSC_ERROR_IO;
    if (verdict == HUB_AGAIN) {
        s->is_waiting = true;
        s->wake = now_ms() + pause;
        return PSC_OK;
    }
    d->done += s->transfer.at;
    d->loaded[s->item->listing] += s->transfer.at;
    hub_transfer_close(&s->transfer);
    s->is_used = false;
    return settle(d, s->item, error);
}

/* Begins the next file that can begin. *idle: there is none. */
static psc_status begin(download *d, slot *s, bool *idle, psc_error *error) {
    const int64_t now = now_ms();
    long pause = 0;
    *idle = true;
    for (int32_t k = 0; k < d->n_items; k++) {
        item *i = &d->items[k];
        if (i->is_done || i->is_active || i->wake > now) continue;
        *idle = false;
        const hub_start start = hub_transfer_open(&s->transfer, d->settings, d->store,
            &d->listings[i->listing], file_of(d, i), d->repository, error);
        if (start == HUB_BROKEN) return PSC_ERROR_IO;
        if (start == HUB_HERE) return settle(d, i, error);
        i->wake = start == HUB_BUSY ? now + BUSY_MS : 0;
        if (start == HUB_BUSY) continue;
        i->is_active = true;
        s->is_used = true;
        s->item = i;
        d->done -= s->transfer.at; /* what was there before is not this command's */
        if (s->transfer.at < file_of(d, i)->size) return send_file(d, s, error);
        return act(d, s, hub_transfer_finish(&pause, &s->transfer, error), pause, error);
    }
    return PSC_OK;
}

static psc_status fill_slots(download *d, psc_error *error) {
    psc_status status = PSC_OK;
    for (int k = 0; k < SLOTS && !status; k++) {
        slot *s = &d->slots[k];
        bool idle = false;
        while (!s->is_used && !idle && !status && !hub_interrupted)
            status = begin(d, s, &idle, error);
        if (s->is_used && s->is_waiting && s->wake <= now_ms()) status = send_file(d, s, error);
    }
    return status;
}

static psc_status collect(download *d, psc_error *error) {
    psc_status status = PSC_OK;
    int queued;
    for (CURLMsg *m; !status && (m = curl_multi_info_read(d->multi, &queued));) {
        if (m->msg != CURLMSG_DONE) continue;
        const CURLcode code = m->data.result;
        CURL *curl = m->easy_handle;
        long pause = 0;
        slot *s = d->slots;
        while (s < d->slots + SLOTS && !(s->is_used && s->transfer.request.curl == curl)) s++;
        curl_multi_remove_handle(d->multi, curl);
        if (s == d->slots + SLOTS) continue;
        status = act(d, s, hub_transfer_judge(&pause, &s->transfer, code, error), pause, error);
    }
    return status;
}

static void show(const download *d) {
    int64_t done = d->done;
    char what[64], have[20], all[20];
    for (int k = 0; k < SLOTS; k++)
        if (d->slots[k].is_used) done += d->slots[k].transfer.at;
    if (done < 0) done = 0;
    hub_size_text(have, sizeof have, done);
    hub_size_text(all, sizeof all, d->total);
    snprintf(what, sizeof what, "downloading %s of %s", have, all);
    cli_progress_update(d->total > 0 ? (double)done / (double)d->total : 0, what, NULL);
}

static bool is_complete(const download *d) {
    for (int32_t k = 0; k < d->n_items; k++)
        if (!d->items[k].is_done) return false;
    return true;
}

static psc_status run(download *d, psc_error *error) {
    psc_status status = PSC_OK;
    while (!status && !is_complete(d)) {
        int running;
        status = fill_slots(d, error);
        if (!status && hub_interrupted)
            status = psc_fail(error, PSC_ERROR_CANCELLED, "interrupted");
        if (status) break;
        curl_multi_perform(d->multi, &running);
        status = collect(d, error);
        show(d);
        if (!status && !is_complete(d)) curl_multi_poll(d->multi, NULL, 0, POLL_MS, NULL);
    }
    return status;
}

psc_status hub_download(const hub_settings *settings, const hub_store *store,
    const char *repository, const hub_listing *listings, int32_t n, hub_whole_fn whole_fn,
    void *payload, psc_error *error) {
    psc_error kept = {0};
    download *d = calloc(1, sizeof *d);
    if (!d) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a download");
    *d = (download){.settings = settings,
        .store = store,
        .repository = repository,
        .listings = listings,
        .n_listings = n,
        .whole = whole_fn,
        .payload = payload};
    d->multi = curl_multi_init();
    psc_status status =
        d->multi ? plan(d, &kept)
                 : psc_fail(&kept, PSC_ERROR_MEMORY, "not enough memory for a connection");
    if (!status && d->n_items > 0) {
        cli_progress_start("downloading");
        status = run(d, &kept);
    }
    cli_progress_stop();
    for (int k = 0; k < SLOTS; k++) {
        if (!d->slots[k].is_used) continue;
        curl_multi_remove_handle(d->multi, d->slots[k].transfer.request.curl);
        hub_transfer_close(&d->slots[k].transfer);
    }
    curl_multi_cleanup(d->multi);
    free(d->items);
    free(d->left);
    free(d->loaded);
    free(d);
    return status ? psc_fail(error, kept.status, "%s", kept.message) : PSC_OK;
}
