/* Places by their number in the array, and their names. */
#include "attribution.h"

#include <stdio.h>

int64_t attribution_cells(const attribution_state *s) {
    const int64_t rows = s->n_rows, layers = s->n_layers, units = layers * s->n_units;
    const int64_t cells[] = {units, units * rows, units, layers * rows, layers * rows,
        layers * rows, units * rows * rows};
    return cells[s->over];
}

attribution_cell attribution_place(const attribution_state *s, int64_t cell) {
    const int64_t rows = s->n_rows;
    attribution_cell c = {-1, -1, -1, -1};
    if (s->over == OVER_EDGES) {
        c.key = (int32_t)(cell % rows);
        cell /= rows;
    }
    if (s->over != OVER_HEADS && s->over != OVER_NEURONS) {
        c.row = (int32_t)(cell % rows);
        cell /= rows;
    }
    if (s->over < OVER_RESID_PRE || s->over == OVER_EDGES) {
        c.unit = (int32_t)(cell % s->n_units);
        cell /= s->n_units;
    }
    c.layer = (int32_t)cell;
    return c;
}

void attribution_name(const attribution_state *s, const attribution_cell *c, char *out) {
    static const char *const names[] = {"", "", "", "resid_pre", "attn_out", "mlp_out"};
    char place[PSC_ROW_NAME] = "", key[PSC_ROW_NAME];
    const int layer = (int)c->layer, unit = (int)c->unit;
    if (c->row >= 0) psc_row_name(s->context, s->host, &s->run_rows[c->row], place);
    if (s->over == OVER_EDGES)
        snprintf(out, ATTRIBUTION_NAME, "L%dH%d: %s reads %s", layer, unit, place,
            psc_row_name(s->context, s->host, &s->run_rows[c->key], key));
    else if (s->over >= OVER_RESID_PRE)
        snprintf(out, ATTRIBUTION_NAME, "%d_%s %s", layer, names[s->over], place);
    else
        snprintf(out, ATTRIBUTION_NAME, "L%d%c%d%s%s", layer, s->over == OVER_NEURONS ? 'N' : 'H',
            unit, *place ? " " : "", place);
}
