/* The built-in plugins. They are in analysis/, which no other folder includes: this file knows
 * their entries by name only. They have no version of their own; they get the program's here, so
 * that state files of different versions do not merge. */
#include "psc.h"

#include <pthread.h>

/* One line per built-in; the order is that of the `plugins` verb. */
#define BUILTINS(X)                                                                                \
    X(logits)                                                                                      \
    X(ln)                                                                                          \
    X(mlp)                                                                                         \
    X(lens)                                                                                        \
    X(sampling)                                                                                    \
    X(loss)                                                                                        \
    X(sweep)                                                                                       \
    X(means)                                                                                       \
    X(activations)                                                                                 \
    X(frozen)                                                                                      \
    X(graph)                                                                                       \
    X(circuit)                                                                                     \
    X(edges)                                                                                       \
    X(roles)                                                                                       \
    X(neurons)                                                                                     \
    X(sae)                                                                                         \
    X(attention)                                                                                   \
    X(spans)                                                                                       \
    X(partition)                                                                                   \
    X(weights)                                                                                     \
    X(forms)                                                                                       \
    X(words)                                                                                       \
    X(ablate)                                                                                      \
    X(scale)                                                                                       \
    X(steer)                                                                                       \
    X(knockout)                                                                                    \
    X(patch)                                                                                       \
    X(direction)                                                                                   \
    X(directions)                                                                                  \
    X(effects)                                                                                     \
    X(treebank)                                                                                    \
    X(probe)                                                                                       \
    X(gradient)                                                                                    \
    X(attribution)

#define DECLARATION(name) const psc_plugin *psc_builtin_##name(void);
BUILTINS(DECLARATION)

static const psc_plugin_entry_fn entries[] = {
#define ENTRY(name) psc_builtin_##name,
    BUILTINS(ENTRY)};

enum { N_BUILTINS = sizeof entries / sizeof *entries };

static psc_plugin stamped[N_BUILTINS];

static void stamp_all(void) {
    for (int i = 0; i < N_BUILTINS; i++) {
        stamped[i] = *entries[i]();
        stamped[i].version = psc_version();
    }
}

int32_t psc_builtin_count(void) {
    return N_BUILTINS;
}

const psc_plugin *psc_builtin(int32_t index) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, stamp_all);
    return index >= 0 && index < N_BUILTINS ? &stamped[index] : NULL;
}
