/* Template of the transformer's kernels. The including file defines NN_TABLE, the name of its table, and is compiled with
 * its rung's instruction set. 16-lane vectors are GCC's and Clang's vector extension: the compiler cuts them
 * into whatever the rung has, lane by lane the same IEEE operations. */
#include "lib/kernels/cpu/nn_kernels.h"
#include "lib/kernels/cpu/widen.h"

#include <math.h>
#include <string.h>

enum { LANES = 16, RUN = 512 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf splat(float x) { return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

/* m ≤ 16 elements; the missing lanes hold `fill`. */
INLINE vf load_fill(const float *p, size_t m, float fill) {
    vf v;
    if (m == LANES) {
        memcpy(&v, p, sizeof v);
        return v;
    }
    float lanes[LANES];
    for (size_t l = 0; l < LANES; l++)
        lanes[l] = l < m ? p[l] : fill;
    memcpy(&v, lanes, sizeof v);
    return v;
}
INLINE vf load(const float *p, size_t m) { return load_fill(p, m, 0.0f); }
INLINE void store(float *p, size_t m, vf v) {
    if (m == LANES)
        memcpy(p, &v, sizeof v);
    else
        memcpy(p, &v, m * sizeof *p);
}
INLINE vf pick(vi mask, vf a, vf b) { return (vf)(((vi)a & mask) | ((vi)b & ~mask)); }
/* The second operand where one is NaN, which is what the instruction does too; GCC 12 does not find it. */
#ifdef __AVX512F__
INLINE vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf vmin(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#else
INLINE vf vmax(vf a, vf b) { return pick(a > b, a, b); }
INLINE vf vmin(vf a, vf b) { return pick(a < b, a, b); }
#endif

/* The one tree in which 16 lanes are summed. */
INLINE float tree(vf v) {
    float a[LANES];
    memcpy(a, &v, sizeof a);
    for (size_t w = LANES / 2; w; w /= 2)
        for (size_t l = 0; l < w; l++)
            a[l] += a[l + w];
    return a[0];
}

/* Loops over vectors: i is the first element, m how many lanes are in use. */
#define EACH(i, m, n) for (size_t i = 0, m; i < (n) && (m = (n) - i < LANES ? (n) - i : LANES, true); i += LANES)

/* e^x = 2^k·e^r, |r| ≤ ln2/2: the Taylor polynomial of degree 7 is off by |r|⁸/8! < 6e-9 there. ln 2 is split so that
 * k·LN2_HIGH is exact; 2^k is applied in two halves so that results below the normal range round once. */
INLINE vf vexp(vf x) {
    const float magic = 12582912.0f; /* 1.5·2²³: adding it rounds to an integer */
    x = vmax(vmin(x, splat(89.0f)), splat(-104.0f));
    vf t = x * splat(1.44269504088896f) + splat(magic);
    vf k = t - splat(magic);
    vf r = x - k * splat(0.693359375f);
    r = r - k * splat(-2.12194440054690583e-4f);
    vf p = splat(1.0f / 5040.0f);
    p = p * r + splat(1.0f / 720.0f);
    p = p * r + splat(1.0f / 120.0f);
    p = p * r + splat(1.0f / 24.0f);
    p = p * r + splat(1.0f / 6.0f);
    p = p * r + splat(0.5f);
    p = p * (r * r) + r;
    p = p + splat(1.0f);
    vi e = (vi)t - (vi)splat(magic);
    vi half = e >> 1;
    vf a = (vf)((half + 127) << 23), b = (vf)((e - half + 127) << 23);
    return p * a * b;
}

static void k_exp(size_t n, const float *x, float *y) {
    EACH(i, m, n) store(y + i, m, vexp(load(x + i, m)));
}

static float k_dot(size_t n, const float *x, const float *y) {
    vf s = {0};
    EACH(i, m, n) s += load(x + i, m) * load(y + i, m);
    return tree(s);
}

static float k_norm(size_t n, const float *x, const float *w, float eps, float *y) {
    float rstd = 1.0f / sqrtf(k_dot(n, x, x) / (float)n + eps);
    EACH(i, m, n) store(y + i, m, load(x + i, m) * splat(rstd) * load(w + i, m));
    return rstd;
}

/* With h = x·rstd: dx = rstd·(w·dy − h·mean(w·dy·h)). */
static void k_norm_backward(size_t n, const float *x, const float *w, float rstd, const float *dy, float *dx) {
    vf s = {0};
    EACH(i, m, n) s += load(w + i, m) * load(dy + i, m) * (load(x + i, m) * splat(rstd));
    vf mean = splat(tree(s) / (float)n);
    EACH(i, m, n) {
        vf h = load(x + i, m) * splat(rstd);
        store(dx + i, m, load(dx + i, m) + splat(rstd) * (load(w + i, m) * load(dy + i, m) - h * mean));
    }
}

static void k_norm_backward_weight(size_t rows, size_t n, size_t ld, const float *x, const float *rstd, const float *dy, float *dw) {
    for (size_t j = 0; j < n; j += LANES) {
        size_t m = n - j < LANES ? n - j : LANES;
        double sum[LANES] = {0};
        for (size_t t = 0; t < rows; t++) {
            float product[LANES];
            vf v = load(dy + t * ld + j, m) * (load(x + t * ld + j, m) * splat(rstd[t]));
            memcpy(product, &v, sizeof product);
            for (size_t l = 0; l < LANES; l++)
                sum[l] += product[l];
        }
        for (size_t l = 0; l < m; l++)
            dw[j + l] += (float)sum[l];
    }
}

/* mean and 1/√(variance + eps), the variance in a second pass over the differences */
static float k_layer_norm(size_t n, const float *x, const float *w, const float *b, float eps, float *y, float *mean) {
    vf s = {0}, square = {0};
    EACH(i, m, n) s += load(x + i, m);
    float middle = tree(s) / (float)n;
    EACH(i, m, n) {
        vf d = load_fill(x + i, m, middle) - splat(middle);
        square += d * d;
    }
    float rstd = 1.0f / sqrtf(tree(square) / (float)n + eps);
    EACH(i, m, n) store(y + i, m, (load(x + i, m) - splat(middle)) * splat(rstd) * load(w + i, m) + load(b + i, m));
    *mean = middle;
    return rstd;
}

/* With h = (x − mean)·rstd: dx = rstd·(w·dy − mean(w·dy) − h·mean(w·dy·h)). */
static void k_layer_norm_backward(size_t n, const float *x, const float *w, float mean, float rstd, const float *dy, float *dx) {
    vf s = {0}, sh = {0};
    EACH(i, m, n) {
        vf g = load(w + i, m) * load(dy + i, m);
        s += g;
        sh += g * ((load(x + i, m) - splat(mean)) * splat(rstd));
    }
    vf first = splat(tree(s) / (float)n), second = splat(tree(sh) / (float)n);
    EACH(i, m, n) {
        vf h = (load(x + i, m) - splat(mean)) * splat(rstd), g = load(w + i, m) * load(dy + i, m);
        store(dx + i, m, load(dx + i, m) + splat(rstd) * ((g - first) - h * second));
    }
}

static void k_layer_norm_backward_weight(size_t rows, size_t n, size_t ld, const float *x, const float *mean, const float *rstd, const float *dy,
                                         float *dw) {
    for (size_t j = 0; j < n; j += LANES) {
        size_t m = n - j < LANES ? n - j : LANES;
        double sum[LANES] = {0};
        for (size_t t = 0; t < rows; t++) {
            float product[LANES];
            vf v = load(dy + t * ld + j, m) * ((load(x + t * ld + j, m) - splat(mean[t])) * splat(rstd[t]));
            memcpy(product, &v, sizeof product);
            for (size_t l = 0; l < LANES; l++)
                sum[l] += product[l];
        }
        for (size_t l = 0; l < m; l++)
            dw[j + l] += (float)sum[l];
    }
}

static void k_column_sums(size_t rows, size_t n, size_t ld, const float *x, float *y) {
    for (size_t j = 0; j < n; j += LANES) {
        size_t m = n - j < LANES ? n - j : LANES;
        double sum[LANES] = {0};
        for (size_t t = 0; t < rows; t++)
            for (size_t l = 0; l < m; l++)
                sum[l] += (double)x[t * ld + j + l];
        for (size_t l = 0; l < m; l++)
            y[j + l] += (float)sum[l];
    }
}

static void k_rotate(size_t n, float *a, float *b, const float *cosine, const float *sine, bool inverse) {
    EACH(i, m, n) {
        vf x = load(a + i, m), y = load(b + i, m), c = load(cosine + i, m), s = load(sine + i, m);
        if (inverse)
            s = -s;
        store(a + i, m, x * c - y * s);
        store(b + i, m, y * c + x * s);
    }
}

INLINE vf sigmoid(vf x) { return splat(1.0f) / (splat(1.0f) + vexp(-x)); }

static void k_silu(size_t n, const float *x, float *y) {
    EACH(i, m, n) {
        vf v = load(x + i, m);
        store(y + i, m, v * sigmoid(v));
    }
}

/* silu'(x) = σ·(1 + x·(1 − σ)) */
INLINE vf silu_slope(vf x, vf s) { return s * (splat(1.0f) + x * (splat(1.0f) - s)); }

static void k_silu_backward(size_t n, const float *x, const float *dy, float *dx) {
    EACH(i, m, n) {
        vf v = load(x + i, m);
        store(dx + i, m, load(dy + i, m) * silu_slope(v, sigmoid(v)));
    }
}

static void k_relu(size_t n, const float *x, float *y) {
    EACH(i, m, n) {
        vf v = load(x + i, m);
        store(y + i, m, pick(v <= splat(0.0f), splat(0.0f), v));
    }
}
static void k_relu_backward(size_t n, const float *x, const float *dy, float *dx) {
    EACH(i, m, n) store(dx + i, m, pick(load(x + i, m) <= splat(0.0f), splat(0.0f), load(dy + i, m)));
}

/* Φ(x) from e = exp(−x²/2): Φ(−a) = e·Q(a) for a ≥ 0, and Q is t times a polynomial of degree 8 in t = 1/(1 + 0.35a), fitted by us on
 * 0 ≤ a ≤ 14.5 to 3e-8 relative (2e-7 with its sums in fp32). */
INLINE vf normal_cdf(vf x, vf e) {
    static const float c[] = {-0.0291580297f, 0.144031614f,  -0.255840391f, 0.159321249f, -0.0232133921f,
                              0.105552927f,   0.119821183f, 0.139863536f,  0.139621302f};
    vf t = splat(1.0f) / (splat(1.0f) + splat(0.35f) * vmax(x, -x)), q = splat(c[0]);
    for (size_t i = 1; i < sizeof c / sizeof *c; i++)
        q = q * t + splat(c[i]);
    vf tail = e * (q * t);
    return pick(x < splat(0.0f), tail, splat(1.0f) - tail);
}
static void k_gelu(size_t n, const float *x, float *y) {
    EACH(i, m, n) {
        vf v = load(x + i, m);
        store(y + i, m, v * normal_cdf(v, vexp(splat(-0.5f) * (v * v))));
    }
}
/* Φ(x) + x·φ(x) */
static void k_gelu_backward(size_t n, const float *x, const float *dy, float *dx) {
    EACH(i, m, n) {
        vf v = load(x + i, m), e = vexp(splat(-0.5f) * (v * v));
        store(dx + i, m, load(dy + i, m) * (normal_cdf(v, e) + v * (e * splat(0.398942280401433f))));
    }
}

/* ½(1 + tanh u) = σ(2u): s = σ(a(x + bx³)), and the slope is s + x·s(1 − s)·a(1 + 3bx²). */
#define GELU_A 1.59576912160573f
#define GELU_B 0.044715f
static void k_gelu_tanh(size_t n, const float *x, float *y) {
    EACH(i, m, n) {
        vf v = load(x + i, m);
        store(y + i, m, v * sigmoid(splat(GELU_A) * (v + splat(GELU_B) * (v * v * v))));
    }
}
static void k_gelu_tanh_backward(size_t n, const float *x, const float *dy, float *dx) {
    EACH(i, m, n) {
        vf v = load(x + i, m), s = sigmoid(splat(GELU_A) * (v + splat(GELU_B) * (v * v * v)));
        vf slope = splat(GELU_A) * (splat(1.0f) + splat(3.0f * GELU_B) * (v * v));
        store(dx + i, m, load(dy + i, m) * (s + v * (s * (splat(1.0f) - s)) * slope));
    }
}

static void k_drop(size_t n, float p, float scale, const float *u, const float *x, float *y) {
    EACH(i, m, n) store(y + i, m, pick(load(u + i, m) >= splat(p), load(x + i, m) * splat(scale), splat(0.0f)));
}

static void k_silu_mul(size_t n, const float *gate, const float *up, float *y) {
    EACH(i, m, n) {
        vf g = load(gate + i, m);
        store(y + i, m, g * sigmoid(g) * load(up + i, m));
    }
}

static void k_silu_mul_backward(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup) {
    EACH(i, m, n) {
        vf g = load(gate + i, m), u = load(up + i, m), d = load(dy + i, m), s = sigmoid(g);
        store(dgate + i, m, d * u * silu_slope(g, s));
        store(dup + i, m, d * (g * s));
    }
}

static void k_add(size_t n, const float *x, float *y) {
    EACH(i, m, n) store(y + i, m, load(y + i, m) + load(x + i, m));
}
static void k_scale(size_t n, float a, float *x) {
    EACH(i, m, n) store(x + i, m, splat(a) * load(x + i, m));
}

static float k_max(size_t n, const float *x) {
    vf v = splat(-INFINITY);
    EACH(i, m, n) v = vmax(load_fill(x + i, m, -INFINITY), v);
    float a[LANES], best;
    memcpy(a, &v, sizeof a);
    best = a[0];
    for (size_t l = 1; l < LANES; l++)
        best = a[l] > best ? a[l] : best;
    return best;
}

static void clear(size_t n, size_t width, float *s) {
    if (width > n)
        memset(s + n, 0, (width - n) * sizeof *s);
}

/* scale > 0: the maximum of the products is the product of the maximum (rounding is monotonic). */
static void k_softmax(size_t n, size_t width, float scale, float *s, float *max, float *inverse_sum) {
    float top = k_max(n, s) * scale;
    vf sum = {0};
    EACH(i, m, n) {
        vf e = vexp(load_fill(s + i, m, -INFINITY) * splat(scale) - splat(top));
        store(s + i, m, e);
        sum += e;
    }
    float inverse = 1.0f / tree(sum);
    k_scale(n, inverse, s);
    clear(n, width, s);
    *max = top;
    *inverse_sum = inverse;
}

static void k_softmax_again(size_t n, size_t width, float scale, float *s, float max, float inverse_sum) {
    EACH(i, m, n) store(s + i, m, splat(inverse_sum) * vexp(load(s + i, m) * splat(scale) - splat(max)));
    clear(n, width, s);
}

static void k_softmax_backward(size_t n, const float *p, float *dp, float dot, float scale) {
    EACH(i, m, n) store(dp + i, m, load(p + i, m) * (load(dp + i, m) - splat(dot)) * splat(scale));
}

static float k_maximum(size_t n, const float *x, int32_t *index) {
    float top = k_max(n, x);
    size_t i = 0;
    while (i + 1 < n && x[i] != top)
        i++;
    *index = (int32_t)i;
    return top;
}

static double k_exp_sum(size_t n, const float *x, float max) {
    double total = 0.0;
    for (size_t at = 0; at < n; at += RUN) {
        size_t count = n - at < RUN ? n - at : RUN;
        vf s = {0};
        EACH(i, m, count) s += vexp(load_fill(x + at + i, m, -INFINITY) - splat(max));
        total += (double)tree(s);
    }
    return total;
}

/* ---- float64: scores are outcomes ---- */

enum { WIDE = 8 };
typedef int64_t vl __attribute__((vector_size(64)));

INLINE vd wide(double x) { return (vd){x, x, x, x, x, x, x, x}; }
INLINE vd load_wide(const float *p, size_t m, double fill) {
    if (m == WIDE)
        return load_widened(p);
    double lanes[WIDE];
    vd v;
    for (size_t l = 0; l < WIDE; l++)
        lanes[l] = l < m ? (double)p[l] : fill;
    memcpy(&v, lanes, sizeof v);
    return v;
}
INLINE vd vexp_wide(vd x) {
    /* 1/n!, n = 13 … 2: the next term is below 4e-18 for |r| ≤ ln2/2 */
    static const double c[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0,
                               1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5};
    const double magic = 6755399441055744.0; /* 1.5·2⁵² */
    vl low = x < wide(-708.0);
    x = (vd)(((vl)wide(-708.0) & low) | ((vl)x & ~low));
    vd t = x * wide(1.4426950408889634) + wide(magic);
    vd k = t - wide(magic);
    vd r = x - k * wide(0.693147180369123816490); /* high 32 bits of ln 2: k·high is exact */
    r = r - k * wide(1.90821492927058770002e-10);
    vd p = wide(c[0]);
    for (size_t i = 1; i < sizeof c / sizeof *c; i++)
        p = p * r + wide(c[i]);
    p = p * (r * r) + r + wide(1.0);
    return p * (vd)(((vl)t - (vl)wide(magic) + 1023) << 52);
}
INLINE double tree_wide(vd v) {
    double a[WIDE];
    memcpy(a, &v, sizeof a);
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}
#define EACH_WIDE(i, m, n) for (size_t i = 0, m; i < (n) && (m = (n) - i < WIDE ? (n) - i : WIDE, true); i += WIDE)

static double k_exp_sum_wide(size_t n, const float *x, float max) {
    vd s = {0};
    EACH_WIDE(i, m, n) {
        vd e = vexp_wide(load_wide(x + i, m, -INFINITY) - wide((double)max));
        s += e;
    }
    return tree_wide(s);
}

static double k_divergence(size_t n, const float *reference, double lse_reference, const float *x, double lse) {
    vd s = {0};
    EACH_WIDE(i, m, n) {
        /* missing lanes: p = e^-708 times 0 */
        vd lp = load_wide(reference + i, m, lse_reference - 708.0) - wide(lse_reference), lq = load_wide(x + i, m, lse - 708.0) - wide(lse);
        s += vexp_wide(lp) * (lp - lq);
    }
    return tree_wide(s);
}

static void k_exp_scale(size_t n, float *x, float max, float factor) {
    EACH(i, m, n) store(x + i, m, vexp(load(x + i, m) - splat(max)) * splat(factor));
}

static double k_sum_squares(size_t n, const float *x) {
    double lanes[LANES] = {0}, total = 0.0;
    for (size_t i = 0; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += (double)x[i + l] * (double)x[i + l];
    for (size_t i = n - n % LANES; i < n; i++)
        lanes[i % LANES] += (double)x[i] * (double)x[i];
    for (size_t l = 0; l < LANES; l++)
        total += lanes[l];
    return total;
}

static void k_adamw(size_t n, float *restrict p, const float *restrict g, float *restrict m, float *restrict v,
                    const struct fp4_adamw_scalars *s) {
    const struct fp4_adamw_scalars a = *s;
    for (size_t i = 0; i < n; i++) {
        float gradient = g[i] * a.gradient_scale;
        float m1 = a.beta1 * m[i] + a.one_minus_beta1 * gradient;
        float v1 = a.beta2 * v[i] + a.one_minus_beta2 * gradient * gradient;
        m[i] = m1;
        v[i] = v1;
        p[i] = p[i] * a.decay - a.step * (m1 / (sqrtf(v1) * a.root2 + a.eps));
    }
}

const struct fp4_nn_kernels NN_TABLE = {
    .exp = k_exp,
    .norm = k_norm,
    .norm_backward = k_norm_backward,
    .norm_backward_weight = k_norm_backward_weight,
    .layer_norm = k_layer_norm,
    .layer_norm_backward = k_layer_norm_backward,
    .layer_norm_backward_weight = k_layer_norm_backward_weight,
    .column_sums = k_column_sums,
    .rotate = k_rotate,
    .activate = {[FP4_ACT_SILU] = k_silu, [FP4_ACT_RELU] = k_relu, [FP4_ACT_GELU] = k_gelu, [FP4_ACT_GELU_TANH] = k_gelu_tanh},
    .activate_backward = {[FP4_ACT_SILU] = k_silu_backward, [FP4_ACT_RELU] = k_relu_backward, [FP4_ACT_GELU] = k_gelu_backward,
                          [FP4_ACT_GELU_TANH] = k_gelu_tanh_backward},
    .drop = k_drop,
    .silu_mul = k_silu_mul,
    .silu_mul_backward = k_silu_mul_backward,
    .add = k_add,
    .scale = k_scale,
    .dot = k_dot,
    .softmax = k_softmax,
    .softmax_again = k_softmax_again,
    .softmax_backward = k_softmax_backward,
    .maximum = k_maximum,
    .exp_sum = k_exp_sum,
    .exp_sum_wide = k_exp_sum_wide,
    .divergence = k_divergence,
    .exp_scale = k_exp_scale,
    .sum_squares = k_sum_squares,
    .adamw = k_adamw,
};
