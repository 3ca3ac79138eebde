/* From logits to probabilities, entropies and draws. All in float64: these numbers are outcomes. */
#include "fp4lab/model.h"

#include <math.h>

static float largest(const float *x, size_t n) {
    float best = x[0];
    for (size_t i = 1; i < n; i++)
        if (x[i] > best)
            best = x[i];
    return best;
}

/* The k-th largest value (k ≥ 1) of x[n], by bisection on the order-preserving integer image of floats: no copy, no sort. */
static float kth_largest(const float *x, size_t n, size_t k) {
    uint32_t low = 0, high = UINT32_MAX; /* invariant: at least k values have image ≥ low */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2 + 1;
        size_t count = 0;
        for (size_t i = 0; i < n; i++) {
            union {
                float f;
                uint32_t u;
            } bits = {x[i] + 0.0f}; /* −0 becomes +0: equal logits must have equal images */
            uint32_t image = bits.u & 0x80000000u ? ~bits.u : bits.u | 0x80000000u;
            count += image >= middle;
        }
        if (count >= k)
            low = middle;
        else
            high = middle - 1;
    }
    union {
        uint32_t u;
        float f;
    } bits = {low & 0x80000000u ? low & 0x7fffffffu : ~low};
    return bits.f;
}

void fp4_sampler_probabilities(const float *logits, size_t n_vocab, double temperature, int top_k, double *p) {
    float top = largest(logits, n_vocab);
    if (temperature <= 0) { /* greedy: all the mass on the first largest */
        bool taken = false;
        for (size_t i = 0; i < n_vocab; i++) {
            p[i] = !taken && logits[i] == top;
            taken = taken || logits[i] == top;
        }
        return;
    }
    float cut = top_k > 0 && (size_t)top_k < n_vocab ? kth_largest(logits, n_vocab, (size_t)top_k) : -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        p[i] = logits[i] >= cut ? exp(((double)logits[i] - (double)top) / temperature) : 0;
        sum += p[i];
    }
    for (size_t i = 0; i < n_vocab; i++)
        p[i] /= sum;
}

int32_t fp4_sample_index(const double *p, size_t n, double u) {
    double sum = 0;
    int32_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] <= 0)
            continue;
        sum += p[i];
        last = (int32_t)i;
        if (u < sum)
            return last;
    }
    return last; /* rounding left the sum below u */
}

double fp4_logits_entropy(const float *logits, size_t n_vocab, double temperature) {
    double top = (double)largest(logits, n_vocab), sum = 0, weighted = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        double z = ((double)logits[i] - top) / temperature, e = exp(z);
        sum += e;
        weighted += e * z;
    }
    /* H = ln Σe^z − Σ z·e^z / Σe^z */
    return log(sum) - weighted / sum;
}
