/* Interventions: where an edit acts, what it puts there, and where that value comes from.
 * Private to analysis/interventions/; built on psc_plugin.h alone.
 * Threads: everything runs where a plugin's callbacks run.
 * Ownership: an instance lives with its plugin; rows of a source prompt are freed by close. */
#ifndef INTERVENTION_H
#define INTERVENTION_H

#include "common.h"

typedef enum intervention_kind {
    INTERVENTION_ABLATE,
    INTERVENTION_SCALE,
    INTERVENTION_STEER,
    INTERVENTION_KNOCKOUT,
    INTERVENTION_PATCH
} intervention_kind;

/* What an ablated value is replaced by. */
typedef enum intervention_by { BY_ZERO, BY_MEAN, BY_RESAMPLE } intervention_by;

/* Where the number that an edit needs comes from. */
typedef enum intervention_values {
    VALUES_NONE,   /* zero, a factor, a cut */
    VALUES_FILE,   /* one vector, read in open */
    VALUES_MEAN,   /* one vector: the mean over the rows of the BASE run */
    VALUES_CHANGE, /* one vector: source prompt `plus` minus source prompt `minus` */
    VALUES_ROWS    /* a row of a source prompt for each row */
} intervention_values;

typedef struct intervention intervention;

/* One place of the model: a whole hook point, one head of it, or one neuron. */
typedef struct intervention_site {
    intervention *owner;
    psc_point point;
    int32_t layer, head, neuron; /* -1: none, all */
    int64_t width;               /* floats of a row here; 0: as many as there are keys, by head */
    float *vector;               /* [width] VALUES_FILE, _MEAN, _CHANGE */
    double *sum;                 /* [2, width] what vector is made from */
    float *rows;                 /* VALUES_ROWS: [length, width]; keys: [length, heads, length] */
} intervention_site;

struct intervention {
    psc_context *context;
    const psc_host *host;
    intervention_kind kind;
    intervention_values values;
    int32_t by;                                 /* intervention_by */
    const char *at, *file, *tensor, *keys_text; /* as given */
    double factor;                              /* alpha as given */
    psc_filter rows, keys;                      /* keys: which may not be attended to */
    psc_range layers, heads;                    /* those that are changed */
    float alpha;
    int32_t source[2];  /* numbers of the source prompts from 0; plus, minus; -1: none */
    int32_t length[2];  /* their tokens */
    int complete[2];    /* a run on them went well, and what it showed is kept */
    int whole_mean;     /* of=mean: over a source prompt's rows, else its last */
    int64_t n_averaged; /* rows in the mean of the BASE run */
    int averaged;       /* the mean is there */
    intervention_site *sites;
    int32_t n_sites, capacity;
};

/* "L0H3+1_mlp_out+blocks.2.hook_resid_pre" into sites. */
int intervention_parse_sites(intervention *self);
/* Heads of a site's tensor, 0 where it has none. */
int32_t intervention_site_heads(const intervention_site *site);
/* "blocks.0.attn.hook_z" */
void intervention_point_name(const intervention_site *site, char *out, uint64_t size);

/* Memory of all sites, and vectors from a file. In open. */
int intervention_prepare_values(intervention *self);
/* In run_begin: subscribes to what this run has to give; fails when something is missing that a run
 * with edits needs. */
int intervention_record(intervention *self, psc_phase phase);
/* In run_end of a run that went well: a source prompt is complete; vectors from sums. */
void intervention_finish_values(intervention *self, psc_phase phase);
void intervention_free_values(intervention *self);

#endif
