/* One pointer per thread: reading it is safe in a signal handler. */
#include "at_work.h"

static _Thread_local const char *volatile at_work;

const char *psc_at_work_begin(const char *name) {
    const char *before = at_work;
    at_work = name;
    return before;
}

void psc_at_work_end(const char *before) {
    at_work = before;
}

const char *psc_plugin_at_work(void) {
    return at_work;
}
