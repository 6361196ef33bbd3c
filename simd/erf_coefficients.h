/* The coefficients of erf, printed by tools/fit_erf.py, which defines them.
 * Private to simd/: erf_reference.h and erf_frame.h.
 * Threads: constants.
 * Ownership: nothing is kept. */
#ifndef ERF_COEFFICIENTS_H
#define ERF_COEFFICIENTS_H

#define ERF_N_NEAR 7
#define ERF_N_FAR 11
#define ERF_NEAR 0x1.99999ap-1f
#define ERF_LIMIT 0x1p2f
#define ERF_CENTER 0x1.053448p0f
#define ERF_TWICE_ROOT 0x1.8b4f6cp-1f
#define ERF_AT_CENTER 0x1.b3b23ap-1f /* 1 - ROOT^2 */

/* P and R, lowest first. */
static const float erf_near[ERF_N_NEAR] = {
    0x1.06eba8p-3f,
    -0x1.812744p-2f,
    0x1.ce2e88p-4f,
    -0x1.b81c82p-6f,
    0x1.556bdcp-8f,
    -0x1.b0fbc2p-11f,
    0x1.770fcep-14f,
};
static const float erf_far[ERF_N_FAR] = {
    -0x1.08320ap-1f,
    0x1.73fde4p-3f,
    0x1.d014bp-5f,
    -0x1.85665p-5f,
    -0x1.83e37ep-10f,
    0x1.e13be6p-8f,
    -0x1.cf7cdp-12f,
    -0x1.5328f8p-10f,
    0x1.1eeb4ap-11f,
    -0x1.8c5cacp-14f,
    0x1.a7a8cap-18f,
};

#endif
