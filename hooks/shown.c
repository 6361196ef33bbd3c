/* Each part's hash is the next one's seed. A view is hashed by its runs of adjacent elements, so
 * that what lies between its rows does not count. */
#include "shown.h"

#include <xxhash.h>

static uint64_t hash_view(const psc_view *view, uint64_t seed) {
    if (!view->data || view->n_axes < 1) return seed;
    const int64_t middle = view->n_axes > 2 ? view->shape[1] : 1;
    const int64_t width = view->shape[view->n_axes - 1];
    for (int64_t i = 0; i < view->shape[0]; i++)
        for (int64_t j = 0; j < middle; j++) {
            const int64_t at = i * view->stride[0] + (view->n_axes > 2 ? j * view->stride[1] : 0);
            seed = XXH3_64bits_withSeed(view->data + at, (size_t)width * sizeof(float), seed);
        }
    return seed;
}

uint64_t psc_shown_hash(const psc_event *event, bool tensor) {
    uint64_t hash = XXH3_64bits(event, sizeof *event);
    hash = XXH3_64bits_withSeed(event->rows, (size_t)event->n_rows * sizeof *event->rows, hash);
    if (event->heads)
        hash =
            XXH3_64bits_withSeed(event->heads, (size_t)event->n_heads * sizeof *event->heads, hash);
    hash = hash_view(&event->before, hash);
    return tensor ? hash_view(&event->tensor, hash) : hash;
}
