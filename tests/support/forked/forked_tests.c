/* Runs the tests of a program one after another, each in a child process
 * (criterion/criterion.h). */
#include "criterion/criterion.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSED = 0, FAILED = 1, SKIPPED = 77 };

static forked_test *first;
static bool failed; /* of the child: an expectation that did not end the test */

void forked_add(forked_test *test) {
    test->next = first;
    first = test;
}

void forked_fail(const char *file, int line, const char *condition, bool ends) {
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    failed = true;
    if (ends) exit(FAILED);
}

void forked_skip(void) {
    exit(failed ? FAILED : SKIPPED);
}

static const forked_options *suite_options(const char *suite) {
    static const forked_options none;
    for (const forked_test *test = first; test; test = test->next)
        if (!test->body && strcmp(test->suite, suite) == 0) return &test->options;
    return &none;
}

static int run(const forked_test *test) {
    const forked_options *suite = suite_options(test->suite), *own = &test->options;
    void (*init)(void) = own->init ? own->init : suite->init;
    void (*fini)(void) = own->fini ? own->fini : suite->fini;
    if (init) init();
    test->body();
    if (fini) fini();
    return failed ? FAILED : PASSED;
}

int main(int argc, char **argv) {
    int n = 0, n_failed = 0, n_skipped = 0;
    (void)argc;
    for (const forked_test *test = first; test; test = test->next) {
        if (!test->body) continue;
        int status = 0;
        const forked_options *own = &test->options, *suite = suite_options(test->suite);
        n++;
        if (own->signal || own->exit_code || own->disabled || suite->disabled) {
            n_skipped++;
            continue;
        }
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) exit(run(test));
        if (child < 0 || waitpid(child, &status, 0) != child) return FAILED;
        const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (code == SKIPPED) n_skipped++;
        if (code == SKIPPED || code == PASSED) continue;
        n_failed++;
        fprintf(stderr, "%s: %s::%s ended with %d\n", argv[0], test->suite, test->name, code);
    }
    printf("%d tests, %d failed, %d skipped\n", n, n_failed, n_skipped);
    return n_failed > 0;
}
