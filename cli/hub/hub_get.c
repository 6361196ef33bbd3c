/* An answer is kept in memory up to a cap, and must have arrived within two minutes. */
#include "hub_get.h"

#include "report_line.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ANSWER_CAP = 8 << 20, MOST_SECONDS = 120 };

typedef struct answer {
    hub_request *request;
    char *text;
    size_t n, room;
    bool too_large, no_memory;
} answer;

static size_t on_body(char *data, size_t one, size_t n, void *payload) {
    answer *a = payload;
    (void)one;
    if (a->n + n > ANSWER_CAP) {
        a->too_large = true;
        return 0;
    }
    if (a->n + n > a->room) {
        const size_t room = 2 * (a->n + n);
        char *text = realloc(a->text, room);
        if (!text) {
            a->no_memory = true;
            return 0;
        }
        a->text = text;
        a->room = room;
    }
    memcpy(a->text + a->n, data, n);
    a->n += n;
    return n;
}

void hub_wait(long milliseconds) {
    for (; milliseconds > 0 && !hub_interrupted; milliseconds -= 100) {
        const long step = milliseconds < 100 ? milliseconds : 100;
        nanosleep(&(struct timespec){0, step * 1000000}, NULL);
    }
}

static psc_status parse(json_t **out, const answer *a, psc_error *error) {
    char host[256];
    json_error_t why;
    hub_host_of(host, sizeof host, a->request->url);
    *out = psc_report_value(a->text ? a->text : "", a->n, &why);
    if (*out) return PSC_OK;
    if (!why.text[0])
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the hub's answer");
    return psc_fail(error, PSC_ERROR_IO,
        "%s: the answer of %s is not JSON (line %d: %.100s); check HF_ENDPOINT and proxies",
        a->request->subject, host, why.line, why.text);
}

/* One sending. The answer's body is kept only where the hub agrees. */
static hub_verdict ask(long *pause, answer *a, bool first, psc_error *error) {
    hub_request *r = a->request;
    a->n = 0;
    if (hub_request_prepare(r, 0, error)) return HUB_FAILED;
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(r->curl, CURLOPT_TIMEOUT, (long)MOST_SECONDS);
    const CURLcode code = curl_easy_perform(r->curl);
    if (a->too_large && hub_request_succeeds(r)) {
        psc_fail(error, PSC_ERROR_IO, "%s: the hub's answer is larger than %d MiB; pull refuses it",
            r->subject, ANSWER_CAP >> 20);
        return HUB_FAILED;
    }
    if (a->no_memory) {
        psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the hub's answer");
        return HUB_FAILED;
    }
    a->too_large = false;
    return hub_request_judge(pause, r, code, first, error);
}

psc_status hub_get_json(json_t **out, bool *no_revision, const hub_settings *settings,
    const char *path, const char *subject, psc_error *error) {
    hub_request request;
    psc_error kept = {0};
    long pause = 0;
    *out = NULL;
    if (no_revision) *no_revision = false;
    psc_status status = hub_request_open(&request, settings, path, subject, error);
    if (status) return status;
    answer a = {.request = &request};
    hub_verdict verdict = HUB_AGAIN;
    while (verdict == HUB_AGAIN) {
        hub_wait(pause);
        verdict = ask(&pause, &a, true, &kept);
    }
    if (verdict == HUB_DONE)
        status = parse(out, &a, error);
    else
        status = psc_fail(error, kept.status, "%s", kept.message);
    if (no_revision && request.status == 404)
        *no_revision = strcmp(request.error_code, "RevisionNotFound") == 0;
    free(a.text);
    hub_request_close(&request);
    return status;
}
