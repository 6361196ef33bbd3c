/* The coefficients of tanh, printed by tools/fit_tanh.py, which defines them.
 * Private to simd/: tanh_reference.h and tanh_frame.h.
 * Threads: constants.
 * Ownership: nothing is kept. */
#ifndef TANH_COEFFICIENTS_H
#define TANH_COEFFICIENTS_H

#define TANH_N_NEAR 6
#define TANH_NEAR 0x1.8p-1f
#define TANH_LIMIT 0x1.4p3f

/* Q, lowest first. */
static const float tanh_near[TANH_N_NEAR] = {
    -0x1.555548p-2f,
    0x1.110d86p-3f,
    -0x1.b97776p-5f,
    0x1.5f516ap-6f,
    -0x1.f4e156p-8f,
    0x1.c51e5ep-10f,
};

#endif
