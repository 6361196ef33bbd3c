/* The part of a process, by its launcher:
 *
 *   Slurm array       (SLURM_ARRAY_TASK_ID - _MIN) / _STEP + 1   of SLURM_ARRAY_TASK_COUNT
 *                     with auto/N the id itself, so that single parts can be run again by number
 *   Open MPI, PMI     rank + 1   of the number of ranks
 *   srun              SLURM_PROCID + 1   of SLURM_NTASKS
 *
 * mpirun inside a Slurm job leaves Slurm's variables as they are, so the ranks
 * of mpirun come first. */
#include "shards.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "psc_corpus.h"

#define MARK "{shard}"

typedef struct part {
    long long shard, n;
    char origin[80]; /* "task 3 of the Slurm array"; "": given */
} part;

/* The variable's number, 0 or more; -1 if it is unset, -2 if it is anything else. */
static long long number_of(const char *variable) {
    const char *text = getenv(variable);
    if (!text || !*text) return -1;
    const size_t digits = strspn(text, "0123456789");
    return digits == 0 || digits > 9 || text[digits] ? -2 : strtoll(text, NULL, 10);
}

static int refuse_variable(const cli_verb *verb, const char *variable) {
    const char *value = getenv(variable);
    if (!value || !*value)
        return cli_usage(
            verb, "--shard auto needs %s, which is not set; pass --shard I/N", variable);
    return cli_usage(
        verb, "--shard auto needs a number in %s, not '%.40s'; pass --shard I/N", variable, value);
}

/* --- Slurm arrays ---------------------------------------------------------------------------- */

/* Whether the task of an array starts several processes, which would all have its number. */
static bool is_divided(void) {
    return number_of("SLURM_STEP_NUM_TASKS") > 1 || number_of("OMPI_COMM_WORLD_SIZE") > 1 ||
           number_of("PMI_SIZE") > 1;
}

static int of_range(part *out, long long id, const cli_verb *verb) {
    static const char *const names[] = {
        "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"};
    long long values[3];
    for (int i = 0; i < 3; i++)
        if ((values[i] = number_of(names[i])) < 0) return refuse_variable(verb, names[i]);
    const long long count = values[0], least = values[1], step = values[2];
    const long long most = number_of("SLURM_ARRAY_TASK_MAX");
    if (most == -2) return refuse_variable(verb, "SLURM_ARRAY_TASK_MAX");
    const bool even = step > 0 && id >= least && (id - least) % step == 0 &&
                      (id - least) / step < count &&
                      (most < 0 || (most - least) / step + 1 == count);
    if (!even)
        return cli_usage(verb,
            "the tasks of the Slurm array are not a range of %lld; pass --shard "
            "auto/N with the number of all parts",
            count);
    out->shard = (id - least) / step + 1;
    out->n = count;
    return CLI_OK;
}

static int of_array(part *out, long long parts, const cli_verb *verb) {
    const long long id = number_of("SLURM_ARRAY_TASK_ID");
    if (id < 0) return refuse_variable(verb, "SLURM_ARRAY_TASK_ID");
    if (is_divided())
        return cli_usage(verb,
            "a task of the Slurm array runs several processes, which --shard auto "
            "cannot tell apart; pass --shard I/N");
    snprintf(out->origin, sizeof out->origin, "task %lld of the Slurm array", id);
    if (parts == 0) return of_range(out, id, verb);
    if (id < 1 || id > parts)
        return cli_usage(verb,
            "task %lld of the Slurm array is none of the parts 1 to %lld; start it "
            "with --array=1-%lld",
            id, parts, parts);
    out->shard = id;
    out->n = parts;
    return CLI_OK;
}

/* --- ranks ----------------------------------------------------------------------------------- */

static const struct launcher {
    const char *rank, *size, *name;
} launchers[] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "Open MPI"},
    {"PMI_RANK", "PMI_SIZE", "the process manager"}, {"SLURM_PROCID", "SLURM_NTASKS", "srun"}};
enum { N_LAUNCHERS = sizeof launchers / sizeof *launchers };

static bool is_set(const char *variable) {
    return number_of(variable) != -1;
}

static int of_ranks(part *out, const struct launcher *l, long long parts, const cli_verb *verb) {
    const long long rank = number_of(l->rank), size = number_of(l->size);
    if (rank < 0) return refuse_variable(verb, l->rank);
    if (size < 0) return refuse_variable(verb, l->size);
    if (rank >= size)
        return cli_usage(verb, "%s=%lld is not a rank of %s=%lld; pass --shard I/N", l->rank, rank,
            l->size, size);
    if (parts > 0 && parts != size)
        return cli_usage(verb, "--shard auto/%lld: %s started %lld process%s, not %lld", parts,
            l->name, size, size == 1 ? "" : "es", parts);
    if (l == &launchers[N_LAUNCHERS - 1] && size > 1 && is_set("SLURM_JOB_ID") &&
        !is_set("SLURM_STEP_ID"))
        return cli_usage(verb,
            "the job has %lld tasks, but this process is not one of them; start it "
            "with srun",
            size);
    snprintf(out->origin, sizeof out->origin, "rank %lld of %s", rank, l->name);
    out->shard = rank + 1;
    out->n = size;
    return CLI_OK;
}

static int of_environment(part *out, long long parts, const cli_verb *verb) {
    if (is_set("SLURM_ARRAY_TASK_ID")) return of_array(out, parts, verb);
    for (int i = 0; i < N_LAUNCHERS; i++)
        if (is_set(launchers[i].rank) || is_set(launchers[i].size))
            return of_ranks(out, &launchers[i], parts, verb);
    return cli_usage(verb,
        "--shard auto finds no Slurm array, mpirun or srun in the environment; pass "
        "--shard I/N");
}

/* --- the option ------------------------------------------------------------------------------ */

static int read_part(part *out, const char *value, const cli_verb *verb) {
    int end = -1;
    long long parts = 0;
    int code = CLI_OK;
    *out = (part){0};
    if (strcmp(value, "auto") == 0) code = of_environment(out, 0, verb);
    // NOLINTNEXTLINE(cert-err34-c): the width keeps the number in range
    else if (sscanf(value, "auto/%5lld%n", &parts, &end) == 1 && end > 0 && !value[end] &&
             parts > 0)
        code = of_environment(out, parts, verb);
    // NOLINTNEXTLINE(cert-err34-c): as above
    else if (sscanf(value, "%5lld/%5lld%n", &out->shard, &out->n, &end) < 2 || end < 0 ||
             value[end])
        out->n = 0;
    if (code || (out->shard >= 1 && out->shard <= out->n && out->n <= PSC_CORPUS_SHARDS))
        return code;
    if (*out->origin)
        return cli_usage(verb, "--shard auto: %lld parts are too many; the most is %d", out->n,
            PSC_CORPUS_SHARDS);
    return cli_usage(verb, "--shard needs I/N with I from 1 to N, auto or auto/N, not '%s'", value);
}

/* value with K-of-N in place of every mark; null without memory. */
static char *fill_in(const char *value, const part *p) {
    char name[48], all[24];
    const int width = snprintf(all, sizeof all, "%lld", p->n);
    snprintf(name, sizeof name, "%0*lld-of-%lld", width, p->shard, p->n);
    size_t marks = 0;
    for (const char *at = value; (at = strstr(at, MARK)); at += strlen(MARK)) marks++;
    const size_t n = strlen(name);
    char *out = malloc(strlen(value) + marks * n + 1), *to = out;
    if (!out) return NULL;
    for (const char *at; (at = strstr(value, MARK)); value = at + strlen(MARK)) {
        memcpy(to, value, (size_t)(at - value));
        to += at - value;
        memcpy(to, name, n);
        to += n;
    }
    memcpy(to, value, strlen(value) + 1);
    return out;
}

static bool is_named(const char *option) {
    return strcmp(option, "state") == 0 || strcmp(option, "out") == 0 ||
           strcmp(option, "html") == 0;
}

/* Without --shard the verb has no part: a file would have the mark in its name. Verbs without
 * --shard take any name. */
static int refuse_marks(const cli_arguments *arguments) {
    bool has_parts = false;
    for (const cli_option *o = arguments->verb->options; o->name; o++)
        has_parts = has_parts || strcmp(o->name, "shard") == 0;
    for (int i = 0; has_parts && i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        if (is_named(given->option->name) && strstr(given->values[0], MARK))
            return cli_usage(arguments->verb,
                "--%s %s has " MARK " in its name, which needs --shard I/N or --shard auto",
                given->option->name, given->values[0]);
    }
    return CLI_OK;
}

int cli_shards_name(cli_arguments *arguments) {
    static char *made[3], shard[48];
    const char *value = cli_value(arguments, "shard");
    part p;
    int n_made = 0, code = value ? read_part(&p, value, arguments->verb) : CLI_OK;
    if (code) return code;
    if (!value) return refuse_marks(arguments);
    for (int i = 0; i < arguments->n_given; i++) {
        cli_given *given = &arguments->given[i];
        const char *option = given->option->name;
        if (strcmp(option, "shard") == 0) given->values[0] = shard;
        if (!is_named(option) || n_made == 3) continue;
        if (*p.origin && !strstr(given->values[0], MARK))
            return cli_usage(arguments->verb,
                "--%s %s is the same for all parts; put " MARK " into its name", option,
                given->values[0]);
        free(made[n_made]);
        made[n_made] = fill_in(given->values[0], &p);
        if (!made[n_made]) {
            const psc_error error = {PSC_ERROR_MEMORY, "not enough memory for the names of a part"};
            return cli_fail(&error);
        }
        given->values[0] = made[n_made++];
    }
    snprintf(shard, sizeof shard, "%lld/%lld", p.shard, p.n);
    if (*p.origin) {
        char note[160];
        snprintf(note, sizeof note, "note: part %s of the corpus (%s)", shard, p.origin);
        cli_progress_line(note);
    }
    return CLI_OK;
}
