/* The temporary names of files and folders: what killed processes, other processes and strangers
 * leave under them, file systems without locks, and signals while they are written. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "loader_fixture.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define FILE_NAME ".a.psc-tmp"
#define FOLDER_NAME ".out.psc-tmp.d"

TestSuite(temporary, .init = fixture_open, .fini = fixture_close);

static bool has_locks = true;
static int64_t naps;

int flock(int fd, int operation) {
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    if (has_locks) return real(fd, operation);
    errno = ENOLCK;
    return -1;
}

/* Time passes at once. */
int nanosleep(const struct timespec *length, struct timespec *left) {
    (void)length, (void)left;
    naps++;
    return 0;
}

/* The names in a folder besides . and .., hidden ones included. */
static int count_all(const char *path) {
    DIR *dir = opendir(path);
    int n = -2;
    cr_assert(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static void expect_text(const char *name, const char *text) {
    char *data;
    size_t size;
    cr_assert_eq(psc_read_file(&data, &size, at(name), 100, NULL), PSC_OK);
    cr_assert_str_eq(data, text);
    free(data);
}

static psc_status write_output(const char *path, psc_error *error) {
    psc_output *output;
    psc_status status = psc_output_begin(&output, path, error);
    if (status) return status;
    cr_assert_eq(psc_output_write(output, "one", "1", 1, error), PSC_OK);
    cr_assert_eq(psc_output_write(output, "in/side/two", "2", 1, error), PSC_OK);
    return psc_output_commit(&output, error);
}

/* Runs fn in a process of its own and returns how it ended. */
static int run_apart(void (*fn)(void)) {
    int status;
    const pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        fn();
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

/* --- killed processes ------------------------------------------------------------------------ */

static void die_writing_a_file(void) {
    psc_temporary temporary;
    if (psc_temporary_open(&temporary, at("a"), "cannot write", NULL)) _exit(1);
    if (write(temporary.fd, "half", 4) != 4) _exit(1);
    raise(SIGKILL);
}

static void die_writing_a_folder(void) {
    psc_output *output;
    if (psc_output_begin(&output, at("out"), NULL)) _exit(1);
    if (psc_output_write(output, "deep/in/side", "half", 4, NULL)) _exit(1);
    raise(SIGKILL);
}

Test(temporary, a_killed_process_leaves_nothing_after_the_next_start) {
    psc_error error = {0};
    cr_assert(WIFSIGNALED(run_apart(die_writing_a_file)));
    cr_assert(psc_path_exists(at(FILE_NAME)));
    cr_assert_eq(psc_check_file(at("a"), &error), PSC_OK, "%s", error.message);
    cr_assert_eq(count_all(folder), 0);
    cr_assert(WIFSIGNALED(run_apart(die_writing_a_file)));
    cr_assert_eq(psc_write_file(at("a"), "whole", 5, &error), PSC_OK, "%s", error.message);
    expect_text("a", "whole");
    cr_assert_eq(count_all(folder), 1);
    cr_assert(WIFSIGNALED(run_apart(die_writing_a_folder)));
    cr_assert(psc_path_exists(at(FOLDER_NAME "/deep/in/side")));
    cr_assert_eq(write_output(at("out"), &error), PSC_OK, "%s", error.message);
    cr_assert(!psc_path_exists(at("out/deep")));
    cr_assert_eq(count_all(folder), 2);
}

static void die_after_the_rename(void) {
    psc_temporary lock;
    if (write_output(at("out"), NULL) || psc_temporary_open(&lock, at("out"), "cannot", NULL))
        _exit(1);
    raise(SIGKILL);
}

Test(temporary, a_start_that_is_refused_sweeps_as_well) {
    psc_error error = {0};
    cr_assert(WIFSIGNALED(run_apart(die_after_the_rename)));
    cr_assert_eq(count_all(folder), 2);
    cr_assert_eq(mkdir(at(FOLDER_NAME), 0777), 0);
    expect_error(
        write_output(at("out"), &error), PSC_ERROR_IO, &error, "it exists and is not empty");
    cr_assert_eq(count_all(folder), 1);
    psc_temporary held;
    cr_assert_eq(psc_temporary_open(&held, at("out"), "cannot", &error), PSC_OK);
    psc_temporary_sweep(at("out"));
    cr_assert_eq(count_all(folder), 2, "the name of a living process was removed");
    psc_temporary_close(&held);
}

/* --- other processes ------------------------------------------------------------------------- */

Test(temporary, two_at_once_never_share_a_name) {
    psc_temporary first;
    psc_output *output;
    psc_error error = {0};
    cr_assert_eq(psc_temporary_open(&first, at("a"), "cannot write", &error), PSC_OK);
    expect_error(psc_write_file(at("a"), "x", 1, &error), PSC_ERROR_IO, &error,
        "another process is writing it|wait");
    cr_assert_gt(naps, 100, "it did not wait");
    cr_assert_eq(write(first.fd, "first", 5), 5);
    cr_assert_eq(psc_temporary_commit(&first, at("a"), &error), PSC_OK, "%s", error.message);
    cr_assert_null(first.path);
    expect_text("a", "first");
    cr_assert_eq(psc_output_begin(&output, at("out"), &error), PSC_OK);
    expect_error(write_output(at("out"), &error), PSC_ERROR_IO, &error, "another process|wait");
    cr_assert_eq(psc_output_commit(&output, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(count_all(folder), 2);
}

/* --- strangers ------------------------------------------------------------------------------- */

Test(temporary, planted_links_and_pipes_are_not_followed) {
    psc_error error = {0};
    put_text("precious", "x");
    cr_assert_eq(mkdir(at("other"), 0777), 0);
    put_text("other/precious", "x");
    cr_assert_eq(symlink("precious", at(FILE_NAME)), 0);
    cr_assert_eq(symlink("other", at(FOLDER_NAME)), 0);
    cr_assert_eq(psc_write_file(at("a"), "new", 3, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(write_output(at("out"), &error), PSC_OK, "%s", error.message);
    expect_text("precious", "x");
    expect_text("other/precious", "x");
    expect_text("a", "new");
    cr_assert_eq(mkfifo(at(FILE_NAME), 0666), 0);
    cr_assert_eq(psc_write_file(at("a"), "newer", 5, &error), PSC_OK, "%s", error.message);
    expect_text("a", "newer");
    cr_assert_eq(count_all(folder), 4);
}

/* A file that another process may still write to never becomes the target. */
Test(temporary, a_planted_file_is_not_written_to) {
    psc_error error = {0};
    struct stat planted, made;
    put_text(FILE_NAME, "x");
    FILE *open = fopen(at(FILE_NAME), "r+");
    cr_assert(open && fstat(fileno(open), &planted) == 0);
    cr_assert_eq(psc_write_file(at("a"), "new", 3, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(stat(at("a"), &made), 0);
    cr_assert_neq(planted.st_ino, made.st_ino);
    fclose(open);
}

Test(temporary, what_cannot_be_removed_is_named) {
    psc_error error = {0};
    cr_assert_eq(mkdir(at(FILE_NAME), 0777), 0);
    put_text(FILE_NAME "/precious", "x");
    expect_error(psc_write_file(at("a"), "new", 3, &error), PSC_ERROR_IO, &error,
        FILE_NAME "|cannot be removed");
    expect_error(psc_check_file(at("a"), &error), PSC_ERROR_IO, &error, "remove it");
    cr_assert(psc_path_exists(at(FILE_NAME "/precious")));
}

/* --- file systems ---------------------------------------------------------------------------- */

Test(temporary, without_locks_the_name_has_the_process_number) {
    psc_error error = {0};
    psc_temporary temporary;
    has_locks = false;
    cr_assert_eq(psc_temporary_open(&temporary, at("a"), "cannot write", &error), PSC_OK);
    cr_assert(strstr(temporary.path, FILE_NAME "-"));
    cr_assert_eq(psc_write_file(at("a"), "new", 3, &error), PSC_OK, "%s", error.message);
    psc_temporary_close(&temporary);
    put_text(FILE_NAME, "left"); /* whose it is cannot be known */
    cr_assert_eq(write_output(at("out"), &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_write_file(at("a"), "newer", 5, &error), PSC_OK, "%s", error.message);
    expect_text("a", "newer");
    cr_assert_eq(count_all(folder), 3);
}

Test(temporary, long_names_can_be_written) {
    char name[256] = "", other[256];
    psc_error error = {0};
    memset(name, 'n', 255);
    memcpy(other, name, sizeof name);
    other[254] = 'm';
    cr_assert_eq(psc_write_file(at(name), "long", 4, &error), PSC_OK, "%s", error.message);
    expect_text(name, "long");
    psc_temporary first, second;
    cr_assert_eq(psc_temporary_open(&first, at(name), "cannot write", &error), PSC_OK);
    cr_assert_eq(psc_temporary_open(&second, at(other), "cannot write", &error), PSC_OK);
    psc_temporary_close(&first);
    psc_temporary_close(&second);
    cr_assert_eq(count_all(folder), 1);
}

/* A process that may open no more files cannot read a folder; without memory it is the same. */
Test(temporary, an_aborted_folder_goes_without_being_read) {
    psc_output *output;
    psc_error error = {0};
    struct rlimit few, before;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_eq(psc_output_begin(&output, at("out"), &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_output_write(output, "one", "1", 1, &error), PSC_OK);
    cr_assert_eq(psc_output_write(output, "in/side/two", "2", 1, &error), PSC_OK);
    cr_assert_eq(psc_output_write(output, "in/three", "3", 1, &error), PSC_OK);
    few = before;
    few.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    psc_output_abort(&output);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_eq(count_all(folder), 0);
}

/* --- signals --------------------------------------------------------------------------------- */

static void end_while_writing(bool whole) {
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    psc_output *output;
    if (psc_output_begin(&output, at("out"), NULL)) _exit(1);
    for (int i = 0; i < 3; i++) kill(getpid(), ending[i]);
    if (psc_output_write(output, "one", "1", 1, NULL)) _exit(1);
    if (whole)
        (void)psc_output_commit(&output, NULL);
    else
        psc_output_abort(&output);
    _exit(1); /* not reached */
}

static void end_before_commit(void) {
    end_while_writing(true);
}

static void end_before_abort(void) {
    end_while_writing(false);
}

Test(temporary, signals_wait_until_a_folder_is_whole_or_gone) {
    cr_assert(WIFSIGNALED(run_apart(end_before_abort)));
    cr_assert_eq(count_all(folder), 0);
    cr_assert(WIFSIGNALED(run_apart(end_before_commit)));
    expect_text("out/one", "1");
    cr_assert_eq(count_all(folder), 1);
}
