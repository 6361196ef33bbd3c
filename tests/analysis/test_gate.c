/* The plugins' gate against the forward pass's, to the bit and on every ISA: every 499th float of
 * both signs, subnormals and infinities included, in place and separate. */
#include "gate.h"

#include "kernel_test.h"

enum { BLOCK = 4096, STEP = 499 };

static const psc_kernels *kernels;
static psc_model_info info;

static void host_erf(psc_context *context, int64_t n, float *y, const float *x) {
    (void)context;
    kernels->erf_f32(y, x, (size_t)n);
}

static void host_tanh(psc_context *context, int64_t n, float *y, const float *x) {
    (void)context;
    kernels->tanh_f32(y, x, (size_t)n);
}

static const psc_model_info *host_model(psc_context *context) {
    (void)context;
    return &info;
}

static const psc_host host = {.model = host_model, .erf = host_erf, .tanh = host_tanh};

static void check_block(const float *a) {
    static float y[BLOCK], want[BLOCK], got[BLOCK], odd[BLOCK];
    (info.gelu == PSC_GELU_TANH ? kernels->gelu_tanh : kernels->gelu)(y, want, a, BLOCK);
    psc_gates(NULL, &host, BLOCK, a, got);
    psc_gate_odd(NULL, &host, BLOCK, a, odd);
    for (int i = 0; i < BLOCK; i++) {
        cr_assert(same_float(got[i], want[i]), "Phi(%a) by %s: %a, not %a", (double)a[i],
            kernels->isa_name, (double)got[i], (double)want[i]);
        cr_assert(same_float(psc_gate_of(odd[i]), want[i]), "of odd: Phi(%a)", (double)a[i]);
    }
    memcpy(got, a, sizeof got);
    psc_gates(NULL, &host, BLOCK, got, got);
    for (int i = 0; i < BLOCK; i++)
        cr_assert(same_float(got[i], want[i]), "in place: Phi(%a)", (double)a[i]);
}

static void check_form(psc_gelu form) {
    info.gelu = form;
    static float a[BLOCK];
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        kernels = psc_kernels_for((psc_isa)isa);
        uint64_t next = 0;
        while (kernels && next <= UINT32_MAX) {
            for (int i = 0; i < BLOCK; i++, next += STEP) {
                const uint32_t bits = (uint32_t)next;
                memcpy(&a[i], &bits, sizeof bits);
            }
            a[0] = next % 2 ? INFINITY : -INFINITY;
            check_block(a);
        }
    }
}

Test(gate, is_the_forward_pass_s) {
    check_form(PSC_GELU_ERF);
}

Test(gate, is_the_forward_pass_s_with_tanh) {
    check_form(PSC_GELU_TANH);
}
