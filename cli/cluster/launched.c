/* Launchers name themselves in the environment, each with variables of its own. */
#include <stdlib.h>

#include "cluster.h"

static int number_of(const char *name) {
    const char *text = getenv(name);
    char *end = NULL;
    const long value = text ? strtol(text, &end, 10) : -1;
    return text && end != text && !*end && value >= 0 && value < 1 << 24 ? (int)value : -1;
}

cluster_launch cluster_launched(void) {
    static const struct {
        const char *by, *rank, *size;
        bool with_mpi;
    } launchers[] = {
        {"mpirun of Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", true},
        {"mpirun of MPICH", "PMI_RANK", "PMI_SIZE", true},
        {"srun with PMIx", "PMIX_RANK", "SLURM_STEP_NUM_TASKS", true},
        {"srun without PMIx", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", false},
    };
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const int rank = number_of(launchers[i].rank), size = number_of(launchers[i].size);
        if (size > 1 && rank >= 0 && rank < size)
            return (cluster_launch){launchers[i].by, rank, size, launchers[i].with_mpi};
    }
    return (cluster_launch){NULL, 0, 1, false};
}
