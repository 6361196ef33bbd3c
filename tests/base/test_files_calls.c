/* Files and folders while calls of the system fail: each in turn, with several reasons, once and
 * from there on. A call gives all of it or one sentence, and what was there stays. The next call is
 * whole and leaves no temporary name. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "failing_calls.h"

#include "loader_fixture.h"

#include <time.h>

/* In memory where the system has such a folder: each trial syncs several files. */
static void begin(void) {
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
    fixture_open();
}

TestSuite(files_calls, .init = begin, .fini = fixture_close);

static psc_error error;

/* Time passes at once. */
int nanosleep(const struct timespec *length, struct timespec *left) {
    (void)length, (void)left;
    return 0;
}

/* The names in the folder besides . and .., hidden ones included. */
static int count_all(void) {
    DIR *dir = opendir(folder);
    int n = -2;
    cr_assert(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static bool has_text(const char *name, const char *text) {
    FILE *file = fopen(at(name), "rb");
    char found[64] = "";
    if (!file) return false;
    const size_t n = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    return n == strlen(text) && strcmp(found, text) == 0;
}

static const int reasons[] = {
    EIO, EACCES, ENOMEM, EMFILE, ENOSPC, EINVAL, ENOLCK, EINTR, ELOOP, ENOENT};

/* prepare makes the folder's state, call is the call, check looks at the state after it. A call
 * that succeeded although one failed is as one without. */
typedef struct trial {
    void (*prepare)(void);
    psc_status (*call)(void);
    void (*check)(psc_status status);
} trial;

static bool undisturbed; /* the last call */

static void fail_one(const trial *t, long i, int reason, bool on) {
    t->prepare();
    undisturbed = false;
    error = (psc_error){PSC_OK, ""};
    calls_fail_at(i, reason, on);
    const psc_status status = t->call();
    calls_back();
    cr_assert_eq(error.status, status);
    cr_assert(!status || *error.message);
    if (status == PSC_OK && on && reason == EIO && i == 1)
        cr_assert_fail("every call failed, and nothing was said");
    t->check(status);
    undisturbed = true;
    cr_assert_eq(t->call(), PSC_OK, "%s", error.message);
    t->check(PSC_OK);
}

static void fail_each(const trial *t, long least) {
    t->prepare();
    calls_fail_at(0, 0, false);
    cr_assert_eq(t->call(), PSC_OK, "%s", error.message);
    const long n = calls_back();
    t->check(PSC_OK);
    cr_assert(!CALLS_FAIL || n >= least, "%ld calls", n);
    for (size_t r = 0; r < sizeof reasons / sizeof *reasons; r++)
        for (long i = 1; i <= n; i++) {
            fail_one(t, i, reasons[r], false);
            if (r == 0 || reasons[r] == ENOLCK) fail_one(t, i, reasons[r], CALLS_FAIL);
        }
}

/* --- reading --------------------------------------------------------------------------------- */

static char *data;
static size_t size;

static void make_input(void) {
    put_text("input", "some bytes");
}

static psc_status read_input(void) {
    return psc_read_file(&data, &size, at("input"), 100, &error);
}

static void check_read(psc_status status) {
    if (status == PSC_OK)
        cr_assert(size == 10 && strcmp(data, "some bytes") == 0);
    else
        cr_assert(!data && size == 0);
    free(data);
    data = NULL;
}

Test(files_calls, a_file_that_is_read) {
    const trial t = {make_input, read_input, check_read};
    fail_each(&t, 2);
}

static psc_mapping map;

static psc_status map_input(void) {
    return psc_map_file(&map, at("input"), &error);
}

static void check_map(psc_status status) {
    cr_assert_eq(status == PSC_OK, map.size == 10);
    if (!status) cr_assert_eq(memcmp(map.data, "some bytes", 10), 0);
    psc_unmap_file(&map);
}

Test(files_calls, a_file_that_is_mapped) {
    const trial t = {make_input, map_input, check_map};
    fail_each(&t, 3);
}

static psc_status map_memory(void) {
    return psc_map_memory(&map, 10, &error);
}

static void check_memory(psc_status status) {
    cr_assert_eq(status, map.data ? PSC_OK : PSC_ERROR_MEMORY);
    if (map.data) psc_memory_seal(&map);
    psc_unmap_file(&map);
}

Test(files_calls, memory_that_is_mapped) {
    const trial t = {make_input, map_memory, check_memory};
    fail_each(&t, 1);
    cr_assert_eq(psc_map_memory(&map, 0, &error), PSC_OK);
    cr_assert(!map.data && map.size == 0);
    psc_memory_seal(&map);
    psc_unmap_file(&map);
}

/* Only that nothing is there means that nothing is there. */
Test(files_calls, what_cannot_be_looked_at_exists) {
    static const struct {
        int reason;
        bool exists;
    } cases[] = {{ENOENT, false}, {ENOTDIR, false}, {ELOOP, false}, {ENAMETOOLONG, false},
        {EACCES, true}, {EIO, true}, {ENOMEM, true}};
    psc_file_facts facts;
    make_input();
    for (size_t i = 0; CALLS_FAIL && i < sizeof cases / sizeof *cases; i++) {
        calls_fail_at(1, cases[i].reason, true);
        const bool exists = psc_path_exists(at("input"));
        const bool examined = psc_file_examine(&facts, at("input"));
        calls_back();
        cr_assert_eq(exists, cases[i].exists, "%s", strerror(cases[i].reason));
        cr_assert_not(examined);
    }
}

/* --- writing --------------------------------------------------------------------------------- */

static void make_old(void) {
    unlink(at("output"));
    put_text("output", "old");
}

static void make_left(void) { /* by a process that was killed */
    make_old();
    put_text(".output.psc-tmp", "left");
}

static psc_status write_output(void) {
    return psc_write_file(at("output"), "new text", 8, &error);
}

/* Where a name cannot be looked at, it stays: it could be another's. */
static void check_output(psc_status status) {
    cr_assert(has_text("output", status ? "old" : "new text"), "%s fails, %s", calls_failed,
        error.message);
    if (undisturbed) cr_assert_eq(count_all(), 1, "%s fails, a temporary name stays", calls_failed);
}

Test(files_calls, a_file_that_is_written) {
    const trial t = {make_old, write_output, check_output};
    fail_each(&t, 8);
}

Test(files_calls, a_file_that_is_written_where_one_was_left) {
    const trial t = {make_left, write_output, check_output};
    fail_each(&t, 12);
}

static void make_none(void) {
    unlink(at("output"));
    unlink(at(".output.psc-tmp"));
}

static psc_status check_name(void) {
    return psc_check_file(at("output"), &error);
}

static void check_nothing(psc_status status) {
    (void)status;
    if (undisturbed) cr_assert_eq(count_all(), 0, "%s fails, a temporary name stays", calls_failed);
    cr_assert_not(psc_path_exists(at("output")));
}

Test(files_calls, a_name_that_is_checked) {
    const trial t = {make_none, check_name, check_nothing};
    fail_each(&t, 4);
}

Test(files_calls, an_empty_name) {
    cr_assert_eq(psc_write_file("", "x", 1, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "the name of the file to write is empty; give it a name");
}

/* --- folders --------------------------------------------------------------------------------- */

static void make_no_folder(void) {
    cr_assert_eq(psc_folder_remove(at("out")), 0);
    cr_assert_eq(psc_folder_remove(at(".out.psc-tmp.d")), 0);
    unlink(at(".out.psc-tmp"));
}

static psc_status write_folder(void) {
    psc_output *output;
    psc_status status = psc_output_begin(&output, at("out"), &error);
    if (status) return status;
    status = psc_output_write(output, "one", "1", 1, &error);
    if (!status) status = psc_output_write(output, "in/two", "2", 1, &error);
    if (!status) return psc_output_commit(&output, &error);
    psc_output_abort(&output);
    return status;
}

static void check_folder(psc_status status) {
    const bool whole = has_text("out/one", "1") && has_text("out/in/two", "2");
    cr_assert_eq(whole, status == PSC_OK, "%s fails, %s", calls_failed, error.message);
    if (undisturbed) cr_assert_eq(count_all(), 1, "%s fails, a temporary name stays", calls_failed);
    if (!whole) cr_assert(!psc_path_exists(at("out")) || rmdir(at("out")) == 0, "a part of it");
    make_no_folder();
}

Test(files_calls, a_folder_that_is_written) {
    const trial t = {make_no_folder, write_folder, check_folder};
    fail_each(&t, 15);
}

static void make_empty_folder(void) {
    make_no_folder();
    cr_assert_eq(mkdir(at("out"), 0755), 0);
    cr_assert_eq(mkdir(at(".out.psc-tmp.d"), 0755), 0); /* as a killed process leaves them */
    cr_assert_eq(mkdir(at(".out.psc-tmp.d/in"), 0755), 0);
    put_text(".out.psc-tmp.d/in/two", "left");
    put_text(".out.psc-tmp", "");
}

Test(files_calls, an_empty_folder_that_is_replaced) {
    const trial t = {make_empty_folder, write_folder, check_folder};
    fail_each(&t, 20);
}

/* --- names ----------------------------------------------------------------------------------- */

Test(files_calls, names_that_are_joined) {
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (int i = 0; i < 4; i++) {
        char *path = psc_path_join(cases[i][0], cases[i][1]);
        cr_assert_str_eq(path, cases[i][2]);
        free(path);
    }
}

Test(files_calls, folders_that_cannot_be_made) {
    static const char *const outside[] = {
        "", "/a", "a/", "a//b", ".", "..", "a/..", "./a", "a/./b"};
    char sentence[100];
    psc_output *output;
    FILE *file;
    cr_assert_eq(psc_output_begin(&output, "", &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "the output folder's name is empty");
    cr_assert_eq(psc_output_begin(&output, "/", &error), PSC_ERROR_IO);
    cr_assert_str_eq(error.message,
        "cannot create the output folder /: it exists and is not empty; use a new or empty folder");
    cr_assert_eq(psc_output_begin(&output, at("out"), &error), PSC_OK, "%s", error.message);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        cr_assert_eq(psc_output_open(&file, output, outside[i], &error), PSC_ERROR_INPUT);
        snprintf(sentence, sizeof sentence, "%s is not a plain path inside the output folder",
            outside[i]);
        cr_assert_str_eq(error.message, sentence);
        cr_assert_null(file);
    }
    for (int i = 0; i < 40; i++) { /* more than the list of files begins with */
        char name[16];
        snprintf(name, sizeof name, ".%d/..%d", i % 3, i);
        cr_assert_eq(psc_output_write(output, name, "x", 1, &error), PSC_OK, "%s", error.message);
    }
    cr_assert_eq(psc_output_write(output, ".0/..0", "x", 1, &error), PSC_ERROR_IO, "twice");
    psc_output_abort(&output);
    psc_output_abort(&output);
    cr_assert_eq(count_all(), 0);
}

Test(files_calls, one_state_of_a_file) {
    const psc_file_facts a = {1, 2, 3, 4, 5};
    psc_file_facts b[5] = {a, a, a, a, a};
    cr_assert(psc_file_same(&a, &a));
    b[0].size++, b[1].device++, b[2].inode++, b[3].modified++, b[4].changed++;
    for (int i = 0; i < 5; i++) cr_assert_not(psc_file_same(&a, &b[i]), "member %d", i);
}
