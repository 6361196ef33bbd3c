/* Models of every kind of file that are opened while calls of the system or memory fail, each in
 * turn: the model opens with its own weights, or one sentence says what failed. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "failing_calls.h"
#include "failing_malloc.h"
#include "golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/"

/* One file, shards, files of torch.save, shards of these, scaled rotary
 * dimensions, tied matrices. */
static const char *const folders[] = {GOLDEN "loader/sharded", GOLDEN "torch/plain",
    GOLDEN "torch/sharded", GOLDEN "parity/rope_yarn", GOLDEN "parity/tied_f32"};
enum { N_FOLDERS = sizeof folders / sizeof *folders };

static psc_error error;
static char hash[33];

static psc_status open_it(const char *folder, bool header) {
    psc_model *model = NULL;
    error = (psc_error){PSC_OK, ""};
    const psc_status status = header ? psc_model_open_header(&model, folder, NULL, &error)
                                     : psc_model_open(&model, folder, &error);
    calls_back();
    memory_back();
    cr_assert_eq(status == PSC_OK, model != NULL);
    cr_assert(status == PSC_OK || error.status == status);
    if (model && !hash[0])
        snprintf(hash, sizeof hash, "%s", psc_model_get_info(model)->hash);
    else if (model && !header)
        cr_assert_str_eq(psc_model_get_info(model)->hash, hash);
    psc_model_close(&model);
    return status;
}

static void fail_calls(const char *folder, bool header, int reason) {
    calls_fail_at(0, 0, false);
    cr_assert_eq(open_it(folder, header), PSC_OK, "%s: %s", folder, error.message);
    const long n = calls_made;
    cr_assert(!CALLS_FAIL || n > 5, "%ld calls", n);
    for (long i = 1; i <= n; i++) {
        calls_fail_at(i, reason, false);
        const psc_status status = open_it(folder, header);
        cr_assert(status == PSC_OK || *error.message, "call %ld, %s", i, calls_failed);
    }
}

static void fail_memory(const char *folder, bool header, bool on) {
    memory_fail_at(0, false);
    cr_assert_eq(open_it(folder, header), PSC_OK, "%s: %s", folder, error.message);
    const long n = memory_requests;
    for (long i = 1; i <= n; i += 1 + n / 300) {
        memory_fail_at(i, on);
        const psc_status status = open_it(folder, header);
        cr_assert(status == PSC_OK || status == PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n,
            error.message);
    }
}

static void fail_all(int i) {
    hash[0] = 0;
    cr_assert_eq(open_it(folders[i], false), PSC_OK, "%s", error.message);
    for (int header = 0; header < 2; header++) {
        fail_calls(folders[i], header, EIO);
        fail_calls(folders[i], header, ENOENT);
        fail_memory(folders[i], header, header);
    }
}

Test(model_calls, shards) {
    fail_all(0);
}

Test(model_calls, files_of_torch) {
    fail_all(1);
    fail_all(2);
}

Test(model_calls, rotary_dimensions_and_ties) {
    fail_all(3);
    fail_all(4);
}
