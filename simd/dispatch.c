/* Which kernels run: the CPU's ISA mask, and one table per ISA. An ISA's table is the reference
 * overlaid by every ISA that it contains, in order, so a slot that an overlay leaves null falls
 * back. Compiled for the baseline CPU, because it runs before the CPU's features are known. */
#include "kernel_names.h"

#include <assert.h>
#include <sleef.h>
#include <stdatomic.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* CPUID leaf 1 ECX, leaf 7 EBX, XCR0. */
#define ECX_FMA (1u << 12)
#define ECX_OSXSAVE (1u << 27)
#define ECX_AVX (1u << 28)
#define ECX_F16C (1u << 29)
#define EBX_AVX2 (1u << 5)
#define EBX_AVX512F (1u << 16)
#define XCR0_AVX 6u
#ifndef XCR0_AVX512
/* The same, with the masks, the upper halves, and registers 16 to 31. */
#define XCR0_AVX512 0xe6u
#endif

/* Whether the operating system saves these registers. */
static bool system_saves(uint32_t registers) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return (low & registers) == registers;
}
#endif

uint32_t psc_isa_mask(void) {
    uint32_t mask = 1u << PSC_ISA_REFERENCE;
#if defined(__x86_64__)
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    /* The reference is compiled with -mfma, so without FMA no kernel can run. */
    unsigned needed = ECX_FMA | ECX_OSXSAVE | ECX_AVX;
    if ((c & needed) != needed || !system_saves(XCR0_AVX)) return 0;
    bool f16c = (c & ECX_F16C) != 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & EBX_AVX2) && f16c) {
        mask |= 1u << PSC_ISA_AVX2;
        if ((b & EBX_AVX512F) && system_saves(XCR0_AVX512)) mask |= 1u << PSC_ISA_AVX512;
    }
#elif defined(__aarch64__)
    mask |= 1u << PSC_ISA_NEON; /* part of the base instruction set, f16 conversion too */
#endif
    return mask;
}

const char *psc_isa_name(psc_isa isa) {
    static const char *const names[PSC_ISA_COUNT] = {"reference", "avx2", "avx512", "neon"};
    return (unsigned)isa < PSC_ISA_COUNT ? names[isa] : NULL;
}

psc_isa psc_isa_best(uint32_t mask) {
    if (mask & 1u << PSC_ISA_AVX512) return PSC_ISA_AVX512;
    if (mask & 1u << PSC_ISA_AVX2) return PSC_ISA_AVX2;
    if (mask & 1u << PSC_ISA_NEON) return PSC_ISA_NEON;
    return PSC_ISA_REFERENCE;
}

/* The slots that an ISA fills. To omit a kernel, an overlay defines, above its slots,
 *      #define psc_<op>__<isa> NULL
 * and the slot keeps the kernel of the layer below. */
static const psc_kernels reference_slots = {
#define PSC_KERNEL(name, arguments) .name = psc_##name##__reference,
#include "kernels.def"
#undef PSC_KERNEL
    .matmul_group = psc_matmul_group__reference,
};

#if defined(__x86_64__)
static const psc_kernels avx2_slots = {
#define PSC_KERNEL(name, arguments) .name = psc_##name##__avx2,
#include "kernels.def"
#undef PSC_KERNEL
    .matmul_group = psc_matmul_group__avx2,
};
static const psc_kernels avx512_slots = {
#define PSC_KERNEL(name, arguments) .name = psc_##name##__avx512,
#include "kernels.def"
#undef PSC_KERNEL
    .matmul_group = psc_matmul_group__avx512,
};
#elif defined(__aarch64__)
static const psc_kernels neon_slots = {
#define PSC_KERNEL(name, arguments) .name = psc_##name##__neon,
#include "kernels.def"
#undef PSC_KERNEL
    .matmul_group = psc_matmul_group__neon,
};
#endif

static void overlay(psc_kernels *table, const psc_kernels *slots) {
#define PSC_KERNEL(name, arguments)                                                                \
    if (slots->name) table->name = slots->name;
#include "kernels.def"
#undef PSC_KERNEL
    if (slots->matmul_group) table->matmul_group = slots->matmul_group;
}

/* Depends on isa alone; does not inspect the machine. */
static void build(psc_kernels *table, psc_isa isa) {
    *table = (psc_kernels){.isa = isa, .isa_name = psc_isa_name(isa)};
    overlay(table, &reference_slots);
#if defined(__x86_64__)
    if (isa == PSC_ISA_AVX2 || isa == PSC_ISA_AVX512) overlay(table, &avx2_slots);
    if (isa == PSC_ISA_AVX512) overlay(table, &avx512_slots);
#elif defined(__aarch64__)
    if (isa == PSC_ISA_NEON) overlay(table, &neon_slots);
#endif
    table->matmul[PSC_DTYPE_F32] = table->matmul_f32;
    table->matmul[PSC_DTYPE_F16] = table->matmul_f16;
    table->matmul[PSC_DTYPE_BF16] = table->matmul_bf16;
    table->pullback[PSC_DTYPE_F32] = table->pullback_f32;
    table->pullback[PSC_DTYPE_F16] = table->pullback_f16;
    table->pullback[PSC_DTYPE_BF16] = table->pullback_bf16;
}

const psc_kernels *psc_kernels_for(psc_isa isa) {
    enum { EMPTY, BUILDING, READY };
    static psc_kernels tables[PSC_ISA_COUNT];
    static uint32_t mask; /* read once: cpuid is slow on a virtual machine */
    static atomic_int state;

    if ((unsigned)isa >= PSC_ISA_COUNT) return NULL;
    int expected = EMPTY;
    if (atomic_compare_exchange_strong(&state, &expected, BUILDING)) {
        for (int i = 0; i < PSC_ISA_COUNT; i++) build(&tables[i], (psc_isa)i);
        mask = psc_isa_mask();
        atomic_store(&state, READY);
    }
    /* Another thread may be building the tables, which takes a few hundred stores. */
    while (atomic_load(&state) != READY) continue;
    return mask & 1u << isa ? &tables[isa] : NULL;
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *psc_sleef_version(void) {
    return TEXT(SLEEF_VERSION_MAJOR) "." TEXT(SLEEF_VERSION_MINOR) "." TEXT(
        SLEEF_VERSION_PATCHLEVEL);
}
