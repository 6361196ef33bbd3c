/* The part of Criterion that the shared tests use, in one process: Criterion forks and executes
 * itself, which an emulator of another architecture cannot do. A failed assertion ends its test.
 * Included by tests/ in place of Criterion, with tests/neon/plain_main.c.
 * Threads: one test at a time; assertions on the main thread.
 * Ownership: tests are static; what a failed test held is not freed. */
#ifndef PLAIN_CRITERION_H
#define PLAIN_CRITERION_H

#include <stddef.h>
#include <string.h>

typedef struct plain_test {
    const char *suite, *name;
    void (*run)(void);
    struct plain_test *next;
} plain_test;

void plain_register(plain_test *test);
/* Prints file, line, the failed assertion and the message, and ends the test. */
_Noreturn void plain_fail(const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
_Noreturn void plain_skip(const char *why);

#define Test(suite_name, test_name)                                                                \
    static void suite_name##_##test_name##_body(void);                                             \
    __attribute__((constructor)) static void suite_name##_##test_name##_register(void) {           \
        static plain_test test = {#suite_name, #test_name, suite_name##_##test_name##_body, NULL}; \
        plain_register(&test);                                                                     \
    }                                                                                              \
    static void suite_name##_##test_name##_body(void)

#define PLAIN_ASSERT(condition, what, ...)                                                         \
    do {                                                                                           \
        if (!(condition)) plain_fail(__FILE__, __LINE__, what, "" __VA_ARGS__);                    \
    } while (0)

/* The optional format and its arguments follow the operands. */
#define cr_assert(condition, ...) PLAIN_ASSERT(condition, #condition, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) PLAIN_ASSERT((a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...) PLAIN_ASSERT((a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...) PLAIN_ASSERT((a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...) PLAIN_ASSERT((a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...) PLAIN_ASSERT((a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...) PLAIN_ASSERT((a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_null(a, ...) PLAIN_ASSERT((a) == NULL, #a " is null", __VA_ARGS__)
#define cr_assert_not_null(a, ...) PLAIN_ASSERT((a) != NULL, #a " is not null", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)                                                                \
    PLAIN_ASSERT(strcmp(a, b) == 0, #a " is the text " #b, __VA_ARGS__)
#define cr_skip_test(...) plain_skip("" __VA_ARGS__)

#endif
