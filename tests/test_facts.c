/* Facts, claims, the template's rules and the rendered report, on made-up results (tests/results_fixture.c). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stats/facts_data.h"
#include "tests/results_fixture.h"
#include "tests/support.h"

static const char *const KINDS[] = {"whole", "smoke", "empty"};

static char scratch[256];

static void make_scratch(void) {
    snprintf(scratch, sizeof scratch, "%s/fp4lab-facts-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    cr_assert_not_null(mkdtemp(scratch));
}

static void remove_scratch(void) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    cr_assert_eq(system(command), 0);
}

static const char *in_scratch(const char *name) {
    static char path[4][600];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", scratch, name);
    return path[at];
}

/* Facts of a made-up results folder, in scratch/facts-KIND; returns facts.json. */
static json_t *facts_of(enum fixture kind) {
    struct results r;
    struct facts f;
    char folder[600];
    snprintf(folder, sizeof folder, "%s", in_scratch(KINDS[kind]));
    const char *paths[] = {folder};
    must(fixture_write(folder, kind));
    must(results_load(paths, 1, &r));
    json_t *published = json_load_file("stats/published.json", 0, NULL);
    cr_assert_not_null(published);
    must(facts_begin(&f, &r, published, NULL));
    facts_all(&f);
    char name[64];
    snprintf(name, sizeof name, "facts-%s", KINDS[kind]);
    must(facts_write(&f, in_scratch(name)));
    json_t *root = json_incref(f.root);
    facts_free(&f);
    results_free(&r);
    return root;
}

static json_t *number(json_t *root, const char *key) {
    json_t *n = json_object_get(json_object_get(root, "numbers"), key);
    cr_assert_not_null(n, "no number '%s'", key);
    return n;
}

static double value(json_t *root, const char *key, const char *field) {
    return json_number_value(json_object_get(number(root, key), field));
}

/* For ci/lint-report: leaves the made-up results where FP4LAB_FIXTURES says. */
Test(fixtures, are_whole_results) {
    const char *folder = getenv("FP4LAB_FIXTURES");
    if (!folder)
        make_scratch();
    for (int kind = 0; kind < 3; kind++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", folder ? folder : scratch, KINDS[kind]);
        const char *paths[] = {path};
        struct results r;
        must(fixture_write(path, (enum fixture)kind));
        must(results_load(paths, 1, &r));
        cr_assert_eq(json_array_size(r.manifests), (size_t)3);
        cr_assert_eq(json_array_size(r.trials) > 0, kind != FIXTURE_EMPTY);
        results_free(&r);
    }
    if (!folder)
        remove_scratch();
}

Test(facts, numbers_are_those_computed_by_hand, .init = make_scratch, .fini = remove_scratch) {
    json_t *root = facts_of(FIXTURE_WHOLE);
    double sum = 0, gain = 0, squares = 0;
    for (int task = 1; task <= 15; task++) {
        sum += fixture_base(task) / 15;
        gain += fixture_gain(task) / 15;
    }
    for (int task = 1; task <= 15; task++)
        squares += pow(fixture_gain(task) - gain, 2);
    cr_assert_float_eq(value(root, "tta.base.sequence", "value"), sum, 1e-12);
    cr_assert_float_eq(value(root, "tta_beats_base.difference", "value"), gain, 1e-12);
    /* t(0.975; 14) = 2.144786687917804 (any table) */
    double half = 2.144786687917804 * sqrt(squares / 14 / 15);
    cr_assert_float_eq(value(root, "tta_beats_base.difference", "low"), gain - half, 1e-9);
    cr_assert_float_eq(value(root, "tta_beats_base.difference", "high"), gain + half, 1e-9);
    cr_assert_eq(value(root, "tta.base.pooled", "n"), 1500.0);
    json_decref(root);
}

Test(facts, text_follows_the_width_of_the_interval) {
    char text[FACT_TEXT], interval[FACT_TEXT];
    struct fact v = fact_interval(0.40133, 0.3769, 0.4263, 1500, FACT_PERCENT, "Wilson");
    fact_text(&v, text, interval);
    cr_assert_str_eq(text, "40.1\xc2\xa0%");
    cr_assert_str_eq(interval, "[37.7,\xc2\xa0" "42.6]");
    v = fact_interval(-0.00123456, -0.0013, -0.0011, 3, FACT_DELTA, NULL);
    fact_text(&v, text, interval);
    cr_assert_str_eq(text, "\xe2\x88\x92" "0.00123");
    v = fact_point(-0.00001, FACT_POINTS);
    fact_text(&v, text, interval);
    cr_assert_str_eq(text, "0.0\xc2\xa0points");
    cr_assert_str_eq(interval, "");
    v = fact_point(1234567, FACT_COUNT);
    fact_text(&v, text, interval);
    cr_assert_str_eq(text, "1,234,567");
    v = fact_point(1e-30, FACT_P);
    fact_text(&v, text, interval);
    cr_assert_str_eq(text, "< 0.0001");
}

Test(facts, verdicts) {
    cr_assert_eq(verdict_positive(0.1, 0.01, 0.05), VERDICT_SUPPORTED);
    cr_assert_eq(verdict_positive(-0.1, 0.01, 0.05), VERDICT_REFUTED);
    cr_assert_eq(verdict_positive(0.1, 0.05, 0.05), VERDICT_INCONCLUSIVE);
    cr_assert_eq(verdict_positive(NAN, 0.01, 0.05), VERDICT_MISSING);
    cr_assert_eq(verdict_equivalent(-0.01, 0.02, 0.05, 0.001, 0.05), VERDICT_SUPPORTED);
    cr_assert_eq(verdict_equivalent(0.06, 0.12, 0.05, 0.9, 0.05), VERDICT_REFUTED);
    cr_assert_eq(verdict_equivalent(0.02, 0.12, 0.05, 0.9, 0.05), VERDICT_INCONCLUSIVE);
    cr_assert_eq(verdict_equivalent(NAN, NAN, 0.05, NAN, 0.05), VERDICT_MISSING);
}
