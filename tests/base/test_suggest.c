/* The nearest known name, and none when no name is near. */
#include "suggest.h"

#include <criterion/criterion.h>
#include <string.h>

static int distance(const char *a, const char *b) {
    return psc_edit_distance(a, strlen(a), b, strlen(b), 10);
}

Test(suggest, distances) {
    cr_assert_eq(distance("analyze", "analyze"), 0);
    cr_assert_eq(distance("analyse", "analyze"), 1);
    cr_assert_eq(distance("anlayze", "analyze"), 1);
    cr_assert_eq(distance("anayze", "analyze"), 1);
    cr_assert_eq(distance("Analyzee", "analyze"), 1);
    cr_assert_eq(distance("", "abc"), 3);
    cr_assert_eq(distance("kitten", "sitting"), 3);
    cr_assert_eq(psc_edit_distance("kitten", 6, "sitting", 7, 2), 3);
    char longer[200] = {0};
    memset(longer, 'a', sizeof longer - 1);
    cr_assert_eq(distance(longer, "abc"), 11);
}

static const char *suggested(const char *given) {
    static const char *const names[] = {"analyze", "sweep", "weights", "generate", "ln", "mlp"};
    static char text[PSC_SUGGEST_TEXT];
    psc_suggestion near = psc_suggest(given, strlen(given));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) psc_suggest_name(&near, names[i]);
    return psc_suggest_text(text, &near, "--");
}

Test(suggest, near_names_only) {
    cr_assert_str_eq(suggested("analise"), "; did you mean --analyze?");
    cr_assert_str_eq(suggested("gen"), "; did you mean --generate?");
    cr_assert_str_eq(suggested("wieghts"), "; did you mean --weights?");
    cr_assert_str_eq(suggested("mpl"), "; did you mean --mlp?");
    cr_assert_str_eq(suggested("nonsense"), "");
    cr_assert_str_eq(suggested("x"), "");
    cr_assert_str_eq(suggested(""), "");
}
