/* The floating-point control state of a thread: MXCSR on x86, FPCR on ARM. Set as docs/numerics.md
 * requires: round to nearest even, subnormals kept in and out, no traps. */
#include "kernels.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
/* Every exception masked, round to nearest, flush-to-zero and denormals-are-zero off. */
#define DEFAULT_MXCSR 0x1f80u
#endif

psc_fp_state psc_fp_enter(void) {
    psc_fp_state state = {0};
#if defined(__x86_64__)
    state.saved = _mm_getcsr();
    _mm_setcsr(DEFAULT_MXCSR);
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(state.saved));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
#endif
    return state;
}

void psc_fp_leave(psc_fp_state state) {
#if defined(__x86_64__)
    _mm_setcsr((unsigned)state.saved);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(state.saved));
#else
    (void)state;
#endif
}
