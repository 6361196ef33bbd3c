/* Means of hook points over a corpus, from the file that the plugin `means` saves: a tensor
 * "blocks.3.attn.hook_z" for each point and layer, of [width] numbers, of heads [H, width / H]. */
#include "common.h"

#include <stdio.h>

const float *psc_read_mean(psc_context *context, const psc_host *host, const char *path,
    const char *point, int32_t layer, int64_t width) {
    char name[64];
    int64_t shape[8], n = 1;
    int32_t n_axes = 0;
    snprintf(name, sizeof name, "blocks.%d.%s", (int)layer, point);
    const float *mean = host->read_entry(context, path, name, 0, -1, &n_axes, shape);
    if (!mean) return NULL;
    for (int32_t i = 0; i < n_axes; i++) n *= shape[i];
    if (n != width) {
        host->fail(context,
            "means=%.300s: tensor \"%.100s\" has %lld numbers, but the point has %lld in this model; "
            "make the means with this model: corpus --plugin means:save=FOLDER",
            path, name, (long long)n, (long long)width);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++)
        if (!(mean[i] - mean[i] == 0.0f)) {
            host->fail(context,
                "means=%.300s: tensor \"%.100s\" contains a value that is not finite", path, name);
            return NULL;
        }
    return mean;
}
