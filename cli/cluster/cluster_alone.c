/* A program that was built without MPI: one process. */
#include "cluster.h"

bool cluster_is_built(void) {
    return false;
}

psc_status cluster_open(double silence, psc_error *error) {
    (void)silence;
    return psc_fail(error, PSC_ERROR_SUPPORT,
        "this pythiascope was built without MPI; build it with -DPSC_MPI=ON, or pass --mpi no");
}

bool cluster_is_on(void) {
    return false;
}

bool cluster_is_worker(void) {
    return false;
}

int cluster_rank(void) {
    return 0;
}

int cluster_size(void) {
    return 1;
}

int cluster_close(int code, const char *sentence, void (*say)(const char *sentence)) {
    (void)sentence;
    (void)say;
    return code;
}

bool cluster_is_over(void) {
    return false;
}

static psc_status alone(psc_error *error) {
    return psc_fail(error, PSC_ERROR_STATE, "there is no other process");
}

psc_status cluster_send(int to, int kind, const void *bytes, size_t n, psc_error *error) {
    (void)to;
    (void)kind;
    (void)bytes;
    (void)n;
    return alone(error);
}

psc_status cluster_take(cluster_message *out, psc_error *error) {
    *out = (cluster_message){0};
    return alone(error);
}

psc_status cluster_wait(cluster_message *out, psc_error *error) {
    return cluster_take(out, error);
}

void cluster_drop(cluster_message *message) {
    *message = (cluster_message){0};
}

psc_status cluster_reduce(const cluster_slots *slots, psc_error *error) {
    (void)slots;
    return alone(error);
}

psc_status cluster_gather(float *values, const int64_t *bounds, psc_error *error) {
    (void)values;
    (void)bounds;
    return alone(error);
}
