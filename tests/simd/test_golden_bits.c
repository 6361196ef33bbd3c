/* The bits of SLEEF 3.5.1's exp and log, and of our erf, tanh and both forms of gelu. Results must
 * be equal to the bit across machines; SLEEF's version is part of that. */
#include "kernel_test.h"

#define EXPLAIN                                                                                    \
    "%s(%a) is %llx by %s, not %llx: this build (SLEEF %s, 3.5.1 expected) rounds differently, "   \
    "so "                                                                                          \
    "results will not be equal to the bit with those of other builds"

typedef struct golden_f32 {
    uint32_t x, y;
} golden_f32;

typedef struct golden_f64 {
    uint64_t x, y;
} golden_f64;

static void check_f32(
    psc_exp_f32_fn f, const psc_kernels *k, const char *name, const golden_f32 *golden, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float x[9], y[9];
        for (int j = 0; j < 9; j++) x[j] = float_from_bits(golden[i].x);
        f(y, x, 9);
        for (int j = 0; j < 9; j++) {
            cr_assert_eq(bits_from_float(y[j]), golden[i].y, EXPLAIN, name, (double)x[0],
                (unsigned long long)bits_from_float(y[j]), k->isa_name,
                (unsigned long long)golden[i].y, psc_sleef_version());
        }
    }
}

static void check_f64(
    psc_exp_f64_fn f, const psc_kernels *k, const char *name, const golden_f64 *golden, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double x, y;
        uint64_t bits;
        memcpy(&x, &golden[i].x, sizeof x);
        f(&y, &x, 1);
        memcpy(&bits, &y, sizeof bits);
        cr_assert_eq(bits, golden[i].y, EXPLAIN, name, x, (unsigned long long)bits, k->isa_name,
            (unsigned long long)golden[i].y, psc_sleef_version());
    }
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const golden_f32 exp_golden[] = {{0x80000000, 0x3f800000}, {0x3f800000, 0x402df854},
    {0xbf800000, 0x3ebc5ab2}, {0xbdfcd6de, 0x3f6244a5}, {0xc0555555, 0x3d121ee5},
    {0xc18a0000, 0x330a7a4f}, {0xc24a0000, 0x1b0d6cfa}, {0xc2afcccd, 0x0048dcca},
    {0xc2ce6666, 0x00000001}, {0x40490fdb, 0x41b92024}, {0x412b3333, 0x472d43d9},
    {0x42b10000, 0x7f4cdcc4}};
static const golden_f32 erf_golden[] = {{0x80000000, 0x80000000}, {0x3dcccccd, 0x3de652f5},
    {0xbee9d495, 0xbef6992a}, {0x3f3504f3, 0x3f2ec4bd}, {0x3f800000, 0x3f57bb3d},
    {0x3f9e0419, 0x3f6b4e3a}, {0xbff33333, 0xbf7e2783}, {0x4016147b, 0x3f7fc43a},
    {0xc0466666, 0xbf7fff3d}, {0x4079999a, 0x3f7fffff}, {0x1e3ce508, 0x1e552511},
    {0xbf666666, 0xbf4c022d}, {0x3f36872b, 0x3f2fcbf6}, {0xbf4119ce, 0xbf36c2e4},
    {0x3fa5460a, 0x3f6ea1b0}, {0xbfba6b50, 0xbf75e7da}, {0x3fbfb4a2, 0x3f7740ad},
    {0xbfe9ff2e, 0xbf7d826a}, {0x3fef4880, 0x3f7de69f}};
static const golden_f32 gelu_golden[] = {{0xbf407568, 0xbe2e0cee}, {0x3f000000, 0x3eb103af},
    {0xbf800000, 0xbe227686}, {0x3fd9999a, 0x3fcfe70f}, {0xc039999a, 0xbbb14d5a},
    {0xc0b00000, 0xb4300000}, {0x40533333, 0x40531910}, {0xbc4985f0, 0xbbc78ba6},
    {0x3f439cb7, 0x3f181b9d}, {0xbf7d7d18, 0xbe2349b3}, {0x3f825c92, 0x3f5c82e6},
    {0xbf89989e, 0xbe1b6c11}, {0x3faa26d5, 0x3f9a84f5}, {0xbfc378ff, 0xbdc62d06}};
static const golden_f32 tanh_golden[] = {{0x80000000, 0x80000000}, {0x3dcccccd, 0x3dcc1ebc},
    {0xbee9d495, 0xbedad2f8}, {0x3f3504f3, 0x3f1bde35}, {0x3f400000, 0x3f22991f},
    {0xbf3ffffe, 0xbf22991e}, {0x3f800000, 0x3f42f7d6}, {0xbff33333, 0xbf74cbfa},
    {0x40166666, 0x3f7b629c}, {0xc0b00000, 0xbf7ffdd0}, {0x41100000, 0x3f7fffff},
    {0xc11051ec, 0xbf800000}, {0x1e3ce508, 0x1e3ce508}, {0x3f5dd00c, 0x3f3316f2}};
static const golden_f32 gelu_tanh_golden[] = {{0xbf407668, 0xbe2e1f23}, {0x3f000000, 0x3eb1016d},
    {0xbf800000, 0xbe229e90}, {0x3fd9999a, 0x3fcfe2b4}, {0xc039999a, 0xbba2bf94},
    {0xc0b00000, 0x80000000}, {0x40533333, 0x40531db8}, {0xbc4985f0, 0xbbc78ba6},
    {0x3f439cb7, 0x3f1816d4}, {0xbf7d70a4, 0xbe2374d7}, {0x3f825aee, 0x3f5c74e6},
    {0xbf89999a, 0xbe1b9a02}, {0x41400000, 0x41400000}, {0xb58637bd, 0xb50637b6}};
static const golden_f64 exp_f64_golden[] = {{0xbfe0000000000000, 0x3fe368b2fc6f960a},
    {0xbff0000000000000, 0x3fd78b56362cef38}, {0xc028b0fcd324d5a2, 0x3ed23d2b6a3ae568},
    {0xc085e20000000000, 0x00caf5fe9a485c8e}, {0xc087473333333333, 0x0000000000000001},
    {0x3ff0000000000000, 0x4005bf0a8b145769}, {0x3fb999999999999a, 0x3ff1aec7b35a00d4},
    {0x400e000000000000, 0x404542b2d0a266e7}};
static const golden_f64 log_f64_golden[] = {{0x3ff0000000000000, 0x0000000000000000},
    {0x3fe0000000000000, 0xbfe62e42fefa39ef}, {0x4005bf0a8b04919b, 0x3fefffffffe8ca4c},
    {0x40e8900000000000, 0x4025a6d47bf47deb}, {0x3ff000001ad7f29b, 0x3e7ad7f2847b6492},
    {0x01a56e1fc2f8f359, 0xc085963447f87fb5}, {0x4031400000000000, 0x4006c851bbab187e},
    {0x40fe240c9fbe76c9, 0x40277281cad8a844}};

static void check_gelu(psc_gelu_fn gelu, const psc_kernels *k, const char *name,
    const golden_f32 *golden, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float x = float_from_bits(golden[i].x), y;
        gelu(&y, NULL, &x, 1);
        cr_assert_eq(bits_from_float(y), golden[i].y, EXPLAIN, name, (double)x,
            (unsigned long long)bits_from_float(y), k->isa_name, (unsigned long long)golden[i].y,
            psc_sleef_version());
    }
}

Test(golden_bits, functions) {
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        if (!k) continue;
        check_f32(k->exp_f32, k, "exp", exp_golden, COUNT(exp_golden));
        check_f32(k->erf_f32, k, "erf", erf_golden, COUNT(erf_golden));
        check_f32(k->tanh_f32, k, "tanh", tanh_golden, COUNT(tanh_golden));
        check_f64(k->exp_f64, k, "exp", exp_f64_golden, COUNT(exp_f64_golden));
        check_f64(k->log_f64, k, "log", log_f64_golden, COUNT(log_f64_golden));
        check_gelu(k->gelu, k, "gelu", gelu_golden, COUNT(gelu_golden));
        check_gelu(k->gelu_tanh, k, "gelu_tanh", gelu_tanh_golden, COUNT(gelu_tanh_golden));
    }
}
