/* Files mapped and read with a cap; files and folders written completely or not at all. */
#include "loader_fixture.h"

TestSuite(files, .init = fixture_open, .fini = fixture_close);

/* Entries of a folder besides . and .. */
static int count_entries(const char *path) {
    DIR *dir = opendir(path);
    int n = 0;
    cr_assert(dir);
    for (struct dirent *entry; (entry = readdir(dir));) n += entry->d_name[0] != '.';
    rewinddir(dir);
    for (struct dirent *entry; (entry = readdir(dir));) n += strstr(entry->d_name, ".psc-tmp") != 0;
    closedir(dir);
    return n;
}

Test(files, map_and_read) {
    psc_mapping map;
    psc_error error = {0};
    char *data;
    size_t size;
    put_text("a", "hello");
    put_text("empty", "");
    cr_assert_eq(psc_map_file(&map, at("a"), &error), PSC_OK, "%s", error.message);
    cr_assert(map.size == 5 && memcmp(map.data, "hello", 5) == 0);
    psc_unmap_file(&map);
    cr_assert_null(map.data);
    cr_assert_eq(psc_map_file(&map, at("empty"), &error), PSC_OK);
    cr_assert(map.size == 0 && !map.data);
    psc_unmap_file(&map);
    cr_assert_eq(psc_read_file(&data, &size, at("a"), 5, &error), PSC_OK);
    cr_assert(size == 5 && strcmp(data, "hello") == 0);
    free(data);
    expect_error(psc_read_file(&data, &size, at("a"), 4, &error), PSC_ERROR_INPUT, &error,
        "5 bytes|the limit is 4");
    cr_assert_null(data);
}

Test(files, what_is_no_file_is_refused) {
    psc_mapping map;
    psc_error error;
    expect_error(psc_map_file(&map, at("none"), &error), PSC_ERROR_IO, &error, "none|No such file");
    expect_error(psc_map_file(&map, folder, &error), PSC_ERROR_INPUT, &error, "directory");
    cr_assert_eq(mkfifo(at("fifo"), 0666), 0);
    expect_error(psc_map_file(&map, at("fifo"), &error), PSC_ERROR_INPUT, &error, "regular");
    expect_error(psc_map_file(&map, "/dev/zero", &error), PSC_ERROR_INPUT, &error, "regular");
}

Test(files, write_replaces_whole) {
    psc_error error = {0};
    char *data;
    size_t size;
    put_text("a", "old and longer");
    cr_assert_eq(psc_write_file(at("a"), "new", 3, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_read_file(&data, &size, at("a"), 100, &error), PSC_OK);
    cr_assert_str_eq(data, "new");
    free(data);
    cr_assert_eq(count_entries(folder), 1);
    expect_error(psc_write_file(at("no/a"), "x", 1, &error), PSC_ERROR_IO, &error, "no/a|No such");
}

/* A rename would replace the link, such as /dev/stdout. */
Test(files, write_follows_links) {
    psc_error error = {0};
    struct stat found;
    char *data;
    size_t size;
    put_text("named", "old");
    cr_assert_eq(symlink("named", at("link")), 0);
    cr_assert_eq(psc_write_file(at("link"), "new", 3, &error), PSC_OK, "%s", error.message);
    cr_assert(lstat(at("link"), &found) == 0 && S_ISLNK(found.st_mode));
    cr_assert_eq(psc_read_file(&data, &size, at("named"), 100, &error), PSC_OK);
    cr_assert_str_eq(data, "new");
    free(data);
    cr_assert_eq(count_entries(folder), 2);
}

static psc_status write_folder(const char *path, psc_error *error) {
    psc_output *output;
    psc_status status = psc_output_begin(&output, path, error);
    if (status) return status;
    status = psc_output_write(output, "one", "1", 1, error);
    if (!status) status = psc_output_write(output, "two", "", 0, error);
    if (status)
        psc_output_abort(&output);
    else
        status = psc_output_commit(&output, error);
    cr_assert_null(output);
    return status;
}

/* A rename would replace them. */
Test(files, devices_and_pipes_are_not_replaced) {
    struct stat found;
    psc_error error;
    cr_assert_eq(mkfifo(at("pipe"), 0600), 0);
    expect_error(psc_write_file(at("pipe"), "x", 1, &error), PSC_ERROR_INPUT, &error,
        "pipe|not a regular file");
    cr_assert(stat(at("pipe"), &found) == 0 && S_ISFIFO(found.st_mode));
    expect_error(
        psc_write_file("/dev/null", "x", 1, &error), PSC_ERROR_INPUT, &error, "not a regular file");
    cr_assert(stat("/dev/null", &found) == 0 && S_ISCHR(found.st_mode));
}

Test(files, output_folder_appears_whole) {
    psc_error error = {0};
    struct stat info;
    cr_assert_eq(write_folder(at("new"), &error), PSC_OK, "%s", error.message);
    cr_assert_eq(count_entries(at("new")), 2);
    cr_assert_eq(write_folder(at("slashes//"), &error), PSC_OK, "%s", error.message);
    cr_assert_eq(count_entries(at("slashes")), 2);
    cr_assert_eq(mkdir(at("empty"), 0777), 0);
    cr_assert_eq(chmod(at("empty"), 0705), 0);
    cr_assert_eq(write_folder(at("empty/"), &error), PSC_OK, "%s", error.message);
    cr_assert_eq(count_entries(at("empty")), 2);
    cr_assert(stat(at("empty"), &info) == 0 && (info.st_mode & 0777) == 0705);
    cr_assert_eq(mkdir(at("here"), 0777), 0);
    cr_assert_eq(chdir(at("here")), 0);
    cr_assert_eq(write_folder("relative", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(count_entries(at("here/relative")), 2);
    cr_assert_eq(count_entries(folder), 4, "a temporary folder is left");
}

Test(files, output_folder_refusals) {
    psc_error error;
    cr_assert_eq(mkdir(at("full"), 0777), 0);
    put_text("full/precious", "x");
    put_text("file", "x");
    expect_error(write_folder(at("full"), &error), PSC_ERROR_IO, &error, "full|not empty");
    expect_error(write_folder(at("file"), &error), PSC_ERROR_IO, &error, "file|exists");
    expect_error(write_folder(at("no/such"), &error), PSC_ERROR_IO, &error, "no/such|No such file");
    expect_error(write_folder(at("file/x"), &error), PSC_ERROR_IO, &error, "Not a directory");
    expect_error(write_folder("", &error), PSC_ERROR_INPUT, &error, "name is empty");
    expect_error(write_folder("/", &error), PSC_ERROR_IO, &error, "cannot create");
    cr_assert_eq(symlink("nowhere", at("dangling")), 0);
    expect_error(write_folder(at("dangling"), &error), PSC_ERROR_IO, &error, "dangling");
    cr_assert_eq(count_entries(folder), 3, "a temporary folder is left");
}

Test(files, output_folder_is_not_there_before_commit_nor_after_abort) {
    psc_output *output;
    psc_error error = {0};
    FILE *file;
    cr_assert_eq(psc_output_begin(&output, at("out"), &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_output_write(output, "a", "1", 1, &error), PSC_OK);
    expect_error(psc_output_write(output, "a", "2", 1, &error), PSC_ERROR_IO, &error, "out/a");
    expect_error(psc_output_open(&file, output, "../a", &error), PSC_ERROR_INPUT, &error, "plain");
    cr_assert(!psc_path_exists(at("out")));
    psc_output_abort(&output);
    cr_assert_null(output);
    cr_assert_eq(count_entries(folder), 0);
}

/* Files in folders of the output, whole or not at all; what a link names stays. */
Test(files, output_folder_with_folders) {
    psc_output *output;
    psc_error error = {0};
    static const char *const bad[] = {"/a", "a/", "a//b", "a/../b", "./a", "", ".."};
    cr_assert_eq(mkdir(at("other"), 0777), 0);
    put_text("other/precious", "x");
    for (int aborted = 1; aborted >= 0; aborted--) {
        cr_assert_eq(psc_output_begin(&output, at("out"), &error), PSC_OK, "%s", error.message);
        cr_assert_eq(psc_output_write(output, "a/b/one", "1", 1, &error), PSC_OK);
        cr_assert_eq(psc_output_write(output, "a/b/two", "2", 1, &error), PSC_OK);
        cr_assert_eq(psc_output_write(output, "three", "3", 1, &error), PSC_OK);
        expect_error(psc_output_write(output, "a/b", "4", 1, &error), PSC_ERROR_IO, &error, "a/b");
        expect_error(
            psc_output_write(output, "three/x", "5", 1, &error), PSC_ERROR_IO, &error, "three/x");
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            expect_error(
                psc_output_write(output, bad[i], "6", 1, &error), PSC_ERROR_INPUT, &error, "plain");
        if (aborted) {
            char link[300];
            snprintf(link, sizeof link, "%s", at(".out.psc-tmp.d/a/link"));
            cr_assert_eq(symlink(at("other"), link), 0);
            psc_output_abort(&output);
            cr_assert_eq(count_entries(folder), 1);
        }
    }
    cr_assert_eq(psc_output_commit(&output, &error), PSC_OK, "%s", error.message);
    cr_assert(psc_path_exists(at("out/a/b/two")) && psc_path_exists(at("out/three")));
    cr_assert(psc_path_exists(at("other/precious")));
    cr_assert_eq(count_entries(folder), 2, "a temporary folder is left");
}

Test(files, output_folder_filled_meanwhile_is_kept) {
    psc_output *output;
    psc_error error = {0};
    cr_assert_eq(psc_output_begin(&output, at("out"), &error), PSC_OK, "%s", error.message);
    cr_assert_eq(mkdir(at("out"), 0777), 0);
    put_text("out/precious", "x");
    expect_error(psc_output_commit(&output, &error), PSC_ERROR_IO, &error, "no longer empty");
    cr_assert(psc_path_exists(at("out/precious")));
    cr_assert_eq(count_entries(folder), 1, "a temporary folder is left");
}

/* Only where the system has a device that is always full. */
Test(files, a_full_disk_is_reported) {
    psc_output *output;
    psc_error error = {0};
    if (!psc_path_exists("/dev/full")) return;
    cr_assert_eq(psc_output_begin(&output, at("out"), &error), PSC_OK, "%s", error.message);
    FILE *file = fopen("/dev/full", "wb");
    cr_assert(file);
    fputs("x", file);
    expect_error(psc_output_close(&file, output, "x", &error), PSC_ERROR_IO, &error, "out/x");
    cr_assert_null(file);
    psc_output_abort(&output);
}
