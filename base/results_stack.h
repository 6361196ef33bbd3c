/* The parts of psc_results_stack: arrays, values, and the summary.
 * Private to base/results_stack*.c. Includes results.h.
 * Threads: one at a time.
 * Ownership: a stack borrows what its caller gave; out belongs to psc_results_stack. */
#ifndef RESULTS_STACK_H
#define RESULTS_STACK_H

#include "results.h"

/* The name of the leading axis, and of the section about the checkpoints. */
#define PSC_STACK_AXIS "checkpoints"

typedef struct psc_stack {
    psc_results *out;
    const psc_results *const *from; /* [n] */
    const char *const *labels;      /* [n] */
    int32_t n;
    psc_error *error; /* not null */
} psc_stack;

/* The first section of the stack is the one about the checkpoints. */
enum { PSC_STACK_SECTION = 0, PSC_STACK_LINES = 24 }; /* lines of a table, at most */

psc_status psc_stack_no_memory(const psc_stack *stack);
/* A new array of section `to` with the checkpoints in front of `axes`, filled with no value. */
psc_stored_array *psc_stack_new_array(const psc_stack *stack, int to, const char *key,
    psc_element element, int n_axes, const char *const *axes, const int64_t *shape);
/* Adds "what: why" to the list of what is left out. */
psc_status psc_stack_leave_out(
    const psc_stack *stack, const char *section, const char *what, const char *why);
/* Section `name` of result k, which has it. */
const psc_section *psc_stack_section_of(const psc_stack *stack, int32_t k, const char *name);

/* results_stack_values.c: one value of all results, in section `to` of the stack. */
psc_status psc_stack_value(const psc_stack *stack, int to, const psc_result_value *first);
/* results_stack_targets.c: arrays of the targets in the first section, bars of their probability,
 * and the name of target t for people. */
psc_status psc_stack_targets(const psc_stack *stack);
psc_status psc_stack_target_bars(const psc_stack *stack);
void psc_stack_target_shown(char *out, size_t size, const psc_stack *stack, int32_t t);
/* results_stack_summary.c: a table of the main numbers for each section of the stack. */
psc_status psc_stack_summarize(const psc_stack *stack);

#endif
