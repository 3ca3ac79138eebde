/* Reference tensors with their measured deviations. */
#include "tests/vectors.h"

#include "tests/support.h"

#include <math.h>
#include <string.h>

void vectors_open(struct vectors *v, const char *folder, const char *file) {
    char path[768];
    json_error_t error;
    memset(v, 0, sizeof *v);
    snprintf(v->folder, sizeof v->folder, "%s", folder);
    snprintf(v->name, sizeof v->name, "%.*s", (int)strcspn(file, "."), file);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    must(fp4_checkpoint_open(path, &v->file));
    snprintf(path, sizeof path, "%s/deviations.json", folder);
    v->root = json_load_file(path, 0, &error);
    cr_assert_not_null(v->root, "%s: %s", path, error.text);
    v->deviations = json_object_get(v->root, v->name);
    cr_assert_not_null(v->deviations, "%s: no entry %s", path, v->name);
}

void vectors_close(struct vectors *v) {
    fp4_checkpoint_close(v->file);
    json_decref(v->root);
}

bool vectors_has(const struct vectors *v, const char *name) { return fp4_checkpoint_find(v->file, name) != NULL; }

const struct fp4_stored *vectors_stored(const struct vectors *v, const char *name) {
    const struct fp4_stored *t = fp4_checkpoint_find(v->file, name);
    cr_assert_not_null(t, "%s: no tensor %s", v->folder, name);
    return t;
}

double *vectors_read(const struct vectors *v, const char *name, size_t *n) {
    const struct fp4_stored *t = vectors_stored(v, name);
    double *out;
    must(FP4_NEW(out, t->elements));
    for (size_t i = 0; i < t->elements; i++) {
        float f;
        int64_t whole;
        if (t->dtype == FP4_F64) {
            memcpy(&out[i], t->data + 8 * i, 8);
        } else if (t->dtype == FP4_F32) {
            memcpy(&f, t->data + 4 * i, 4);
            out[i] = (double)f;
        } else if (t->dtype == FP4_I64) {
            memcpy(&whole, t->data + 8 * i, 8);
            out[i] = (double)whole;
        } else {
            cr_assert_eq(t->dtype, FP4_U8, "%s: type %s", name, fp4_dtype_name(t->dtype));
            out[i] = (double)t->data[i];
        }
    }
    if (n)
        *n = t->elements;
    return out;
}

int32_t *vectors_read_ids(const struct vectors *v, const char *name, size_t *n) {
    size_t count;
    int32_t *out;
    double *x = vectors_read(v, name, &count);
    must(FP4_NEW(out, count));
    for (size_t i = 0; i < count; i++)
        out[i] = (int32_t)x[i];
    fp4_free(x);
    if (n)
        *n = count;
    return out;
}

static double field(const struct vectors *v, const char *name, const char *key) {
    json_t *entry = json_object_get(v->deviations, name);
    cr_assert_not_null(entry, "%s/deviations.json: no entry %s", v->folder, name);
    return json_number_value(json_object_get(entry, key));
}
double vectors_deviation(const struct vectors *v, const char *name) { return field(v, name, "max_dev"); }
double vectors_magnitude(const struct vectors *v, const char *name) { return field(v, name, "max_ref"); }

void vectors_compare(struct vectors *v, const char *name, const double *x, size_t n, double factor) {
    size_t count;
    double *reference = vectors_read(v, name, &count);
    double bound = factor * vectors_deviation(v, name) + 0x1p-22 * vectors_magnitude(v, name);
    cr_assert_eq(count, n, "%s %s: %zu elements, %zu computed", v->folder, name, count, n);
    v->last = 0;
    for (size_t i = 0; i < n; i++) {
        v->last = fmax(v->last, fabs(x[i] - reference[i]));
        cr_assert(fabs(x[i] - reference[i]) <= bound, "%s %s[%zu]: %.17g, reference %.17g, bound %.3g", v->folder, name, i, x[i], reference[i],
                  bound);
    }
    fp4_free(reference);
    v->used++;
}

void vectors_compare_f32(struct vectors *v, const char *name, const float *x, size_t n, double factor) {
    double *wide;
    must(FP4_NEW(wide, n));
    for (size_t i = 0; i < n; i++)
        wide[i] = (double)x[i];
    vectors_compare(v, name, wide, n, factor);
    fp4_free(wide);
}
