/* The dealing of items. A worker has one item in work and one more, unless few are left. Rank 0
 * packs its own results, too: what it takes does not depend on who computed it. */
#include "spread_items.h"

#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "spread_results.h"

typedef struct dealer {
    const cli_items *items;
    int32_t next;     /* the first item that is not dealt */
    int32_t *waiting; /* [size] items of each worker that are not done */
    int32_t own;      /* the item in work here */
    char *bytes;      /* its packed results */
    size_t n;
} dealer;

/* A cli_sink: the results of the item in work. */
static psc_status pack(
    const cli_delivery *how, const psc_results *results, void *payload, psc_error *error) {
    dealer *d = payload;
    free(d->bytes);
    return cli_results_pack(&d->bytes, &d->n, how, results, error);
}

/* Computes an item; leaves its packed results. */
static int run_item(dealer *d, int32_t i) {
    d->own = i;
    d->n = 0;
    cli_collect(pack, d);
    const int code = d->items->run(i, d->items->payload);
    cli_collect(NULL, NULL);
    return code;
}

/* --- rank 0 ---------------------------------------------------------------------------------- */

/* The next open item, or n. */
static int32_t next_open(dealer *d) {
    const cli_items *items = d->items;
    while (d->next < items->n && items->is_open && !items->is_open(d->next, items->payload))
        d->next++;
    return d->next;
}

static psc_status take(dealer *d, int32_t i, const char *bytes, size_t n, psc_error *error) {
    cli_delivery how = {0};
    psc_results *results = NULL;
    psc_status status = cli_results_unpack(&how, &results, bytes, n, error);
    return status ? status : d->items->take(i, &how, results, d->items->payload, error);
}

/* DONE: i32 item, then its results. */
static psc_status hear(dealer *d, const cluster_message *m, psc_error *error) {
    int32_t i;
    if (m->kind != CLUSTER_DONE || m->n < sizeof i) return PSC_OK;
    memcpy(&i, m->bytes, sizeof i);
    d->waiting[m->from]--;
    return take(d, i, m->bytes + sizeof i, m->n - sizeof i, error);
}

static psc_status listen(dealer *d, bool wait, psc_error *error) {
    cluster_message m;
    psc_status status = wait ? cluster_wait(&m, error) : cluster_take(&m, error);
    while (!status && m.kind != 0) {
        status = hear(d, &m, error);
        cluster_drop(&m);
        if (!status) status = cluster_take(&m, error);
    }
    return status;
}

static psc_status deal(dealer *d, psc_error *error) {
    psc_status status = PSC_OK;
    for (int level = 0; level < 2; level++)
        for (int to = 1; !status && to < cluster_size(); to++) {
            const int32_t i = next_open(d);
            const bool many = d->items->n - i > cluster_size();
            if (i >= d->items->n || d->waiting[to] > level || (level > 0 && !many)) continue;
            status = cluster_send(to, CLUSTER_WORK, &i, sizeof i, error);
            d->waiting[to]++;
            d->next++;
        }
    return status;
}

static bool is_busy(const dealer *d) {
    for (int i = 1; i < cluster_size(); i++)
        if (d->waiting[i] > 0) return true;
    return false;
}

/* An exit code of an item of its own, whose sentence is said; status: of the others. */
static int deal_all(dealer *d, psc_error *error) {
    psc_status status = PSC_OK;
    while (!status && (next_open(d) < d->items->n || is_busy(d))) {
        status = listen(d, false, error);
        if (!status) status = deal(d, error);
        const int32_t i = next_open(d);
        if (!status && i < d->items->n) {
            d->next++;
            const int code = run_item(d, i);
            if (code) return code;
            status = take(d, i, d->bytes, d->n, error);
        } else if (!status && is_busy(d)) {
            status = listen(d, true, error);
        }
    }
    for (int i = 1; !status && i < cluster_size(); i++)
        status = cluster_send(i, CLUSTER_FINISH, NULL, 0, error);
    return status ? cli_fail(error) : CLI_OK;
}

/* --- a worker -------------------------------------------------------------------------------- */

static psc_status send_results(dealer *d, psc_error *error) {
    char *message = malloc(sizeof d->own + d->n);
    if (!message)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results of a rank");
    memcpy(message, &d->own, sizeof d->own);
    if (d->n > 0) memcpy(message + sizeof d->own, d->bytes, d->n);
    psc_status status = cluster_send(0, CLUSTER_DONE, message, sizeof d->own + d->n, error);
    free(message);
    return status;
}

static int serve(dealer *d, psc_error *error) {
    for (;;) {
        cluster_message m;
        int32_t i = -1;
        psc_status status = cluster_wait(&m, error);
        const int kind = m.kind;
        if (!status && kind == CLUSTER_WORK && m.n == sizeof i) memcpy(&i, m.bytes, sizeof i);
        cluster_drop(&m);
        if (!status && kind == CLUSTER_FINISH) return CLI_OK;
        const int code = !status && i >= 0 && i < d->items->n ? run_item(d, i) : CLI_OK;
        if (code) return code;
        if (!status && i >= 0) status = send_results(d, error);
        if (status) return cli_fail(error);
    }
}

int cli_items_run(const cli_items *items) {
    dealer d = {.items = items, .waiting = calloc((size_t)cluster_size(), sizeof(int32_t))};
    psc_error error = {PSC_OK, ""};
    int code;
    if (!d.waiting) {
        psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for %d processes", cluster_size());
        return cli_fail(&error);
    }
    code = cluster_is_worker() ? serve(&d, &error) : deal_all(&d, &error);
    free(d.waiting);
    free(d.bytes);
    return code;
}
