/* Runs the linked tests one after the other in this process and prints how many passed. usage:
 * PROGRAM [SUITE/NAME]...; default: all */
#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

enum { PASSED, FAILED, SKIPPED };

static plain_test *first;
static jmp_buf end_of_test;
static int outcome; /* of the current test */

/* Sorted by suite and name, because the linker determines the order of constructors. */
void plain_register(plain_test *test) {
    plain_test **at = &first;
    while (*at) {
        int order = strcmp((*at)->suite, test->suite);
        if (order > 0 || (order == 0 && strcmp((*at)->name, test->name) > 0)) break;
        at = &(*at)->next;
    }
    test->next = *at;
    *at = test;
}

void plain_fail(const char *file, int line, const char *what, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("%s:%d: %s: ", file, line, what);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    outcome = FAILED;
    longjmp(end_of_test, 1);
}

void plain_skip(const char *why) {
    printf("skipped: %s\n", why);
    outcome = SKIPPED;
    longjmp(end_of_test, 1);
}

static bool is_asked(const plain_test *test, int n, char **names) {
    char name[256];
    snprintf(name, sizeof name, "%s/%s", test->suite, test->name);
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) return true;
    }
    return n == 0;
}

static int run(const plain_test *test) {
    outcome = PASSED;
    if (setjmp(end_of_test) == 0) test->run();
    return outcome;
}

int main(int argc, char **argv) {
    static const char *const words[] = {"passed", "FAILED", "skipped"};
    int counts[3] = {0};
    for (const plain_test *test = first; test; test = test->next) {
        if (!is_asked(test, argc - 1, argv + 1)) continue;
        int how = run(test);
        counts[how]++;
        printf("%s %s/%s\n", words[how], test->suite, test->name);
        fflush(stdout);
    }
    printf("%d passed, %d failed\n", counts[PASSED], counts[FAILED]);
    return counts[FAILED] || !counts[PASSED];
}
