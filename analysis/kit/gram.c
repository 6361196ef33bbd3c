/* Norms of heads' writes, without computing the writes:
 *
 *   |W_O,h v|^2 = v^T G_h v,  G_h = W_O,h^T W_O,h [D, D] */
#include "gram.h"

#include <math.h>
#include <string.h>

double *psc_output_gram(psc_context *context, const psc_host *host) {
    const psc_model_info *model = host->model(context);
    const int64_t size = model->d_head, heads = model->n_heads, width = heads * size;
    const int64_t n = model->d_model;
    double *all =
        host->life_alloc(context, (uint64_t)(model->n_layers * heads * size * size) * sizeof *all);
    float *unit = host->run_alloc(context, (uint64_t)(size * width) * sizeof *unit);
    float *columns = host->run_alloc(context, (uint64_t)(size * n) * sizeof *columns);
    if (!all || !unit || !columns) return NULL;
    for (int32_t l = 0; l < model->n_layers; l++)
        for (int64_t h = 0; h < heads; h++) {
            double *gram = all + (l * heads + h) * size * size;
            memset(unit, 0, (size_t)(size * width) * sizeof *unit);
            for (int64_t d = 0; d < size; d++) unit[d * width + h * size + d] = 1.0f;
            if (host->apply(context, PSC_W_O, l, columns, unit, size)) return NULL;
            for (int64_t a = 0; a < size; a++)
                for (int64_t b = 0; b <= a; b++)
                    gram[a * size + b] = gram[b * size + a] =
                        psc_dot_striped(n, columns + a * n, columns + b * n);
        }
    return all;
}

double psc_output_norm(const double *gram, const float *v, int64_t size) {
    double sum = 0.0;
    for (int64_t a = 0; a < size; a++)
        sum += (double)v[a] * psc_dot_mixed(size, gram + a * size, v);
    return sum > 0.0 ? sqrt(sum) : 0.0;
}
