/* The plugins that are linked in. They live in analysis/, which nothing includes: their entries are
 * known by name only. */
#include "psc.h"

const psc_plugin *psc_builtin_logits(void);
const psc_plugin *psc_builtin_ln(void);
const psc_plugin *psc_builtin_lens(void);
const psc_plugin *psc_builtin_sampling(void);
const psc_plugin *psc_builtin_mlp(void);
const psc_plugin *psc_builtin_sweep(void);
const psc_plugin *psc_builtin_means(void);
const psc_plugin *psc_builtin_frozen(void);
const psc_plugin *psc_builtin_graph(void);
const psc_plugin *psc_builtin_edges(void);
const psc_plugin *psc_builtin_roles(void);
const psc_plugin *psc_builtin_neurons(void);
const psc_plugin *psc_builtin_attention(void);
const psc_plugin *psc_builtin_partition(void);
const psc_plugin *psc_builtin_weights(void);
const psc_plugin *psc_builtin_ablate(void);
const psc_plugin *psc_builtin_scale(void);
const psc_plugin *psc_builtin_steer(void);
const psc_plugin *psc_builtin_knockout(void);
const psc_plugin *psc_builtin_patch(void);
const psc_plugin *psc_builtin_effects(void);

static const psc_plugin_entry_fn entries[] = {
    psc_builtin_logits,
    psc_builtin_ln,
    psc_builtin_mlp,
    psc_builtin_lens,
    psc_builtin_sampling,
    psc_builtin_sweep,
    psc_builtin_means,
    psc_builtin_frozen,
    psc_builtin_graph,
    psc_builtin_edges,
    psc_builtin_roles,
    psc_builtin_neurons,
    psc_builtin_attention,
    psc_builtin_partition,
    psc_builtin_weights,
    psc_builtin_ablate,
    psc_builtin_scale,
    psc_builtin_steer,
    psc_builtin_knockout,
    psc_builtin_patch,
    psc_builtin_effects,
};

int32_t psc_builtin_count(void) {
    return (int32_t)(sizeof entries / sizeof *entries);
}

const psc_plugin *psc_builtin(int32_t index) {
    return index >= 0 && index < psc_builtin_count() ? entries[index]() : NULL;
}
