/* Names of repositories, revisions and URLs, the order of revisions, and the folder of the Hugging
 * Face cache by the environment. */
#include "hub_cache.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static psc_error error;

#define TEN "abcdefghij"
#define FIFTY TEN TEN TEN TEN TEN

static bool is_repository(const char *text) {
    return psc_hub_is_repository(text, strlen(text));
}

Test(hub_names, repositories) {
    static const char *const good[] = {"a/b", "EleutherAI/pythia-160m", "A_b.c-d/0.1_x-y", "_/_",
        FIFTY TEN "abcd/" FIFTY TEN TEN TEN TEN "abcdef"};
    static const char *const bad[] = {"", "a", "/", "a/", "/a", "-a/b", ".a/b", "a-/b", "a./b",
        "a/-b", "a/.b", "a/b-", "a/b.", "a--b/c", "a..b/c", "a/b--c", "a/b..c", "a b/c", "a/b c",
        "a/b/c", "a/b~", "a/b@c", "a:b/c", "a/b[", "a/b`", "a/b{", "a/b\x7f", "a/\xc3\xa4",
        FIFTY TEN "abcde/b", "a/" FIFTY TEN TEN TEN TEN "abcdefg"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(is_repository(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(is_repository(bad[i]), "%s", bad[i]);
    cr_expect(psc_hub_is_repository("a/b--c", 3), "only n bytes count");
}

Test(hub_names, revisions) {
    static const char *const good[] = {
        "main", "step3000", "v1.0", "refs/pr/1", "a+b=c#d", "_x", "0", FIFTY TEN TEN TEN TEN};
    static const char *const bad[] = {"", "/a", "a/", "a..b", "a//b", "a/.b", ".a", "-a", "a b",
        "a@b", "a\nb", "a\\b", "a\x7f", FIFTY TEN TEN TEN TEN "k"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(psc_hub_is_revision(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(psc_hub_is_revision(bad[i]), "%s", bad[i]);
}

Test(hub_names, steps_come_first_by_number) {
    static const char *const order[] = {"step0", "step2", "step10", "step143000", "main", "step",
        "step1234567890123456", "step2b", "steq2"};
    const int n = sizeof order / sizeof *order;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            const int found = psc_hub_compare_revisions(order[i], order[k]);
            cr_expect_eq((found > 0) - (found < 0), (i > k) - (i < k), "%s, %s: %d", order[i],
                order[k], found);
        }
    cr_expect_neq(psc_hub_compare_revisions("step02", "step2"), 0, "equal numbers: by their names");
}

/* --- URLs ------------------------------------------------------------------------------------ */

static void pass(const char *url, const char *instead) {
    char sentence[400];
    error = (psc_error){PSC_OK, ""};
    cr_assert_eq(psc_hub_refuse_url(url, &error), PSC_ERROR_INPUT, "%s", url);
    snprintf(sentence, sizeof sentence, "pass %s, not a URL (%s)", instead, url);
    cr_expect_str_eq(error.message, sentence, "%s", error.message);
}

Test(hub_names, urls_of_the_hub_have_the_name_to_pass) {
    pass("https://huggingface.co/a/b", "a/b");
    pass("http://www.huggingface.co/a/b/", "a/b");
    pass("huggingface.co/a/b", "a/b");
    pass("www.hf.co/a/b", "a/b");
    pass("hf.co/a/b?x=y", "a/b");
    pass("https://hf.co/a/b/tree/step3000", "a/b@step3000");
    pass("https://hf.co/a/b/tree/main", "a/b");
    pass("https://hf.co/a/b/blob/step1/config.json", "a/b@step1");
    pass("https://hf.co/a/b/resolve/step1?download=true", "a/b@step1");
    pass("https://hf.co/a/b@step1", "a/b@step1");
    pass("https://hf.co/a/b/tree/-x", "a/b");
    pass("https://hf.co/a/b/tree/" FIFTY FIFTY, "a/b");
    pass("https://hf.co/a/b/commits/step1", "a/b");
}

Test(hub_names, other_urls) {
    static const char *const urls[] = {"https://example.com/a/b", "https://hf.co/", "https://hf.co",
        "https://hf.co/a", "hf.co/datasets/a--b", "ftp://", "x://hf.com/a/b", "https://hf.cq/a/b",
        "https://huggingface.cc/a/b", "https://hf.co//b"};
    char sentence[300];
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        cr_assert_eq(psc_hub_refuse_url(urls[i], &error), PSC_ERROR_INPUT, "%s", urls[i]);
        snprintf(sentence, sizeof sentence,
            "%s is a URL; pass a folder, or a name like EleutherAI/pythia-160m", urls[i]);
        cr_expect_str_eq(error.message, sentence);
    }
    static const char *const names[] = {
        "a/b", "", "://x", "a:/b", "hf.com/a/b", "www.x/y", "x.co/a"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_expect_eq(psc_hub_refuse_url(names[i], &error), PSC_OK, "%s", names[i]);
}

/* --- the cache's folder ---------------------------------------------------------------------- */

static const char *const variables[] = {
    "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};

static void folder_is(const char *expected) {
    char folder[64];
    cr_assert_eq(psc_hub_folder(folder, sizeof folder, &error), PSC_OK, "%s", error.message);
    cr_expect_str_eq(folder, expected);
}

Test(hub_names, the_first_variable_decides) {
    static const char *const expected[] = {
        "/v0", "/v1", "/v2/hub", "/v3/huggingface/hub", "/v4/.cache/huggingface/hub"};
    char value[8], folder[64];
    for (int i = 4; i >= 0; i--) {
        for (int k = 0; k < 5; k++) unsetenv(variables[k]);
        for (int k = i; k < 5; k++) {
            snprintf(value, sizeof value, "/v%d", k);
            setenv(variables[k], value, 1);
        }
        folder_is(expected[i]);
        for (int k = 0; k < i; k++) setenv(variables[k], "", 1); /* empty as unset */
        folder_is(expected[i]);
    }
    for (int k = 0; k < 5; k++) unsetenv(variables[k]);
    cr_assert_eq(psc_hub_folder(folder, sizeof folder, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(
        error.message, "there is no folder for the Hugging Face cache; set HF_HOME to one");
}

Test(hub_names, a_tilde_is_the_home_folder) {
    for (int k = 0; k < 5; k++) unsetenv(variables[k]);
    setenv("HOME", "/home/me", 1);
    setenv("HF_HUB_CACHE", "~/cache", 1);
    folder_is("/home/me/cache");
    setenv("HF_HUB_CACHE", "~", 1);
    folder_is("/home/me");
    setenv("HF_HUB_CACHE", "~you/cache", 1);
    folder_is("~you/cache");
    setenv("HF_HUB_CACHE", "~/cache", 1);
    setenv("HOME", "", 1);
    folder_is("~/cache");
    unsetenv("HOME");
    folder_is("~/cache");
    setenv("HF_HUB_CACHE", "/" FIFTY FIFTY, 1); /* too long for the buffer: the next variable */
    setenv("HOME", "/h", 1);
    folder_is("/h/.cache/huggingface/hub");
}

Test(hub_names, repositories_of_folders) {
    char name[32];
    cr_expect(psc_hub_repository_of(name, sizeof name, "/x/models--a--b"));
    cr_expect_str_eq(name, "a/b");
    cr_expect(psc_hub_repository_of(name, sizeof name, "models--a--b-c"));
    cr_expect_str_eq(name, "a/b-c");
    static const char *const bad[] = {"/x/models--a", "/models--a--b/y", "datasets--a--b",
        "models--", "models----b", "models--a--b--c", "models--a--" FIFTY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(psc_hub_repository_of(name, sizeof name, bad[i]), "%s", bad[i]);
}
