/* In place of Criterion where it cannot start: its memory at a fixed address is
 * not the thread sanitizer's.
 * Public: a test of the preset `thread` finds it under Criterion's name.
 * Threads: each test runs in a child process of its own, as in Criterion.
 * Ownership: tests are static. */
#ifndef PSC_FORKED_CRITERION_H
#define PSC_FORKED_CRITERION_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    void (*init)(void);
    void (*fini)(void);
    double timeout; /* not used: CTest has one */
    int signal;     /* a test that must end so is left out */
    int exit_code;
    bool disabled;
    const char *description;
} forked_options;

typedef struct forked_test {
    const char *suite;
    const char *name;
    void (*body)(void); /* null: options of the whole suite */
    forked_options options;
    struct forked_test *next;
} forked_test;

void forked_add(forked_test *test);
void forked_fail(const char *file, int line, const char *condition, bool ends);
_Noreturn void forked_skip(void);

#define FORKED_ADD(suite_, name_, body_, id, ...)                                                  \
    __attribute__((constructor)) static void id##_add(void) {                                      \
        static forked_test test;                                                                   \
        test = (forked_test){#suite_, name_, body_, {__VA_ARGS__}, NULL};                          \
        forked_add(&test);                                                                         \
    }
#define TestSuite(suite_, ...) FORKED_ADD(suite_, NULL, NULL, forked_##suite_##_suite, __VA_ARGS__)
#define Test(suite_, name_, ...)                                                                   \
    static void suite_##_##name_##_body(void);                                                     \
    FORKED_ADD(suite_, #name_, suite_##_##name_##_body, suite_##_##name_, __VA_ARGS__)             \
    static void suite_##_##name_##_body(void)

#define FORKED_CHECK(ends, condition, text)                                                        \
    ((condition) ? (void)0 : forked_fail(__FILE__, __LINE__, text, ends))
#define FORKED_NEAR(a, b, error) (fabs((double)(a) - (double)(b)) <= (double)(error))

#define cr_assert(c, ...) FORKED_CHECK(true, c, #c)
#define cr_assert_not(c, ...) FORKED_CHECK(true, !(c), "not " #c)
#define cr_assert_eq(a, b, ...) FORKED_CHECK(true, (a) == (b), #a " == " #b)
#define cr_assert_neq(a, b, ...) FORKED_CHECK(true, (a) != (b), #a " != " #b)
#define cr_assert_lt(a, b, ...) FORKED_CHECK(true, (a) < (b), #a " < " #b)
#define cr_assert_leq(a, b, ...) FORKED_CHECK(true, (a) <= (b), #a " <= " #b)
#define cr_assert_gt(a, b, ...) FORKED_CHECK(true, (a) > (b), #a " > " #b)
#define cr_assert_geq(a, b, ...) FORKED_CHECK(true, (a) >= (b), #a " >= " #b)
#define cr_assert_null(a, ...) FORKED_CHECK(true, (a) == NULL, #a " is null")
#define cr_assert_not_null(a, ...) FORKED_CHECK(true, (a) != NULL, #a " is not null")
#define cr_assert_str_eq(a, b, ...) FORKED_CHECK(true, strcmp(a, b) == 0, #a " is " #b)
#define cr_assert_str_neq(a, b, ...) FORKED_CHECK(true, strcmp(a, b) != 0, #a " is not " #b)
#define cr_assert_arr_eq(a, b, n, ...) FORKED_CHECK(true, memcmp(a, b, n) == 0, #a " is " #b)
#define cr_assert_float_eq(a, b, error, ...)                                                       \
    FORKED_CHECK(true, FORKED_NEAR(a, b, error), #a " is near " #b)
#define cr_assert_fail(...) forked_fail(__FILE__, __LINE__, "failed", true)
#define cr_expect(c, ...) FORKED_CHECK(false, c, #c)
#define cr_expect_not(c, ...) FORKED_CHECK(false, !(c), "not " #c)
#define cr_expect_eq(a, b, ...) FORKED_CHECK(false, (a) == (b), #a " == " #b)
#define cr_expect_neq(a, b, ...) FORKED_CHECK(false, (a) != (b), #a " != " #b)
#define cr_expect_lt(a, b, ...) FORKED_CHECK(false, (a) < (b), #a " < " #b)
#define cr_expect_leq(a, b, ...) FORKED_CHECK(false, (a) <= (b), #a " <= " #b)
#define cr_expect_gt(a, b, ...) FORKED_CHECK(false, (a) > (b), #a " > " #b)
#define cr_expect_geq(a, b, ...) FORKED_CHECK(false, (a) >= (b), #a " >= " #b)
#define cr_expect_null(a, ...) FORKED_CHECK(false, (a) == NULL, #a " is null")
#define cr_expect_str_eq(a, b, ...) FORKED_CHECK(false, strcmp(a, b) == 0, #a " is " #b)
#define cr_log_info(...) ((void)0)
#define cr_skip_test(...) forked_skip()

#endif
