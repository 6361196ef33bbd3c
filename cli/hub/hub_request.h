/* One request to the hub with its redirects, and what its answer means.
 * Private to cli/hub/. Includes hub_settings.h.
 * Threads: main thread only.
 * Ownership: hub_request_close frees what the request holds; the settings must outlive it. */
#ifndef HUB_REQUEST_H
#define HUB_REQUEST_H

#include "hub_settings.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdint.h>

typedef struct hub_request {
    const hub_settings *settings;
    const char *subject; /* for sentences: "EleutherAI/pythia-160m@step3000"; borrowed */
    CURL *curl;
    struct curl_slist *headers;
    char start[2048]; /* the first URL; each attempt begins there */
    char url[8192];   /* the URL of this request, after redirects */
    int redirects, attempts;
    int64_t from; /* the first byte that the request asks for */
    char reason[CURL_ERROR_SIZE];
    char error_code[64];              /* the answer's header X-Error-Code; "" */
    int64_t range_first, range_total; /* of the header Content-Range; -1: none */
    long status;                      /* of the answer; 0: none yet */
} hub_request;

typedef enum hub_verdict {
    HUB_DONE,  /* the answer has arrived */
    HUB_AGAIN, /* send again: after a redirect at once, else after the pause */
    HUB_FAILED /* error is set */
} hub_verdict;

/* A request for a path below the endpoint: "/api/models/...". */
psc_status hub_request_open(hub_request *out, const hub_settings *settings, const char *path,
    const char *subject, psc_error *error);
void hub_request_close(hub_request *request);
/* Sets all options for the next sending, with the bytes from `from` on. The token goes to the
 * endpoint's own origin only. */
psc_status hub_request_prepare(hub_request *request, int64_t from, psc_error *error);
/* What the answer, or the lack of one, means. pause: milliseconds before the next sending. first:
 * nothing has worked before, so a network that is not there ends the command at once. */
hub_verdict hub_request_judge(
    long *pause, hub_request *request, CURLcode code, bool first, psc_error *error);
/* Whether the answer's body is wanted: 200 or 206. */
bool hub_request_succeeds(hub_request *request);
/* Appends text to out, with %XX for all bytes but letters, digits and -._~; false if it is full. */
bool hub_escape(char *out, size_t size, const char *text);

/* Set by Ctrl-C and its kin; every wait ends soon after. */
extern volatile sig_atomic_t hub_interrupted;

#endif
