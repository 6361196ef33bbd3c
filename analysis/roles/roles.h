/* The inside of the plugin `roles`: one run's state and what its files share.
 * Private to analysis/roles/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; the team computes heads or rows of an event in parallel.
 * Ownership: memory of the run (run_alloc), the Gram matrices of the instance (life_alloc). */
#ifndef ROLES_H
#define ROLES_H

#include "gram.h"
#include "moments.h"

enum { PREDICTOR, ATTRACTOR, INFLUENCER, N_ROLES };
enum { N_POPULATIONS = 2 }; /* all rows; without position 0 */

typedef struct roles_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    int32_t given;          /* predict the run's first target, not the text's next token */
    int32_t onward;         /* also through later layers */
    psc_range angle_layers; /* layers with principal angles */
    int32_t dimension;      /* of the subspaces */
    double *gram;           /* [L, H, D, D] W_O,h^T W_O,h, once per instance */

    /* a run */
    const psc_row *rows;
    int32_t n_rows;
    psc_target_rows targets;
    psc_directions directions;
    int residuals, last, scale; /* handles: resid_pre, the last resid_post, ln1.hook_scale */
    double *mass;               /* [L, H, rows] sum_{k>j} A_kj */
    float *queries;             /* [rows, H*D] rotated queries of the current layer */
    double *read;               /* [angle layers, H, rows, D] sum_{k>j} A_kj q_k, or null */

    /* results; layers 0..L, of which layer L has a predictor only */
    double *roles[N_ROLES];  /* [L+1, rows] */
    double *later;           /* [L+1, rows] influencer over the layers from l on, or null */
    int32_t *map;            /* [L+1, rows] */
    double overlap[N_ROLES]; /* of each pair without position 0, mean over layers; NaN: none */
    double chance[N_ROLES];  /* the overlap of random subspaces */
} roles_state;

/* Computes the three roles, in run_end (roles_figures.c). */
int roles_figures(roles_state *s);
/* Computes the principal angles (roles_angles.c). */
int roles_angles(roles_state *s);
/* Statistics and the map; the summary (roles_report.c). */
int roles_statistics(roles_state *s);
int roles_summary(roles_state *s);

#endif
