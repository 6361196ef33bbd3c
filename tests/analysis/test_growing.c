/* A growing text: pieces of any length, around the sizes at which its memory doubles. */
#include "growing.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(growing, pieces_follow_each_other) {
    psc_growing text = {0};
    char *expected = calloc(1, 200000);
    size_t n = 0;
    for (int i = 0; i < 400; i++) {
        const int length = i * 37 % 401;
        psc_growing_put(&text, "%d:%*s;", i, length, "");
        n += (size_t)sprintf(expected + n, "%d:%*s;", i, length, "");
        psc_growing_add(&text, "a\0b", 3);
        memcpy(expected + n, "a\0b", 3);
        n += 3;
        cr_assert(text.used == n && text.data[n] == 0 && !text.failed, "%d", i);
    }
    cr_assert_eq(memcmp(text.data, expected, n), 0);
    free(text.data);
    free(expected);
}

Test(growing, one_piece_of_every_size) {
    for (int n = 0; n < 9000; n += n < 4090 || n > 4200 ? 97 : 1) {
        psc_growing put = {0}, added = {0};
        char *bytes = malloc((size_t)n + 1);
        memset(bytes, 'x', (size_t)n);
        bytes[n] = 0;
        psc_growing_put(&put, "%s", bytes);
        psc_growing_add(&added, bytes, (size_t)n);
        cr_assert(put.used == (size_t)n && added.used == (size_t)n);
        cr_assert_str_eq(put.data, bytes);
        cr_assert_str_eq(added.data, bytes);
        free(put.data);
        free(added.data);
        free(bytes);
    }
}
