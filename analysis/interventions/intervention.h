/* Interventions: where an edit acts, what it puts there, and where that value comes from.
 * Private to analysis/interventions/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: an instance lives with its plugin; close frees the rows of source prompts. */
#ifndef INTERVENTION_H
#define INTERVENTION_H

#include "common.h"

typedef enum intervention_kind {
    INTERVENTION_ABLATE,
    INTERVENTION_SCALE,
    INTERVENTION_STEER,
    INTERVENTION_KNOCKOUT,
    INTERVENTION_PATCH,
    INTERVENTION_DIRECTION
} intervention_kind;

/* What replaces an ablated value. */
typedef enum intervention_by { BY_ZERO, BY_MEAN, BY_RESAMPLE } intervention_by;

/* Where an edit's values come from. */
typedef enum intervention_values {
    VALUES_NONE,   /* zero, a factor, a cut */
    VALUES_FILE,   /* one vector, read in open */
    VALUES_MEAN,   /* one vector: the mean over the rows of the BASE run */
    VALUES_CHANGE, /* one vector: source prompt `plus` minus source prompt `minus` */
    VALUES_ROWS    /* one row of a source prompt per row */
} intervention_values;

typedef struct intervention intervention;
typedef struct intervention_latents intervention_latents; /* intervention_latents.c */

/* One place of the model: a whole hook point, one head of it, or one neuron. */
typedef struct intervention_site {
    intervention *owner;
    psc_point point;
    int32_t layer, head, neuron; /* -1: none, all */
    int64_t width;               /* floats per row; 0: one per key, by head */
    float *vector;               /* [width] VALUES_FILE, _MEAN, _CHANGE */
    double *sum; /* [2, width] the sums that vector is made from; VALUES_MEAN: [parts,
                                    width], of the run */
    float *rows; /* VALUES_ROWS: of each part [length, width], keys: [length, heads,
                                    length]; VALUES_MEAN: [parts, width] */
} intervention_site;

/* A sequence of the run that gives the values. In a set of pairs each sequence has its own, by its
 * number; else one gives to all. */
typedef struct intervention_part {
    int32_t length;        /* tokens; 0: no such sequence */
    int64_t begin, square; /* the sums of length and of its square over the parts before */
} intervention_part;

struct intervention {
    psc_context *context;
    const psc_host *host;
    intervention_kind kind;
    intervention_values values;
    int32_t by;                                         /* intervention_by */
    const char *at, *file, *tensor, *index, *keys_text; /* as given */
    const char *sae,
        *point;            /* a dictionary's folder, "": none; its hook point if not the folder's */
    double factor;         /* alpha as given */
    psc_filter rows, keys; /* keys: those that are cut */
    psc_range layers, heads; /* those that are changed */
    float alpha;
    int32_t source[2];        /* numbers of the source prompts from 0; plus, minus; -1: none */
    int32_t length[2];        /* their numbers of tokens */
    int complete[2];          /* a run on each succeeded, and its values are kept */
    int whole_mean;           /* of=mean: over a source prompt's rows, else its last */
    intervention_part *parts; /* [n_parts] of the values' run */
    int32_t n_parts;
    int paired;   /* that run was of a set of pairs */
    int averaged; /* the means are known */
    intervention_site *sites;
    int32_t n_sites, capacity;
    intervention_latents *latents; /* with sae=, in place of sites */
};

/* A row of a site's tensor: n1 stretches of n2 floats, `stride` floats apart. */
typedef struct intervention_stretch {
    float *data;
    int64_t n1, n2, stride;
} intervention_stretch;

/* "L0H3+1_mlp_out+blocks.2.hook_resid_pre" into sites. */
int intervention_parse_sites(intervention *self);
/* The number of heads of a site's tensor, or 0. */
int32_t intervention_site_heads(const intervention_site *site);
/* "blocks.0.attn.hook_z" */
void intervention_point_name(const intervention_site *site, char *out, uint64_t size);

/* The name of a site for people and tensors: the point's, of a head of hook_z "L0H3", of another
 * point's head "blocks.0.attn.hook_q.H3". */
void intervention_site_name(const intervention_site *site, char *out, uint64_t size);

/* In open: reads a site's vector from `file`. */
int intervention_read_vector(intervention_site *site);
/* In open: allocates the memory of all sites and reads vectors from a file. */
int intervention_prepare_values(intervention *self);
/* In run_begin: observes the values that this run provides; fails if a run with edits lacks values
 * that it needs. */
int intervention_record(intervention *self, psc_phase phase);
/* Fails: source prompt `number`, from 1, was not run. */
int intervention_no_source(const psc_host *host, psc_context *context, int32_t number);
/* In run_end of a run that succeeded: marks a source prompt complete; makes vectors from sums. */
void intervention_finish_values(intervention *self, psc_phase phase);
void intervention_free_values(intervention *self);
/* The values that a row is given: a vector, or the row of the source prompt; null for zero and a
 * factor. *none: 1: the source has no such row, and the row stays as is; -1 after an error. */
const float *intervention_values_at(const intervention_site *site, const psc_row *row, int *none);
/* Of a site whose width is the keys: floats from one head's values to the next. */
int64_t intervention_keys_at(const intervention_site *site, const psc_row *row);
/* Shows the run's rows (psc_rows_mode) of a site to a callback, whose payload is the site. */
int intervention_observe(intervention_site *site, psc_event_fn callback, int32_t rows);
/* Row r of an event at a site. */
intervention_stretch intervention_row(
    const intervention_site *site, const psc_event *event, int32_t r);
/* sum [width] += row r of an event at the site. */
void intervention_add_row(
    const intervention_site *site, const psc_event *event, int32_t r, double *sum);

/* In run_begin of a text that is compared with itself unchanged: fails if the edit reaches no row
 * of it. */
int intervention_check_reach(const intervention *self);
/* In run_begin: an editor of all sites, on the rows that are changed. linear: of gradients, too, which
 * go through the edit (PSC_GRADIENT_THROUGH). */
int intervention_subscribe(intervention *self, psc_event_fn callback, int linear);

#endif
