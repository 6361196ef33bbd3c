/* The matmuls of one step as tasks of the team: y[rows, out] cut into rectangles of some rows by
 * some panels, all of k. Independent matmuls share a step, and so a barrier.
 *
 *          panels ->
 *      rows [ 0 ][ 2 ][ 4 ]..     the row blocks of a group of panels are consecutive tasks, so
 *           [ 1 ][ 3 ][ 5 ]..     its weights come from memory once */
#include "forward_inside.h"

/* Fewest rows per block, when a matmul has too few panels for all threads; most blocks. */
#define LEAST_ROWS 96
#define MOST_BLOCKS 64
/* Most panels of a task of many rows: finish finds its results still in the cache. */
#define MOST_PANELS 12
/* With at most PSC_FEW_ROWS rows a task streams memory: at least this many weights. */
#define LEAST_WEIGHTS 32768
/* Panels that a matmul of few rows reads side by side. */
#define FEW_ROWS_PANELS 4

typedef struct step {
    psc_forward *f;
    const psc_job *jobs;
} step;

static void run_task(int64_t index, int thread, void *payload) {
    const step *s = payload;
    const psc_task *task = &s->f->tasks[index];
    const psc_job *job = &s->jobs[task->job];
    psc_matmul part = job->m;
    part.rows = task->rows;
    part.room = psc_forward_room(s->f, thread);
    part.x += task->row * part.ldx;
    if (part.y) part.y += task->row * part.ldy;
    if (part.blocks) part.blocks += task->row * part.ld_row;
    part.panel_begin = task->panel;
    part.panel_end = task->panel + task->panels;
    if (job->prepare && part.rows <= PSC_FEW_ROWS) job->prepare(s->f, &part, task->row);
    job->kernel(&part);
    if (job->finish) job->finish(s->f, &part, task->row);
}

psc_job psc_forward_job(const psc_forward *f, const psc_packed *w, float *y, size_t ldy,
    const float *x, size_t ldx, size_t rows) {
    return (psc_job){.kernel = f->kernels->matmul[w->dtype],
        .unit = 1,
        .m = {.y = y,
            .ldy = ldy,
            .x = x,
            .ldx = ldx,
            .w = w->panels,
            .bias = w->bias,
            .rows = rows,
            .k = w->k,
            .k_block = w->k_block,
            .out = w->out,
            .panel_end = (w->out + PSC_LANES - 1) / PSC_LANES}};
}

static size_t up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t smallest_common_multiple(size_t a, size_t b) {
    size_t multiple = a;
    while (multiple % b) multiple += a;
    return multiple;
}

/* Rows per task: all, unless the threads would then have too few groups of panels to share. */
static size_t block_height(const psc_forward *f, const psc_job *job) {
    size_t rows = job->m.rows, threads = (size_t)psc_team_threads(f->team);
    size_t groups = job->m.panel_end / f->kernels->matmul_group + 1;
    size_t blocks = least((4 * threads + groups - 1) / groups, rows / LEAST_ROWS);
    blocks = least(blocks, MOST_BLOCKS);
    return blocks <= 1 ? rows : up((rows + blocks - 1) / blocks, PSC_LANES);
}

/* Panels of the next task when `work` (rows times panels times k) is left in the step: a fraction
 * of it, so tasks shrink toward the end and no thread waits long for another. */
static size_t grain_of(const psc_forward *f, const psc_job *job, size_t height, size_t work) {
    size_t panels = job->m.panel_end, blocks = (job->m.rows + height - 1) / height;
    size_t threads = (size_t)psc_team_threads(f->team);
    size_t grain = work / (3 * threads * height * job->m.k);
    size_t unit = smallest_common_multiple(f->kernels->matmul_group, job->unit);
    if (job->m.rows <= PSC_FEW_ROWS) {
        size_t fewest = FEW_ROWS_PANELS + LEAST_WEIGHTS / (PSC_LANES * job->m.k);
        grain = grain < fewest ? fewest : grain;
        unit = smallest_common_multiple(FEW_ROWS_PANELS, job->unit);
    } else {
        grain = least(grain, MOST_PANELS);
    }
    size_t groups = PSC_STEP_TASKS / PSC_STEP_JOBS / blocks; /* room for this many */
    if (grain * groups < panels) grain = (panels + groups - 1) / groups;
    return grain ? up(grain, unit) : unit;
}

/* Appends the tasks of job j and subtracts them from the work that is left. */
static int64_t cut(psc_forward *f, const psc_job *jobs, uint32_t j, int64_t n, size_t *work) {
    const psc_job *job = &jobs[j];
    size_t panels = job->m.panel_end, rows = job->m.rows, height = block_height(f, job);
    for (size_t panel = 0, grain; panel < panels; panel += grain) {
        grain = least(grain_of(f, job, height, *work), panels - panel);
        *work -= grain * job->m.k * rows;
        for (size_t row = 0; row < rows; row += height)
            f->tasks[n++] = (psc_task){j, (uint32_t)row, (uint32_t)least(height, rows - row),
                (uint32_t)panel, (uint32_t)grain};
    }
    return n;
}

void psc_forward_run(psc_forward *f, const psc_job *jobs, int n) {
    step s = {f, jobs};
    int64_t tasks = 0;
    size_t work = 0;
    for (int j = 0; j < n; j++) work += jobs[j].m.panel_end * jobs[j].m.k * jobs[j].m.rows;
    for (int j = 0; j < n; j++) tasks = cut(f, jobs, (uint32_t)j, tasks, &work);
    psc_team_tasks(f->team, tasks, run_task, &s);
}
