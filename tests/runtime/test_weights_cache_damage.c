/* Damaged, foreign, incomplete or hostile files of packed weights, and unusable folders: detected,
 * rebuilt where possible, and never a reason to refuse a model. */
#include "weights_cache_fixture.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <xxhash.h>

TestSuite(weights_cache_damage, .init = fixture_open, .fini = fixture_close);

static const char *model_path(void) {
    return golden_path("parallel_f32", NULL);
}

/* The damage is detected and the file rebuilt; afterwards the file is found. */
static void expect_remade(const char *what) {
    expect_opening(model_path(), "packed, cached", what);
    expect_opening(model_path(), "mapped", what);
    cr_assert_eq(count_files(".partial"), 0);
}

static int open_to_write(const char *path) {
    cr_assert_eq(chmod(path, 0600), 0);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0);
    return fd;
}

static void flip(const char *path, off_t offset) {
    unsigned char byte;
    int fd = open_to_write(path);
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static size_t size_of(const char *path) {
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    return (size_t)info.st_size;
}

Test(weights_cache_damage, truncated) {
    expect_opening(model_path(), "packed, cached", "at first");
    const size_t size = size_of(only_file());
    const size_t lengths[] = {0, 1, 111, 112, 4095, 4096, 4097, size / 2, size - 4096, size - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char what[64];
        snprintf(what, sizeof what, "cut to %zu bytes", lengths[i]);
        int fd = open_to_write(only_file());
        cr_assert_eq(ftruncate(fd, (off_t)lengths[i]), 0);
        close(fd);
        expect_remade(what);
    }
    int fd = open_to_write(only_file());
    cr_assert_eq(ftruncate(fd, (off_t)size + 64), 0);
    close(fd);
    expect_remade("longer than it was");
}

Test(weights_cache_damage, flipped_bits) {
    psc_error error;
    int32_t n;
    expect_opening(model_path(), "packed, cached", "at first");
    const off_t size = (off_t)size_of(only_file());
    for (off_t offset = 0; offset < (off_t)sizeof(psc_cache_header); offset += 5) {
        flip(only_file(), offset);
        expect_remade("a header with a flipped bit");
    }
    const off_t body[] = {4096, 4097, size / 2, size - 1};
    for (size_t i = 0; i < sizeof body / sizeof body[0]; i++) {
        flip(only_file(), body[i]);
        psc_cache_entry *list = entries(&n);
        cr_assert_eq(psc_cache_verify(kept(), list[0].name, &error), PSC_ERROR_INPUT);
        cr_assert(strstr(error.message, "hash"));
        expect_remade("weights with a flipped bit");
        cr_assert_eq(psc_cache_verify(kept(), list[0].name, &error), PSC_OK);
        psc_free(list);
    }
}

/* Replaces a header by another consistent one. */
static void rewrite(const char *path, void (*change)(psc_cache_header *)) {
    psc_cache_header header;
    int fd = open_to_write(path);
    cr_assert_eq(pread(fd, &header, sizeof header, 0), (ssize_t)sizeof header);
    change(&header);
    header.mark = XXH3_64bits(&header, offsetof(psc_cache_header, mark));
    cr_assert_eq(pwrite(fd, &header, sizeof header, 0), (ssize_t)sizeof header);
    close(fd);
}

static void another_image_version(psc_cache_header *h) {
    h->image_version++;
}
static void another_layout(psc_cache_header *h) {
    h->pack_layout++;
}
static void other_lanes(psc_cache_header *h) {
    h->lanes = 8;
}
static void other_order(psc_cache_header *h) {
    h->byte_order = 0x04030201u;
}
static void other_plan(psc_cache_header *h) {
    h->plan ^= 1;
}
static void huge(psc_cache_header *h) {
    h->bytes = UINT64_MAX;
}
static void empty(psc_cache_header *h) {
    h->bytes = 0;
}
static void other_model(psc_cache_header *h) {
    h->model[0] = h->model[0] == '0' ? '1' : '0';
}
static void endless_name(psc_cache_header *h) {
    memset(h->model, 'a', sizeof h->model);
}
static void other_body(psc_cache_header *h) {
    h->body[0] ^= 1;
}

Test(weights_cache_damage, whole_but_foreign_headers) {
    void (*const changes[])(psc_cache_header *) = {another_image_version, another_layout,
        other_lanes, other_order, other_plan, huge, empty, other_model, endless_name, other_body};
    expect_opening(model_path(), "packed, cached", "at first");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char what[64];
        snprintf(what, sizeof what, "foreign header %zu", i);
        rewrite(only_file(), changes[i]);
        expect_remade(what);
    }
}

/* A process that ended before it wrote the header, under the final name and under a temporary
 * one. */
Test(weights_cache_damage, half_written) {
    static const char zeros[PSC_CACHE_HEADER_BYTES];
    expect_opening(model_path(), "packed, cached", "at first");
    int fd = open_to_write(only_file());
    cr_assert_eq(pwrite(fd, zeros, sizeof zeros, 0), (ssize_t)sizeof zeros);
    close(fd);
    put_text("kept/making-1-0.partial", "left by a process that was ended");
    put_text("kept/making-2-0.partial", "still being made");
    int making = open(at("kept/making-2-0.partial"), O_RDWR);
    cr_assert_eq(flock(making, LOCK_EX), 0);
    expect_opening(model_path(), "packed, cached", "a file without a header");
    expect_opening(model_path(), "mapped", "afterwards");
    cr_assert(!psc_path_exists(at("kept/making-1-0.partial")));
    cr_assert(psc_path_exists(at("kept/making-2-0.partial")));
    close(making);
}

/* Killed after the image was made: beside the record that it began, or with
 * the lock in its hand. */
Test(weights_cache_damage, killed_after_the_image) {
    const char *model = copy_model("model", "parallel_f32");
    expect_opening(model, "packed, cached", "at first"); /* too new to be remembered */
    put_text("kept/making-1-0.partial", "");
    expect_opening(model, "mapped", "without a record");
    cr_assert_eq(count_files(".partial"), 0);
    settle();
    expect_opening(model, "mapped", "remembered from now on");
    cr_assert_eq(count_files(".source"), 1);
    put_text("kept/packing.lock", "");
    expect_opening(model, "mapped", "with a record");
    cr_assert(!psc_path_exists(at("kept/packing.lock")));
}

Test(weights_cache_damage, no_plain_file_of_ours) {
    char path[800];
    expect_opening(model_path(), "packed, cached", "at first");
    snprintf(path, sizeof path, "%s", only_file());
    cr_assert_eq(chmod(path, 0666), 0);
    expect_remade("a file that others may write to");
    copy_file(at("elsewhere"), path);
    cr_assert_eq(chmod(at("elsewhere"), 0400), 0);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink(at("elsewhere"), path), 0);
    expect_remade("a symbolic link");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_remade("a pipe");
    if (geteuid() == 0) {
        cr_assert_eq(chown(path, 12345, 12345), 0);
        expect_remade("another user's file");
    }
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    expect_opening(model_path(), "packed, not cached", "a folder in the file's place");
    cr_assert_eq(count_files(".partial"), 0);
    cr_assert_eq(rmdir(path), 0);
    expect_remade("nothing at all");
}

/* Another model's file under this one's name. */
Test(weights_cache_damage, another_models_file) {
    char path[800], other[800];
    psc_model *model = open_kept(golden_path("large_scores", NULL));
    snprintf(other, sizeof other, "%s", only_file());
    psc_model_close(&model);
    char *copy = strdup(at("copy"));
    copy_file(copy, other);
    cr_assert_eq(unlink(other), 0);
    expect_opening(model_path(), "packed, cached", "at first");
    snprintf(path, sizeof path, "%s", only_file());
    cr_assert_eq(chmod(copy, 0400), 0);
    cr_assert_eq(rename(copy, path), 0);
    expect_remade("another model's file");
    free(copy);
}

Test(weights_cache_damage, records) {
    const char *model = copy_model("model", "parallel_f32");
    settle();
    expect_opening(model, "packed, cached", "at first");
    int32_t n;
    char record_path[1024] = "";
    DIR *dir = opendir(kept());
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strstr(entry->d_name, ".source"))
            snprintf(record_path, sizeof record_path, "%s/%s", kept(), entry->d_name);
    closedir(dir);
    char *good;
    size_t size;
    cr_assert_eq(psc_read_file(&good, &size, record_path, 1 << 20, NULL), PSC_OK);
    psc_cache_entry *list = entries(&n);
    cr_assert(strstr(list[0].model, "/model"), "%s", list[0].model);
    psc_free(list);
    for (size_t cut = 0; cut <= size; cut += cut + 8 < size ? 7 : 1) {
        char *bad = malloc(size);
        memcpy(bad, good, size);
        if (cut < size) bad[cut] ^= 0x21;
        cr_assert_eq(psc_write_file(record_path, bad, size, NULL), PSC_OK);
        free(bad);
        psc_free(entries(&n));
        expect_opening(model, "mapped", "a record with a wrong byte");
        cr_assert_eq(psc_write_file(record_path, good, cut, NULL), PSC_OK);
        psc_free(entries(&n));
        expect_opening(model, "mapped", "a record that was cut");
        expect_opening(model, "mapped", "a record that was made again");
        cr_assert_eq(count_files(PSC_CACHE_SUFFIX), 1);
    }
    free(good);
}

/* As on a full disk: writes fail halfway. */
Test(weights_cache_damage, full_disk) {
    struct rlimit before, low;
    recording fresh, run;
    psc_model *model = must_model(model_path());
    record(&fresh, model);
    psc_model_close(&model);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    const rlim_t limits[] = {0, 4096, 5000, 100000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        low = (struct rlimit){limits[i], before.rlim_max};
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
        model = open_kept(model_path());
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
        cr_assert_eq(strncmp(psc_model_weights_text(model), "packed, not cached: ", 20), 0, "%s",
            psc_model_weights_text(model));
        record(&run, model);
        recording_assert_same(&fresh, 0, &run, 0, PROMPT_TOKENS, "a full disk");
        recording_close(&run);
        psc_model_close(&model);
        cr_assert_eq(count_files(".partial"), 0);
        cr_assert_eq(count_files(PSC_CACHE_SUFFIX), 0);
    }
    recording_close(&fresh);
    expect_remade("room again");
}

Test(weights_cache_damage, folders_that_cannot_be_used) {
    put_text("file", "no folder");
    const char *const dirs[] = {"", "/dev/null/kept", "/proc/kept", at("file"), at("file/kept")};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        psc_model *model = open_limited(model_path(), dirs[i], 0);
        cr_assert_eq(strncmp(psc_model_weights_text(model), "packed, not cached: ", 20), 0,
            "\"%s\": %s", dirs[i], psc_model_weights_text(model));
        psc_model_close(&model);
    }
    cr_assert_eq(mkdir(kept(), 0700), 0);
    if (geteuid() == 0) {
        cr_assert_eq(chown(kept(), 12345, 12345), 0);
        expect_opening(model_path(), "packed, not cached", "another user's folder");
        cr_assert_eq(chown(kept(), 0, 0), 0);
    } else {
        cr_assert_eq(chmod(kept(), 0500), 0);
        expect_opening(model_path(), "packed, not cached", "a read-only folder");
        cr_assert_eq(chmod(kept(), 0700), 0);
        expect_opening(model_path(), "packed, cached", "a folder");
        cr_assert_eq(chmod(kept(), 0500), 0);
        expect_opening(model_path(), "mapped", "a read-only folder with a file");
        cr_assert_eq(chmod(kept(), 0700), 0);
    }
}
