/* Rotary tables: those of a longer session have the bits of shorter ones, and one value those of a
 * table. */
#include "rotary.h"

#include <criterion/criterion.h>
#include <string.h>

static psc_config config_of(psc_rope_kind kind) {
    return (psc_config){.rotary_dims = 32,
        .rotary_base = 10000.0,
        .n_ctx = 16777216,
        .rope = {.kind = kind,
            .factor = 4.0,
            .context = 2048.0,
            .beta_fast = 32.0,
            .beta_slow = 1.0,
            .truncate = true,
            .scale = kind == PSC_ROPE_YARN ? 1.138 : 1.0}};
}

Test(rotary, tables_of_any_length_have_the_same_bits) {
    const psc_rope_kind kinds[] = {PSC_ROPE_DEFAULT, PSC_ROPE_LINEAR, PSC_ROPE_YARN};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        const psc_config config = config_of(kinds[k]);
        psc_rotary small, large, same;
        cr_assert_eq(psc_rotary_open(&small, &config, 100, NULL), PSC_OK);
        cr_assert_eq(psc_rotary_extend(&large, &small, 5000, NULL), PSC_OK);
        cr_assert_eq(psc_rotary_extend(&same, &small, 100, NULL), PSC_OK);
        cr_assert_eq(same.cos, small.cos, "a table that suffices is not shared");
        cr_assert_neq(large.cos, small.cos);
        cr_assert_eq(large.rows, 5000);
        const size_t bytes = 100 * small.half * sizeof(float);
        cr_assert_eq(memcmp(small.cos, large.cos, bytes), 0);
        cr_assert_eq(memcmp(small.sin, large.sin, bytes), 0);
        for (size_t position = 0; position < 5000; position += 7)
            for (size_t i = 0; i < small.half; i++) {
                float cos, sin; /* beyond the small table from 100 on */
                psc_rotary_at(&cos, &sin, &small, position, i);
                cr_assert_eq(memcmp(&cos, &large.cos[position * large.half + i], sizeof cos), 0);
                cr_assert_eq(memcmp(&sin, &large.sin[position * large.half + i], sizeof sin), 0);
            }
        psc_rotary_close(&same);
        psc_rotary_close(&large);
        psc_rotary_close(&small);
        cr_assert_null(small.cos);
    }
}
