/* OpenBLAS, loaded at run time so that its core can be chosen before its constructor runs.
 *
 * Debian 12's OpenBLAS 0.3.21 chooses its kernels by CPU model and does not know Zen 4 and Zen 5: it takes Haswell's (AVX2) there,
 * half the speed. Its SkylakeX kernels need no more than AVX-512F/BW/DQ/VL, so they are chosen by feature here. */
#include "fp4lab/backend.h"
#include "fp4lab/formats.h"

#include "lib/backend/gemm.h"
#include "lib/backend/lapack.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* CBLAS's own numbers (netlib cblas.h). */
enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112 };

static struct {
    void *library;
    char core[64];
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                  int ldb, float beta, float *c, int ldc);
    /* LAPACK, Fortran calling sequence: everything by reference, column-major */
    void (*dpotrf)(const char *triangle, const int *n, double *a, const int *lda, int *info);
    void (*dpotri)(const char *triangle, const int *n, double *a, const int *lda, int *info);
} blas;

/* NULL: OpenBLAS's own choice. */
static const char *best_core(void) {
    const char *asked = getenv("FP4LAB_BLAS_CORE");
    if (asked && *asked)
        return asked;
    switch (fp4_cpu_detect()) {
    case FP4_CPU_AVX512: return "SkylakeX";
    case FP4_CPU_AVX2: return __builtin_cpu_is("amd") ? "Zen" : "Haswell";
    case FP4_CPU_REF: break;
    }
    return NULL;
}

/* dlsym through a union: ISO C has no cast from object to function pointer. */
static bool find_function(void *library, const char *name, void *function_pointer) {
    void *symbol = dlsym(library, name);
    memcpy(function_pointer, &symbol, sizeof symbol);
    return symbol != NULL;
}

fp4_status fp4_blas_init(void) {
    if (blas.sgemm)
        return FP4_OK;
    const char *core = best_core();
    /* OPENBLAS_CORETYPE is read once, by the library's constructor. A value that the environment brought along is replaced: images
     * pin it to one old core for all machines. FP4LAB_BLAS_CORE is the switch. */
    if (core && setenv("OPENBLAS_CORETYPE", core, 1) != 0)
        return fp4_fail(FP4_ERR_MEMORY, "OpenBLAS: cannot set OPENBLAS_CORETYPE");
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return fp4_fail(FP4_ERR_IO, "libopenblas.so.0: cannot load: %s; install libopenblas0-pthread", dlerror());
    void (*set_threads)(int) = NULL;
    char *(*core_name)(void) = NULL;
    if (!find_function(library, "openblas_set_num_threads", &set_threads) ||
        !find_function(library, "openblas_get_corename", &core_name) || !find_function(library, "cblas_sgemm", &blas.sgemm) ||
        !find_function(library, "dpotrf_", &blas.dpotrf) || !find_function(library, "dpotri_", &blas.dpotri)) {
        blas.sgemm = NULL;
        dlclose(library);
        return fp4_fail(FP4_ERR_UNSUPPORTED, "libopenblas.so.0: not an OpenBLAS with CBLAS and LAPACK; install libopenblas0-pthread");
    }
    set_threads(1); /* the threads are ours: fp4_parallel_for */
    blas.library = library;
    snprintf(blas.core, sizeof blas.core, "%s", core_name());
    const char *asked = getenv("FP4LAB_BLAS_CORE");
    if (asked && *asked && strcasecmp(asked, blas.core) != 0) {
        blas.sgemm = NULL;
        return fp4_fail(FP4_ERR_ARG, "FP4LAB_BLAS_CORE=%s: OpenBLAS has no such core and took %s; unset it", asked, blas.core);
    }
    return FP4_OK;
}

const char *fp4_blas_core(void) { return fp4_blas_init() == FP4_OK ? blas.core : "none"; }

void fp4_gemm_one(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                  const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    blas.sgemm(CBLAS_ROW_MAJOR, transpose_a ? CBLAS_TRANS : CBLAS_NO_TRANS, transpose_b ? CBLAS_TRANS : CBLAS_NO_TRANS, (int)m,
               (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

/* Column-major "lower" is row-major "upper". */
fp4_status fp4_inverse_cholesky_upper(size_t n, double *a) {
    int order = (int)n, info = 0;
    FP4_TRY(fp4_blas_init());
    blas.dpotrf("L", &order, a, &order, &info); /* a = L Lᵀ */
    if (info == 0)
        blas.dpotri("L", &order, a, &order, &info); /* lower triangle of a⁻¹ */
    if (info == 0)
        blas.dpotrf("L", &order, a, &order, &info); /* a⁻¹ = L Lᵀ, L as stored = Uᵀ */
    return info == 0 ? FP4_OK : fp4_fail(FP4_ERR_NUMERIC, "Cholesky factorisation: matrix of order %zu is not positive definite", n);
}
