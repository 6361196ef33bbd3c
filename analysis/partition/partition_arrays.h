/* The arrays of one run of `partition`, and the axes that runs and corpora share.
 * Private to analysis/partition/.
 * Threads: as a plugin's callbacks.
 * Ownership: arrays belong to the run's results. */
#ifndef ANALYSIS_PARTITION_ARRAYS_H
#define ANALYSIS_PARTITION_ARRAYS_H

#include "partition.h"

/* In this order: dlogz, mean_dz, expected_dz, first_order_error, half_variance, fit_alpha,
 * fit_beta, fit_r2. */
enum { PARTITION_SCALARS = 8 };

struct partition_arrays {
    double *log_z, *gap, *margin, *mass, *top_share;
    double *scalars[PARTITION_SCALARS];
    double *constant_z_error, *bin_dz, *bin_abs_dz, *bin_p_dz, *dz, *dlogp;
    int32_t *reordered;
};

/* Makes the axes perturbations, lenses, gauges, bins, top. */
int partition_axes(partition_state *s);
/* Makes target_ids [targets, rows, ids]. */
int partition_arrays_targets(const partition_state *s);

#endif
