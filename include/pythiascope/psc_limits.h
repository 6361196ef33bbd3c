/* What the machine can do, and what a pass needs of it: for benchmarks. A share of a limit that was
 * measured in the same seconds means more than a time.
 * Public: any caller may include it.
 * Threads: as psc_session; measure outside a run.
 * Ownership: limits borrow their session, and close before it. */
#ifndef PSC_LIMITS_H
#define PSC_LIMITS_H

#include "psc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct psc_limits psc_limits;

/* Takes 192 MiB, more than a cache holds, in the same kind of pages as weights. */
PSC_API psc_status psc_limits_open(psc_limits **out, psc_session *session, psc_error *error);
/* limits and *limits may be null; *limits becomes null. */
PSC_API void psc_limits_close(psc_limits **limits);
/* Fused multiply-adds in registers, all threads of the session: operations per second, two for each
 * multiply-add. Some milliseconds. */
PSC_API double psc_limits_flops(psc_limits *limits);
/* Bytes that all threads together read from memory, per second. Some milliseconds. */
PSC_API double psc_limits_bandwidth(psc_limits *limits);

/* The work of one pass that ends in one row's logits. In the last layer, all but keys and values
 * are computed for that row only. */
typedef struct psc_pass_work {
    uint32_t struct_size;
    double matmul;       /* operations, two per weight and row */
    double attention;    /* operations, four per element, key and row */
    double weight_bytes; /* read once */
    double cache_bytes;  /* of keys and values that the last row reads */
} psc_pass_work;
#define PSC_PASS_WORK_INIT                                                                         \
    { sizeof(psc_pass_work), 0, 0, 0, 0 }

/* n_rows new rows after n_keys - n_rows older ones. PSC_ERROR_INPUT unless
 * 1 <= n_rows <= n_keys. */
PSC_API psc_status psc_session_work(psc_pass_work *out, const psc_session *session, int32_t n_rows,
    int32_t n_keys, psc_error *error);

#ifdef __cplusplus
}
#endif

#endif
