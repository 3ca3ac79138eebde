/* The quantization kernels over vectors of V_LANES floats, included once by each SIMD rung after it has defined the vector
 * operations (V_…; see avx2/quantize.c) and QUANTIZE_TABLE, the name of its table. Same operations in the same order as the
 * reference: the same bits. What is left over below a vector goes through a padded copy or the reference. */

static inline vec v_abs(vec x) { return v_and(x, v_from_int(v_int_set(0x7fffffff))); }

static inline uint32_t largest_lane(veci v) {
    uint32_t lanes[V_LANES], largest = 0;
    v_int_store(lanes, v);
    for (int i = 0; i < V_LANES; i++)
        largest = lanes[i] > largest ? lanes[i] : largest;
    return largest;
}

/* The bit patterns of |x| order as the numbers do, and as signed integers. */
static uint32_t amax_bits(size_t n, const float *x) {
    veci a = v_int_set(0), b = a, c = a, d = a, mask = v_int_set(0x7fffffff);
    size_t i = 0;
    for (; i + 4 * V_LANES <= n; i += 4 * V_LANES) {
        a = v_int_max(a, v_int_and(v_to_int(v_load(x + i)), mask));
        b = v_int_max(b, v_int_and(v_to_int(v_load(x + i + V_LANES)), mask));
        c = v_int_max(c, v_int_and(v_to_int(v_load(x + i + 2 * V_LANES)), mask));
        d = v_int_max(d, v_int_and(v_to_int(v_load(x + i + 3 * V_LANES)), mask));
    }
    for (; i + V_LANES <= n; i += V_LANES)
        a = v_int_max(a, v_int_and(v_to_int(v_load(x + i)), mask));
    uint32_t largest = largest_lane(v_int_max(v_int_max(a, b), v_int_max(c, d)));
    uint32_t rest = fp4_cpu_kernels_ref.amax_bits(n - i, x + i);
    return rest > largest ? rest : largest;
}

/* Largest |x| over `block` columns of all rows. */
static inline float one_block_max(size_t rows, size_t stride, size_t block, const float *x) {
    vec largest = v_set(0.0f);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < block; i += V_LANES)
            largest = v_max(v_abs(v_load(x + r * stride + i)), largest);
    return v_reduce_max(largest);
}

static void block_max(size_t rows, size_t n, size_t stride, size_t block, const float *x, float *b) {
    size_t whole = n / block;
    if (block % 16 != 0) {
        fp4_cpu_kernels_ref.block_max(rows, n, stride, block, x, b);
        return;
    }
    for (size_t j = 0; j < whole; j++)
        b[j] = one_block_max(rows, stride, block, x + j * block);
    if (n % block)
        fp4_cpu_kernels_ref.block_max(rows, n % block, stride, block, x + whole * block, b + whole);
}

/* v ≥ 0 to the nearest even E4M3 value, saturating: adding 1.5·2^(e+20) rounds to multiples of 2^(e−3). */
static inline vec e4m3_nearest(vec v) {
    v = v_min(v, v_set(448.0f));
    veci exponent = v_int_and(v_to_int(v_max(v, v_set(0x1p-6f))), v_int_set(0x7f800000));
    vec magic = v_from_int(v_int_add(exponent, v_int_set((20 << 23) + 0x00400000)));
    return v_sub(v_add(v, magic), magic);
}

static void te_scales(const struct fp4_te *te, size_t blocks, const float *b, float *factor, float *step) {
    const vec flt_max = v_set(FP4_FLT_MAX), one = v_set(1.0f);
    size_t j = 0;
    for (; j + V_LANES <= blocks; j += V_LANES) {
        vec scale = e4m3_nearest(v_min(v_mul(v_load(b + j), v_set(te->sixth)), flt_max));
        v_store(factor + j, v_min(v_div(one, v_mul(scale, v_set(te->decode))), flt_max));
        v_store(step + j, v_mul(v_mul(scale, v_set(te->amax)), v_set(te->inverse)));
    }
    fp4_cpu_kernels_ref.te_scales(te, blocks - j, b + j, factor + j, step + j);
}

/* ±E2M1(|x|·factor)·step of one vector; see fp4_e2m1_nearest and its siblings. 0·∞ counts as 0. */
static inline vec e2m1_vector(enum fp4_rounding rounding, vec x, vec u, vec factor, vec step) {
    const vec sign = v_from_int(v_int_set((int)0x80000000u));
    vec a = v_min(v_max(v_mul(v_abs(x), factor), v_set(0.0f)), v_set(6.0f));
    veci exponent = v_int_and(v_to_int(v_max(a, v_set(1.0f))), v_int_set(0x7f800000));
    vec magic = v_from_int(v_int_add(exponent, v_int_set((22 << 23) + 0x00400000)));
    vec q = v_sub(v_add(a, magic), magic);
    if (rounding != FP4_ROUND_EVEN) {
        vec gap = v_from_int(v_int_add(exponent, v_int_set(-(1 << 23))));
        if (rounding == FP4_ROUND_AWAY) {
            q = v_add_where_equal(q, v_sub(a, q), v_mul(v_set(0.5f), gap), gap);
        } else {
            vec low = v_sub_where_less(q, a, q, gap);
            q = v_add_where_less(low, u, v_div(v_sub(a, low), gap), gap);
        }
    }
    return v_or(v_mul(q, step), v_and(x, sign));
}

/* n below V_LANES: through padded copies. */
static void e2m1_rest(enum fp4_rounding rounding, size_t n, const float *x, const float *u, float factor, float step, float *y) {
    float buffer[V_LANES] = {0}, uniform[V_LANES] = {0};
    memcpy(buffer, x, n * sizeof *x);
    if (u)
        memcpy(uniform, u, n * sizeof *u);
    v_store(buffer, e2m1_vector(rounding, v_load(buffer), v_load(uniform), v_set(factor), v_set(step)));
    memcpy(y, buffer, n * sizeof *y);
}

static inline void e2m1_row(enum fp4_rounding rounding, size_t n, size_t block, const float *x, const float *u, const float *factor,
                            const float *step, float *y) {
    size_t i = 0;
    for (size_t j = 0; i < n; j++) {
        vec f = v_set(factor[j]), s = v_set(step[j]);
        size_t end = n - i < block ? n : i + block;
        for (; i + V_LANES <= end; i += V_LANES)
            v_store(y + i, e2m1_vector(rounding, v_load(x + i), rounding == FP4_ROUND_STOCHASTIC ? v_load(u + i) : f, f, s));
        if (i < end) {
            e2m1_rest(rounding, end - i, x + i, rounding == FP4_ROUND_STOCHASTIC ? u + i : NULL, factor[j], step[j], y + i);
            i = end;
        }
    }
}

static void e2m1(enum fp4_rounding rounding, size_t rows, size_t n, size_t stride, size_t block, const float *x, const float *u,
                 const float *factor, const float *step, float *y) {
    for (size_t r = 0; r < rows; r++) { /* one call a rounding: each is compiled for it */
        const float *from = x + r * stride, *random = u ? u + r * n : NULL;
        if (rounding == FP4_ROUND_EVEN)
            e2m1_row(FP4_ROUND_EVEN, n, block, from, NULL, factor, step, y + r * stride);
        else if (rounding == FP4_ROUND_AWAY)
            e2m1_row(FP4_ROUND_AWAY, n, block, from, NULL, factor, step, y + r * stride);
        else
            e2m1_row(FP4_ROUND_STOCHASTIC, n, block, from, random, factor, step, y + r * stride);
    }
}

/* As e2m1_vector with nearest even; the sign is that of the product, or of x. */
static inline vec quotient_vector(bool sign_of_x, vec x, vec factor, vec scale, vec amax, vec limit) {
    const vec sign = v_from_int(v_int_set((int)0x80000000u));
    vec product = v_mul(x, factor), a = v_min(v_max(v_abs(product), v_set(0.0f)), v_set(6.0f));
    veci exponent = v_int_and(v_to_int(v_max(a, v_set(1.0f))), v_int_set(0x7f800000));
    vec magic = v_from_int(v_int_add(exponent, v_int_set((22 << 23) + 0x00400000)));
    vec q = v_sub(v_add(a, magic), magic);
    vec negative = sign_of_x ? v_and(x, sign) : v_and_where_less(product, v_set(0.0f), sign);
    return v_div(v_mul(v_mul(v_or(q, negative), scale), amax), limit);
}

static void e2m1_quotient(bool sign_of_x, float amax, float limit, size_t n, size_t block, const float *x, const float *factor,
                          const float *scale, float *y) {
    for (size_t i = 0, j = 0; i < n; j++) {
        vec f = v_set(factor[j]), s = v_set(scale[j]);
        size_t end = n - i < block ? n : i + block;
        for (; i + V_LANES <= end; i += V_LANES)
            v_store(y + i, quotient_vector(sign_of_x, v_load(x + i), f, s, v_set(amax), v_set(limit)));
        fp4_cpu_kernels_ref.e2m1_quotient(sign_of_x, amax, limit, end - i, block, x + i, factor + j, scale + j, y + i);
        i = end;
    }
}

/* Scale and factor of a candidate; see fp4_six_four_factor. */
static inline void candidate(const struct fp4_six_four *c, vec v, size_t n, float *scale, float *factor) {
    const vec zero = v_set(0.0f);
    float scales[V_LANES], factors[V_LANES];
    vec s = e4m3_nearest(v), f = v_div(v_set(1.0f), v_mul(s, v_set(c->decode)));
    v_store(scales, s);
    v_store(factors, c->te ? v_min(f, v_set(FP4_FLT_MAX)) : v_and_where_less(zero, s, f));
    memcpy(scale, scales, n * sizeof *scale);
    memcpy(factor, factors, n * sizeof *factor);
}

static void six_four(const struct fp4_six_four *c, size_t blocks, const float *b, float *scale6, float *factor6, float *scale4,
                     float *factor4) {
    for (size_t j = 0; j < blocks; j += V_LANES) {
        size_t n = blocks - j < V_LANES ? blocks - j : V_LANES;
        float lanes[V_LANES] = {0};
        memcpy(lanes, b + j, n * sizeof *b);
        vec v = v_mul(v_div(v_load(lanes), v_set(c->element_max)), v_set(c->encode));
        candidate(c, v, n, scale6 + j, factor6 + j);
        candidate(c, v_mul(v, v_set(1.5f)), n, scale4 + j, factor4 + j);
    }
}

/* A block in each lane: sums run in element order. Lanes past the last block repeat it. */
static inline vec lane_errors(enum fp4_block_error kind, size_t blocks, const float *x, const float *y) {
    vec error = v_set(0.0f), d[V_LANES];
    for (size_t part = 0; part < 16; part += V_LANES) {
        for (size_t l = 0; l < V_LANES; l++) {
            size_t at = 16 * (l < blocks ? l : blocks - 1) + part;
            vec difference = v_sub(v_load(y + at), v_load(x + at));
            d[l] = kind == FP4_ERROR_MSE ? v_mul(difference, difference) : v_abs(difference);
        }
        v_transpose(d);
        for (size_t l = 0; l < V_LANES; l++)
            error = kind == FP4_ERROR_ABSMAX ? v_max(d[l], error) : v_add(error, d[l]);
    }
    return error;
}

static void block_error(enum fp4_block_error kind, size_t n, const float *x, const float *y, float *error) {
    size_t whole = n / 16;
    for (size_t j = 0; j < whole; j += V_LANES) {
        size_t left = whole - j, used = left < V_LANES ? left : V_LANES;
        float lanes[V_LANES];
        v_store(lanes, kind == FP4_ERROR_MSE   ? lane_errors(FP4_ERROR_MSE, used, x + 16 * j, y + 16 * j)
                       : kind == FP4_ERROR_MAE ? lane_errors(FP4_ERROR_MAE, used, x + 16 * j, y + 16 * j)
                                               : lane_errors(FP4_ERROR_ABSMAX, used, x + 16 * j, y + 16 * j));
        memcpy(error + j, lanes, used * sizeof *error);
    }
    fp4_cpu_kernels_ref.block_error(kind, n % 16, x + 16 * whole, y + 16 * whole, error + whole);
}

/* a/gap is exact: the three cases of fp4_tta_round are one. */
static inline vec tta_vector(vec x, vec noise, vec scale, vec ts) {
    const vec sign = v_from_int(v_int_set((int)0x80000000u)), magic = v_set(0x1.8p23f);
    vec a = v_min(v_max(v_mul(v_div(v_abs(x), ts), scale), v_set(0.0f)), v_set(7.0f));
    veci exponent = v_int_and(v_to_int(v_max(a, v_set(1.0f))), v_int_set(0x7f800000));
    vec gap = v_from_int(v_int_add(exponent, v_int_set(-(1 << 23))));
    vec q = v_mul(v_sub(v_add(v_add(v_div(a, gap), noise), magic), magic), gap);
    q = v_or(v_min(v_abs(q), v_set(6.0f)), v_and_where_less(x, v_set(0.0f), sign));
    return v_mul(v_div(q, scale), ts);
}

static void tta(float ts, size_t n, size_t block, const float *x, const float *u, const float *scale, float *y) {
    for (size_t i = 0, j = 0; i < n; j++) {
        vec s = v_set(scale[j]), half = v_set(0.5f);
        size_t end = n - i < block ? n : i + block;
        for (; i + V_LANES <= end; i += V_LANES)
            v_store(y + i, tta_vector(v_load(x + i), u ? v_sub(v_load(u + i), half) : v_set(0.0f), s, v_set(ts)));
        fp4_cpu_kernels_ref.tta(ts, end - i, block, x + i, u ? u + i : NULL, scale + j, y + i);
        i = end;
    }
}

static inline vec table_vector(const struct fp4_value_table *t, vec x, vec inverse, vec absmax) {
    const vec sign = v_from_int(v_int_set((int)0x80000000u));
    vec v = v_mul(x, inverse), value = v_set(t->values[0]);
    if (t->clamp)
        v = v_max(v_min(v, v_set(1.0f)), v_set(-1.0f));
    if (t->magnitudes)
        v = v_abs(v);
    for (int j = 0; j < t->n; j++)
        value = v_select_less(v_set(t->boundaries[j]), v, v_set(t->values[j + 1]), value);
    if (t->magnitudes)
        value = v_or(value, v_and_where_less(x, v_set(0.0f), sign));
    return v_mul(value, absmax);
}

static void table(const struct fp4_value_table *t, size_t n, size_t block, const float *x, const float *absmax, float *y) {
    for (size_t i = 0, j = 0; i < n; j++) {
        vec largest = v_set(absmax[j]), inverse = v_set(1.0f / (t->clamp ? fp4_max(absmax[j], 1e-38f) : absmax[j]));
        size_t end = n - i < block ? n : i + block;
        for (; i + V_LANES <= end; i += V_LANES)
            v_store(y + i, table_vector(t, v_load(x + i), inverse, largest));
        fp4_cpu_kernels_ref.table(t, end - i, block, x + i, absmax + j, y + i);
        i = end;
    }
}

/* NaN keep their upper half and become quiet, as fp4_bf16_encode has it. */
static void bf16(size_t n, const float *x, float *y) {
    const veci odd = v_int_set(1), upper = v_int_set((int)0xffff0000u), quiet = v_int_set(0x00400000);
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) {
        vec in = v_load(x + i);
        veci bits = v_to_int(in), up = v_int_add(v_int_set(0x7fff), v_int_and(v_int_upper_half(bits), odd));
        vec rounded = v_from_int(v_int_and(v_int_add(bits, up), upper));
        v_store(y + i, v_select_nan(in, v_or(v_from_int(v_int_and(bits, upper)), v_from_int(quiet)), rounded));
    }
    fp4_cpu_kernels_ref.bf16(n - i, x + i, y + i);
}

/* As fp4_int4_round. */
static inline vec int4_vector(struct fp4_int_grid grid, vec x, vec u, vec scale) {
    const vec sign = v_from_int(v_int_set((int)0x80000000u)), magic = v_set(0x1.8p23f), one = v_set(1.0f);
    vec y = v_div(x, scale), in = v_max(v_min(y, v_set(8.0f)), v_set(-9.0f));
    vec q = v_sub(v_add(in, magic), magic);
    if (grid.rounding == FP4_ROUND_AWAY) {
        vec unit = v_or(one, v_and(in, sign)); /* the tie that went towards zero: in − q has the sign of in */
        q = v_add_where_equal(q, v_sub(in, q), v_mul(v_set(0.5f), unit), unit);
    } else if (grid.rounding == FP4_ROUND_STOCHASTIC) {
        vec below = v_sub_where_less(q, in, q, one);
        q = v_add_where_less(below, u, v_sub(in, below), one);
    }
    vec clamped = v_max(v_min(q, v_set(7.0f)), v_set(grid.low));
    return v_mul(v_or(v_abs(clamped), v_and(y, sign)), scale);
}

static void int4(struct fp4_int_grid grid, size_t n, size_t block, const float *x, const float *u, const float *scale, float *y) {
    for (size_t i = 0, j = 0; i < n; j++) {
        vec s = v_set(scale[j]);
        size_t end = n - i < block ? n : i + block;
        for (; i + V_LANES <= end; i += V_LANES)
            v_store(y + i, int4_vector(grid, v_load(x + i), u ? v_load(u + i) : s, s));
        fp4_cpu_kernels_ref.int4(grid, end - i, block, x + i, u ? u + i : NULL, scale + j, y + i);
        i = end;
    }
}

/* Butterflies inside of a vector: partner lanes trade places, and the lane with bit h set becomes partner − own. */
static inline vec butterflies_inside(vec v) {
    v = v_add(v_swap1(v), v_xor(v, v_from_int(v_lane_signs(1))));
    v = v_add(v_swap2(v), v_xor(v, v_from_int(v_lane_signs(2))));
    v = v_add(v_swap4(v), v_xor(v, v_from_int(v_lane_signs(4))));
#if V_LANES == 16
    v = v_add(v_swap8(v), v_xor(v, v_from_int(v_lane_signs(8))));
#endif
    return v;
}

static inline void hadamard_group(size_t n, const float *sign, float root, bool inverse, float *x) {
    vec v[128 / V_LANES];
    size_t count = n / V_LANES;
    for (size_t i = 0; i < count; i++) {
        vec in = v_load(x + i * V_LANES);
        v[i] = butterflies_inside(inverse ? in : v_mul(in, v_load(sign + i * V_LANES)));
    }
    for (size_t h = 1; h < count; h *= 2)
        for (size_t i = 0; i < count; i++)
            if (!(i & h)) {
                vec a = v[i], c = v[i + h];
                v[i] = v_add(a, c);
                v[i + h] = v_sub(a, c);
            }
    for (size_t i = 0; i < count; i++) {
        vec out = v_mul(v[i], v_set(root));
        v_store(x + i * V_LANES, inverse ? v_mul(out, v_load(sign + i * V_LANES)) : out);
    }
}

static void hadamard(size_t n, size_t groups, const float *sign, float root, bool inverse, float *x) {
    for (size_t g = 0; g < groups; g++, x += n)
        switch (n) { /* constant sizes unroll */
        case 16: hadamard_group(16, sign, root, inverse, x); break;
        case 32: hadamard_group(32, sign, root, inverse, x); break;
        case 64: hadamard_group(64, sign, root, inverse, x); break;
        default: hadamard_group(n, sign, root, inverse, x); break;
        }
}

/* High and low halves of 32×32-bit products. */
static inline veci mul_high_low(veci x, uint32_t factor, veci *low) {
    veci m = v_int_set((int)factor), even = v_int_mul_even(x, m), odd = v_int_mul_even(v_int_odd_to_even(x), m);
    *low = v_int_blend_odd(even, v_int_even_to_odd(odd));
    return v_int_blend_odd(v_int_odd_to_even(even), odd);
}

/* Philox4x32-10 on V_LANES counters at once; see lib/base/philox.c. */
static void philox_vector(const struct fp4_random *r, uint32_t first, float *u) {
    veci c0 = v_int_add(v_int_set((int)first), v_int_iota()), c1 = v_int_set((int)r->step), c2 = v_int_set((int)r->layer),
         c3 = v_int_set((int)r->operand);
    uint32_t k0 = r->seed, k1 = r->stream;
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        veci low0, low1, high0 = mul_high_low(c0, 0xD2511F53u, &low0), high1 = mul_high_low(c2, 0xCD9E8D57u, &low1);
        c0 = v_int_xor(v_int_xor(high1, c1), v_int_set((int)k0));
        c2 = v_int_xor(v_int_xor(high0, c3), v_int_set((int)k1));
        c1 = low1;
        c3 = low0;
    }
    v_store4(u, v_uniform(c0), v_uniform(c1), v_uniform(c2), v_uniform(c3));
}

static void uniform(const struct fp4_random *r, uint64_t first, size_t n, float *u) {
    for (size_t i = 0, taken; i < n; i += taken) {
        size_t skipped = (first + i) % 4, left = n - i;
        taken = 4 * V_LANES - skipped;
        if (skipped == 0 && left >= taken) {
            philox_vector(r, (uint32_t)((first + i) / 4), u + i);
        } else {
            float words[4 * V_LANES];
            taken = left < taken ? left : taken;
            philox_vector(r, (uint32_t)((first + i) / 4), words);
            memcpy(u + i, words + skipped, taken * sizeof *u);
        }
    }
}

const struct fp4_cpu_kernels QUANTIZE_TABLE = {
    .amax_bits = amax_bits,
    .block_max = block_max,
    .te_scales = te_scales,
    .e2m1 = e2m1,
    .e2m1_quotient = e2m1_quotient,
    .six_four = six_four,
    .block_error = block_error,
    .tta = tta,
    .table = table,
    .bf16 = bf16,
    .int4 = int4,
    .hadamard = hadamard,
    .uniform = uniform,
};
