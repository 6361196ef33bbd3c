/* Open MPI, MPICH and Slurm say in the environment how many processes they started. With MPI in the
 * program and a verb that can share its work, several processes join. Otherwise MPI is
 * never started: a single process behaves as in a build without MPI, and needs nothing that
 * such a build does not. */
#include "spread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "cluster.h"
#include "progress.h"
#include "psc_spread.h"

static char kept[1024]; /* the last sentence of a worker */

static void keep(const char *sentence) {
    snprintf(kept, sizeof kept, "%s", sentence);
}

static bool can_share(const cli_verb *verb) {
    for (const cli_option *option = verb->options; option->name; option++)
        if (strcmp(option->name, "mpi") == 0) return true;
    return false;
}

void cli_spread_prepare(const cli_verb *verb) {
    if (cluster_is_built() && can_share(verb) && cluster_launched().with_mpi &&
        cluster_launched().rank > 0)
        cli_listen(keep);
}

/* `--shard auto` and `auto/N` give each process a part of its own. */
static bool has_own_shard(const cli_arguments *arguments) {
    const char *shard = cli_value(arguments, "shard");
    return shard && (strcmp(shard, "auto") == 0 || strncmp(shard, "auto/", 5) == 0);
}

static bool is_shared(const cli_arguments *arguments) {
    if (arguments->verb == &cli_verb_corpus) return !has_own_shard(arguments);
    return arguments->verb == &cli_verb_sweep || cli_has_checkpoints(arguments);
}

/* Without MPI several processes would each do the whole work. */
static int refuse_copies(const cli_arguments *arguments, const cluster_launch *launch) {
    if (launch->rank > 0) return CLI_USAGE;
    return cli_usage(arguments->verb,
        "%s started %d processes%s: each would read the whole corpus; pass --shard auto, %s, or "
        "--mpi no",
        launch->by, launch->size,
        launch->with_mpi ? ", and this pythiascope was built without MPI" : "",
        launch->with_mpi ? "build with -DPSC_MPI=ON" : "pass --mpi=pmix to srun");
}

static int join(const cli_arguments *arguments, int code) {
    double silence = 60;
    psc_error error = {PSC_OK, ""};
    const int wrong = cli_real(&silence, arguments, "mpi-timeout", 1);
    if (cluster_open(wrong ? 60 : silence, &error)) return cli_fail(&error);
    if (!code) code = wrong;
    if (cluster_is_on()) setenv("NO_COLOR", "1", 1); /* mpirun gives rank 0 a terminal of its own */
    if (!cluster_is_worker()) {
        cli_listen(NULL);
        return code;
    }
    cli_listen(keep);
    cli_progress_mute();
    if (!freopen("/dev/null", "w", stdout)) return CLI_FAILED;
    return code;
}

int cli_spread_begin(const cli_arguments *arguments, int code) {
    const cluster_launch launch = cluster_launched();
    const char *when = cli_value(arguments, "mpi");
    if (!can_share(arguments->verb)) return code;
    const bool always = when && strcmp(when, "yes") == 0, never = when && strcmp(when, "no") == 0;
    if (!code && when && !always && !never && strcmp(when, "auto") != 0)
        code = cli_usage(arguments->verb, "--mpi needs auto, yes or no, not '%s'", when);
    const bool joins = !never && (always || launch.by) && (code || is_shared(arguments));
    if (joins && (always || (cluster_is_built() && launch.with_mpi))) return join(arguments, code);
    cli_listen(NULL);
    if (joins && !code && arguments->verb == &cli_verb_corpus && !cli_has(arguments, "shard"))
        return refuse_copies(arguments, &launch);
    return code;
}

static psc_status gather(float *values, const int64_t *bounds, void *payload, psc_error *error) {
    (void)payload;
    return cluster_gather(values, bounds, error);
}

psc_status cli_spread_share(psc_session *session, psc_error *error) {
    const psc_share share = {sizeof share, cluster_rank(), cluster_size(), gather, NULL};
    return cluster_is_on() ? psc_session_share(session, &share, error) : PSC_OK;
}

psc_status cli_spread_tell(char **text, psc_error *error) {
    cluster_message m = {0};
    psc_status status = PSC_OK;
    const char *said = *text ? *text : "";
    for (int i = 1; !status && !cluster_is_worker() && i < cluster_size(); i++)
        status = cluster_send(i, CLUSTER_BEGIN, said, strlen(said), error);
    if (!cluster_is_worker()) return status;
    while (!status && m.kind != CLUSTER_BEGIN) {
        cluster_drop(&m);
        status = cluster_wait(&m, error);
    }
    *text = status ? NULL : strndup(m.n > 0 ? m.bytes : "", m.n);
    cluster_drop(&m);
    if (status || *text) return status;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a message");
}

static void print(const char *sentence) {
    fprintf(stderr, "pythiascope: %s\n", sentence);
}

int cli_spread_end(int code) {
    return cluster_close(code, kept, print);
}
