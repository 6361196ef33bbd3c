/* The cache beside other users: folders, images and records that they could have written are not
 * believed, and the model opens without them. Root gives files to another user by chown; without
 * root these parts are left out. */
#include "weights_cache_fixture.h"

#include <sys/wait.h>

enum { STRANGER = 12345 };

TestSuite(weights_cache_trust, .init = fixture_open, .fini = fixture_close);

/* Opens the model with this cache folder; what it says of its weights contains the words. */
static void expect_said(const char *model_folder, const char *dir, const char *words) {
    psc_model *model = open_limited(model_folder, dir, 0);
    const char *said = psc_model_weights_text(model);
    cr_assert(strstr(said, words), "%s: \"%s\" lacks \"%s\"", dir, said, words);
    psc_model_close(&model);
}

static const char *any_model(void) {
    return golden_path("parallel_f32", NULL);
}

Test(weights_cache_trust, folders_that_others_may_write_to) {
    const mode_t modes[] = {0720, 0702, 0770, 0777, 01777, 02775};
    int32_t n;
    psc_cache_entry *list;
    psc_error error = {0};
    expect_opening(any_model(), "packed, cached", "at first");
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        cr_assert_eq(chmod(kept(), modes[i]), 0);
        expect_said(any_model(), kept(), "packed, not cached: the cache folder");
        expect_said(any_model(), kept(), "group or others may write to it; run chmod go-w");
        cr_assert_eq(psc_cache_list(&list, &n, kept(), &error), PSC_ERROR_INPUT);
        cr_assert_eq(psc_cache_clear(kept(), NULL, &error), PSC_ERROR_INPUT);
    }
    cr_assert_eq(chmod(kept(), 0755), 0);
    expect_opening(any_model(), "mapped", "others may read");
}

Test(weights_cache_trust, a_link_in_place_of_the_folder) {
    cr_assert_eq(mkdir(at("real"), 0700), 0);
    cr_assert_eq(symlink(at("real"), kept()), 0);
    expect_said(any_model(), kept(), "is a symbolic link; name the folder");
    expect_said(any_model(), at("kept/"), "is a symbolic link; name the folder");
    expect_said(any_model(), at("real"), "packed, cached");
    cr_assert_eq(mkdir(at("real/inner"), 0700), 0);
    expect_said(any_model(), at("kept/inner"), "packed, cached"); /* a link above is the user's */
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'", at("real"));
    cr_assert_eq(system(command), 0);
}

Test(weights_cache_trust, a_folder_in_a_sticky_one) {
    cr_assert_eq(mkdir(at("tmp"), 0700), 0);
    cr_assert_eq(chmod(at("tmp"), 01777), 0);
    expect_said(any_model(), at("tmp"), "group or others may write");
    expect_said(any_model(), at("tmp/own"), "packed, cached");
    struct stat info;
    cr_assert_eq(stat(at("tmp/own"), &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0700);
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'", at("tmp/own"));
    cr_assert_eq(system(command), 0);
}

/* As under sudo with the HOME of another user. */
Test(weights_cache_trust, never_makes_a_folder_in_another_users) {
    if (geteuid() != 0) return;
    cr_assert_eq(mkdir(at("home"), 0755), 0);
    cr_assert_eq(chown(at("home"), STRANGER, STRANGER), 0);
    expect_said(any_model(), at("home/.cache/pythiascope"), "which is owned by another user");
    cr_assert(!psc_path_exists(at("home/.cache")));
    cr_assert_eq(mkdir(at("home/.cache"), 0700), 0);
    cr_assert_eq(chown(at("home/.cache"), STRANGER, STRANGER), 0);
    expect_said(any_model(), at("home/.cache"), "is owned by another user; choose");
    cr_assert_eq(rmdir(at("home/.cache")), 0);
}

Test(weights_cache_trust, files_are_for_this_user_alone) {
    const mode_t before = umask(0);
    const char *model = copy_model("model", "parallel_f32");
    settle();
    expect_opening(model, "packed, cached", "at first");
    umask(before);
    cr_assert_eq(count_files(".source"), 1);
    DIR *dir = opendir(kept());
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat info;
        if (entry->d_name[0] == '.') continue;
        cr_assert_eq(fstatat(dirfd(dir), entry->d_name, &info, 0), 0);
        cr_assert_eq(info.st_mode & 0077, 0, "%s has mode %o", entry->d_name, info.st_mode);
    }
    closedir(dir);
}

/* --- records --------------------------------------------------------------------------------- */

typedef struct pair {
    char a[700], b[700]; /* folders of models of one config */
    char hash_a[33], hash_b[33];
    char record[1024]; /* of b */
} pair;

static void hash_of(char hash[33], const char *path) {
    psc_model *model = open_kept(path);
    memcpy(hash, model->hash, 33);
    psc_model_close(&model);
}

/* Two models of one config and other weights, both cached and remembered, and b's record with a's
 * hash: whoever believes it runs a's weights under b's name. */
static void forge(pair *p) {
    char weights[800], *text;
    size_t size;
    snprintf(p->a, sizeof p->a, "%s", copy_model("a", "parallel_f32"));
    snprintf(p->b, sizeof p->b, "%s", copy_model("b", "parallel_f32"));
    snprintf(weights, sizeof weights, "%s/model.safetensors", p->b);
    change_in_place(weights);
    settle();
    hash_of(p->hash_a, p->a);
    hash_of(p->hash_b, p->b);
    cr_assert_str_neq(p->hash_a, p->hash_b);
    *p->record = 0;
    DIR *dir = opendir(kept());
    for (struct dirent *entry; !*p->record && (entry = readdir(dir));) {
        if (!strstr(entry->d_name, ".source")) continue;
        snprintf(p->record, sizeof p->record, "%s/%s", kept(), entry->d_name);
        cr_assert_eq(psc_read_file(&text, &size, p->record, 1 << 20, NULL), PSC_OK);
        if (!strstr(text, p->hash_b)) *p->record = 0;
        if (!*p->record) free(text);
    }
    closedir(dir);
    cr_assert(*p->record, "b is not remembered");
    memcpy(strstr(text, p->hash_b), p->hash_a, 32);
    cr_assert_eq(unlink(p->record), 0);
    int fd = open(p->record, O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert_eq(write(fd, text, size), (ssize_t)size);
    close(fd);
    free(text);
}

static void expect_hash(const pair *p, const char *hash, const char *when) {
    char found[33];
    psc_model *model = NULL;
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = kept();
    cr_assert_eq(psc_model_open_header(&model, p->b, &options, NULL), PSC_OK);
    const bool forged = strcmp(model->hash, p->hash_a) == 0;
    cr_assert_eq(forged, strcmp(hash, p->hash_a) == 0, "%s: info shows another hash", when);
    psc_model_close(&model);
    hash_of(found, p->b);
    cr_assert_str_eq(found, hash, "%s", when);
}

/* The record is the user's own, so it is believed and no weight is read: proof that the tests below
 * would fail if theirs were. */
Test(weights_cache_trust, records_of_this_user_are_believed) {
    pair p;
    forge(&p);
    expect_hash(&p, p.hash_a, "this user's");
}

Test(weights_cache_trust, records_of_another_user_are_not_believed) {
    pair p;
    if (geteuid() != 0) return;
    forge(&p);
    cr_assert_eq(chown(p.record, STRANGER, STRANGER), 0);
    expect_hash(&p, p.hash_b, "another user's");
}

Test(weights_cache_trust, records_that_the_group_may_write_to_are_not_believed) {
    pair p;
    forge(&p);
    cr_assert_eq(chmod(p.record, 0620), 0);
    expect_hash(&p, p.hash_b, "group may write");
}

Test(weights_cache_trust, records_that_the_world_may_write_to_are_not_believed) {
    pair p;
    forge(&p);
    cr_assert_eq(chmod(p.record, 0602), 0);
    expect_hash(&p, p.hash_b, "others may write");
}

Test(weights_cache_trust, records_that_are_links_are_not_believed) {
    pair p;
    forge(&p);
    cr_assert_eq(rename(p.record, at("elsewhere")), 0);
    cr_assert_eq(symlink(at("elsewhere"), p.record), 0);
    expect_hash(&p, p.hash_b, "a link");
}

/* Opening a pipe must not wait for a writer. */
Test(weights_cache_trust, records_that_are_pipes_are_not_believed, .timeout = 60) {
    pair p;
    forge(&p);
    cr_assert_eq(unlink(p.record), 0);
    cr_assert_eq(mkfifo(p.record, 0600), 0);
    expect_hash(&p, p.hash_b, "a pipe");
}

/* --- root's ---------------------------------------------------------------------------------- */

/* A folder that an administrator filled and others only read. */
Test(weights_cache_trust, roots_folder_is_read_by_others) {
    if (geteuid() != 0) return;
    const char *model = copy_model("model", "parallel_f32");
    settle();
    expect_opening(model, "packed, cached", "at first");
    cr_assert_eq(chmod(folder, 0755), 0);
    cr_assert_eq(chmod(kept(), 0755), 0);
    const char *image = only_file();
    cr_assert_eq(chmod(image, 0444), 0);
    pid_t child = fork();
    if (child == 0) {
        psc_model *found = NULL;
        psc_model_options options = PSC_MODEL_OPTIONS_INIT;
        options.cache_dir = kept();
        options.cache_least = 1;
        if (setgid(STRANGER) != 0 || setuid(STRANGER) != 0) _exit(2);
        if (psc_model_open_with(&found, model, &options, NULL) != PSC_OK) _exit(3);
        _exit(strncmp(psc_model_weights_text(found), "mapped", 6) == 0 ? 0 : 4);
    }
    int code = -1;
    cr_assert_eq(waitpid(child, &code, 0), child);
    cr_assert_eq(code, 0, "status %d", WEXITSTATUS(code));
}
