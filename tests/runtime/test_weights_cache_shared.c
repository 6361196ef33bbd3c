/* Processes of one machine: started at once with an empty cache they pack once, and they share
 * the pages of its file. */
#include "weights_cache_fixture.h"
#include "weights_cache_lock.h"

#include <signal.h>
#include <sys/wait.h>

TestSuite(weights_shared, .init = fixture_open, .fini = fixture_close);

enum { CHILDREN = 4 };

typedef struct answer {
    bool packed;
    int64_t sum;               /* of the weights' bytes, which touches every page */
    long rss, pss, is_private; /* KiB of the mapping; -1: not in the list */
} answer;

/* What the process has of the file of packed weights. */
static void examine(answer *out) {
    char line[1200];
    bool inside = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    out->rss = out->pss = -1;
    while (maps && fgets(line, sizeof line, maps)) {
        long kib = 0;
        if (strcspn(line, "-") < strcspn(line, ": ")) /* 7f00...-7f01... r--p ... PATH */
            inside = strstr(line, PSC_CACHE_SUFFIX) != NULL;
        else if (inside && sscanf(line, "Rss: %ld", &kib) == 1)
            out->rss = kib;
        else if (inside && sscanf(line, "Pss: %ld", &kib) == 1)
            out->pss = kib;
        else if (inside && sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            out->is_private = kib;
    }
    if (maps) fclose(maps);
}

enum { START, TOUCHED, LOOK, ANSWERS, END, PIPES };

/* Opens the model when the parent says so, touches its weights, waits for the others, and answers.
 * The mapping stays until all have looked. */
static int child(const char *path, int pipes[PIPES][2]) {
    char byte;
    answer out = {0};
    psc_model *model = NULL;
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = kept();
    options.cache_least = 1;
    if (read(pipes[START][0], &byte, 1) != 1) return 1;
    if (psc_model_open_with(&model, path, &options, NULL) != PSC_OK) return 2;
    out.packed = strncmp(psc_model_weights_text(model), "packed, cached", 14) == 0;
    for (size_t i = 0; i < model->weights.size; i += 64) out.sum += model->weights.data[i];
    if (write(pipes[TOUCHED][1], "x", 1) != 1 || read(pipes[LOOK][0], &byte, 1) != 1) return 3;
    examine(&out);
    if (write(pipes[ANSWERS][1], &out, sizeof out) != (ssize_t)sizeof out) return 4;
    if (read(pipes[END][0], &byte, 1) != 1) return 5;
    psc_model_close(&model);
    return 0;
}

static void let_go(const int pipe[2]) {
    for (int i = 0; i < CHILDREN; i++) cr_assert_eq(write(pipe[1], "x", 1), 1);
}

static void run_children(answer out[CHILDREN], const char *path) {
    int pipes[PIPES][2];
    pid_t children[CHILDREN];
    char byte;
    for (int i = 0; i < PIPES; i++) cr_assert_eq(pipe(pipes[i]), 0);
    for (int i = 0; i < CHILDREN; i++)
        if ((children[i] = fork()) == 0) _exit(child(path, pipes));
    let_go(pipes[START]);
    for (int i = 0; i < CHILDREN; i++) cr_assert_eq(read(pipes[TOUCHED][0], &byte, 1), 1);
    let_go(pipes[LOOK]);
    for (int i = 0; i < CHILDREN; i++)
        cr_assert_eq(read(pipes[ANSWERS][0], &out[i], sizeof *out), (ssize_t)sizeof *out);
    let_go(pipes[END]);
    for (int i = 0; i < CHILDREN; i++) {
        int code = -1;
        cr_assert_eq(waitpid(children[i], &code, 0), children[i]);
        cr_assert_eq(code, 0);
    }
}

Test(weights_shared, processes_pack_once, .timeout = 120) {
    const char *path = golden_embedded();
    if (!path) return;
    for (int round = 0; round < 3; round++) {
        answer answers[CHILDREN];
        int packed = 0;
        run_children(answers, path);
        for (int i = 0; i < CHILDREN; i++) packed += answers[i].packed;
        cr_assert_eq(packed, 1, "%d processes packed", packed);
        cr_assert_eq(count_files(".lock"), 0);
        cr_assert_eq(count_files(PSC_CACHE_SUFFIX), 1);
        cr_assert_eq(psc_cache_clear(kept(), NULL, NULL), PSC_OK);
    }
}

#ifdef __linux__
/* Pss counts each page by the number of processes that have it. */
Test(weights_shared, processes_share_the_pages, .timeout = 120) {
    const char *path = golden_embedded();
    answer answers[CHILDREN];
    long pss = 0;
    if (!path) return;
    psc_model *model = open_kept(path);
    const long file = (long)(model->weights.size >> 10);
    psc_model_close(&model);
    run_children(answers, path);
    for (int i = 0; i < CHILDREN; i++) {
        cr_assert_not(answers[i].packed);
        cr_assert_geq(answers[i].rss, file * 9 / 10, "%ld of %ld KiB", answers[i].rss, file);
        cr_assert_eq(answers[i].is_private, 0);
        pss += answers[i].pss;
    }
    cr_assert_leq(
        pss, file * 11 / 10, "%d processes have %ld KiB of a file of %ld KiB", CHILDREN, pss, file);
}
#endif

/* A process that is killed while it packs does not keep the others from it. */
Test(weights_shared, a_killed_process_gives_the_lock_up, .timeout = 60) {
    psc_cache_place place;
    psc_error error;
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(psc_cache_place_open(&place, NULL, kept(), true, &error), PSC_OK);
    const pid_t holder = fork();
    if (holder == 0) {
        const int lock = psc_cache_lock_take(&place);
        if (lock >= 0 && write(ready[1], "x", 1) == 1) pause();
        _exit(1);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(kill(holder, SIGKILL), 0);
    waitpid(holder, NULL, 0);
    const int lock = psc_cache_lock_take(&place);
    cr_assert_geq(lock, 0);
    psc_cache_lock_release(&place, lock);
    cr_assert_eq(count_files(".lock"), 0);
    psc_cache_place_close(&place);
}
