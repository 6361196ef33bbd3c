/* The page of the manual that describes a section. A section is a built-in's if its name is in the
 * list and its version is the program's, which built-ins have. */
#include <string.h>

#include "report.h"

static const char *const pages[][2] = {
    {"logits", "docs/plugins/logits.md"},
    {"ln", "docs/plugins/ln.md"},
    {"mlp", "docs/plugins/mlp.md"},
    {"lens", "docs/plugins/lens.md"},
    {"sampling", "docs/plugins/sampling.md"},
    {"loss", "docs/plugins/loss.md"},
    {"activations", "docs/plugins/activations.md"},
    {"sweep", "docs/plugins/sweep.md"},
    {"means", "docs/plugins/means.md"},
    {"frozen", "docs/plugins/frozen.md"},
    {"graph", "docs/plugins/graph.md"},
    {"edges", "docs/plugins/edges.md"},
    {"roles", "docs/plugins/roles.md"},
    {"neurons", "docs/plugins/neurons.md"},
    {"sae", "docs/plugins/sae.md"},
    {"attention", "docs/plugins/attention.md"},
    {"spans", "docs/plugins/spans.md"},
    {"partition", "docs/plugins/partition.md"},
    {"weights", "docs/plugins/weights.md"},
    {"forms", "docs/plugins/forms.md"},
    {"words", "docs/plugins/words.md"},
    {"ablate", "docs/interventions.md"},
    {"scale", "docs/interventions.md"},
    {"steer", "docs/interventions.md"},
    {"knockout", "docs/interventions.md"},
    {"patch", "docs/interventions.md"},
    {"direction", "docs/interventions.md"},
    {"directions", "docs/plugins/directions.md"},
    {"effects", "docs/interventions.md"},
    {"treebank", "docs/plugins/treebank.md"},
    {"probe", "docs/plugins/probe.md"},
    {"gradient", "docs/plugins/gradient.md"},
    {"attribution", "docs/plugins/attribution.md"},
    {"circuit", "docs/plugins/circuit.md"},
};

/* "control.logits#2" is the second logits of adopted results. */
const char *psc_report_section_page(const char *program, const char *name, const char *version) {
    const char *dot = strrchr(name, '.');
    const char *plugin = dot ? dot + 1 : name;
    const size_t length = strcspn(plugin, "#");
    if (!program || strcmp(program, version) != 0) return NULL;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strlen(pages[i][0]) == length && strncmp(plugin, pages[i][0], length) == 0)
            return pages[i][1];
    return NULL;
}
