/* Looking up trials, and labels. */
#include "stats/facts_data.h"

#include <math.h>
#include <string.h>

json_t *trial_node(json_t *trial, const char *path) {
    for (const char *p = path; trial && *p;) {
        size_t n = strcspn(p, ".");
        trial = json_object_getn(trial, p, n);
        p += n + (p[n] == '.');
    }
    return trial;
}

const char *trial_text(json_t *trial, const char *path) {
    const char *s = json_string_value(trial_node(trial, path));
    return s ? s : "";
}

double trial_number(json_t *trial, const char *path) {
    json_t *v = trial_node(trial, path);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

int64_t trial_count(struct facts *f, json_t *trial, const char *path, int64_t most) {
    json_t *v = trial_node(trial, path);
    if (!v)
        return 0;
    if (json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= most)
        return json_integer_value(v);
    facts_broken(f, fp4_fail(FP4_ERR_FORMAT, "%s: trial %.12s…: %s is no count from 0 to %lld", results_origin(f->results, trial),
                             trial_text(trial, "key"), path, (long long)most));
    return 0;
}

static bool matches(json_t *trial, const char *field, const char *wanted) {
    return !wanted || strcmp(trial_text(trial, field), wanted) == 0;
}

json_t *trial_next(const struct results *r, const struct trial_query *q, size_t *at) {
    for (; *at < json_array_size(r->trials); ++*at) {
        json_t *t = json_array_get(r->trials, *at);
        if (matches(t, "experiment", q->experiment) && matches(t, "model", q->model) && matches(t, "arm", q->arm) &&
            matches(t, "item", q->item) && (q->seed < 0 || trial_number(t, "seed") == q->seed) &&
            (q->replicate < 0 || trial_number(t, "replicate") == q->replicate)) {
            ++*at;
            return t;
        }
    }
    return NULL;
}

static bool listed(const char *const *values, size_t n, const char *value) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(values[i], value) == 0)
            return true;
    return false;
}

size_t trial_values(const struct results *r, const char *experiment, const char *model, const char *field, const char *const *order,
                    const char **values, size_t most) {
    const char *found[MAX_ARMS];
    size_t n_found = 0, n = 0, at = 0;
    struct trial_query q = {experiment, model, NULL, NULL, -1, -1};
    for (json_t *t; (t = trial_next(r, &q, &at));) {
        const char *v = trial_text(t, field);
        if (n_found < MAX_ARMS && !listed(found, n_found, v))
            found[n_found++] = v;
    }
    for (size_t i = 0; order && order[i]; i++)
        if (listed(found, n_found, order[i]) && n < most)
            values[n++] = order[i];
    for (size_t i = 0; i < n_found; i++)
        if (!listed(values, n, found[i]) && n < most)
            values[n++] = found[i];
    return n;
}

size_t trial_arms(const struct results *r, const char *experiment, const char *model, const struct arm_label *list, const char *arms[MAX_ARMS]) {
    const char *order[MAX_ARMS + 1];
    size_t n = 0;
    while (list[n].arm && n < MAX_ARMS) {
        order[n] = list[n].arm;
        n++;
    }
    order[n] = NULL;
    return trial_values(r, experiment, model, "arm", order, arms, MAX_ARMS);
}

size_t trial_models(const struct results *r, const char *experiment, const char **models, size_t most) {
    static const char *const order[] = {"smollm2", "selftrained", NULL};
    return trial_values(r, experiment, NULL, "model", order, models, most);
}

const char *model_label(const char *model) {
    if (!strcmp(model, "smollm2"))
        return "SmolLM2-135M-Instruct";
    if (!strcmp(model, "selftrained"))
        return "the self-trained model";
    return model;
}

bool arm_known(const struct arm_label *list, const char *arm) {
    while (list->arm && strcmp(list->arm, arm) != 0)
        list++;
    return list->arm;
}

const char *arm_label(const struct arm_label *list, const char *arm) {
    for (; list->arm; list++)
        if (!strcmp(list->arm, arm))
            return list->label;
    return arm;
}

int arm_series(const struct arm_label *list, const char *arm) {
    for (; list->arm; list++)
        if (!strcmp(list->arm, arm))
            return list->series;
    return 8;
}

const char *slot_name(char *buffer, const char *name, size_t slot) {
    return slot ? facts_key(buffer, "%s_%zu", name, slot + 1) : facts_key(buffer, "%s", name);
}

void holm_of_finite(struct facts *f, size_t n, const double *p, double *adjusted) {
    double tested[MAX_ARMS], holm[MAX_ARMS];
    size_t n_tested = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(p[i]))
            tested[n_tested++] = p[i];
    facts_broken(f, n_tested ? fp4_holm(n_tested, tested, holm) : FP4_OK);
    for (size_t i = n; i-- > 0;)
        adjusted[i] = isfinite(p[i]) && f->status == FP4_OK ? holm[--n_tested] : NAN;
}

struct fact fact_mean(const double *x, size_t n, enum fact_style style, const char *method) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    struct fp4_t_test t;
    if (n >= 2 && fp4_t_paired(n, x, NULL, 0.95, &t) == FP4_OK)
        return fact_interval(t.difference, t.ci.lower, t.ci.upper, n, style, method);
    struct fact v = fact_point(n ? sum / (double)n : NAN, style);
    v.n = n;
    return v;
}

struct fact fact_mean_within(const double *x, size_t n, double least, double most, enum fact_style style, const char *method) {
    struct fact v = fact_mean(x, n, style, method);
    if (isfinite(v.low)) {
        v.low = fmax(v.low, least);
        v.high = fmin(v.high, most);
    }
    return v;
}
