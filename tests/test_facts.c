/* Facts, claims, the template's rules and the rendered report, on made-up results (tests/results_fixture.c). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "stats/facts_data.h"
#include "tests/folders.h"
#include "tests/program.h"
#include "tests/results_fixture.h"
#include "tests/support.h"

static const char *const KINDS[] = {"whole", "smoke", "empty"};

static char scratch[FOLDER_MAX];

static void make_scratch(void) { folder_make(scratch); }

/* Facts of a made-up results folder, in scratch/facts-KIND; returns facts.json. */
static json_t *facts_of(enum fixture kind) {
    struct results r;
    struct facts f;
    char folder[600];
    snprintf(folder, sizeof folder, "%s", folder_file(scratch, KINDS[kind]));
    const char *paths[] = {folder};
    must(fixture_write(folder, kind));
    must(results_load(paths, 1, &r));
    json_t *published = json_load_file("stats/published.json", 0, NULL);
    cr_assert_not_null(published);
    must(facts_begin(&f, &r, published, NULL));
    facts_all(&f);
    char name[64];
    snprintf(name, sizeof name, "facts-%s", KINDS[kind]);
    must(facts_write(&f, folder_file(scratch, name)));
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
Test(facts, words_from_results_are_no_markup) {
    struct results none = {.trials = json_array(), .manifests = json_array()};
    struct facts f;
    must(facts_begin(&f, &none, json_object(), NULL));
    facts_word(&f, "model", "<script>\n|\x1b\xe2\x80\xae");
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(f.root, "words"), "model")), "\\<script\\> \\| \\\\u202e");
    figure_begin(&f, "lines", "what\thow many");
    figure_row(&f, "%s\t%d", "a\x1b]0;b\x7f\xe2\x80\xae", 1);
    figure_end(&f);
    cr_assert_str_eq(json_string_value(json_object_get(f.files, "lines.tsv")), "what\thow many\na\\x1b]0;b\\x7f\\u202e\t1\n");
    facts_free(&f);
    results_free(&none);
}

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
}

Test(facts, numbers_are_those_computed_by_hand, .init = make_scratch) {
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
    cr_assert_str_eq(text, "<\xc2\xa0" "0.0001");
}

Test(facts, verdicts) {
    cr_assert_eq(verdict_positive(0.1, 0.01, 0.05), VERDICT_SUPPORTED);
    cr_assert_eq(verdict_positive(-0.1, 0.01, 0.05), VERDICT_REFUTED);
    cr_assert_eq(verdict_positive(0.1, 0.05, 0.05), VERDICT_INCONCLUSIVE);
    cr_assert_eq(verdict_positive(NAN, 0.01, 0.05), VERDICT_MISSING);
    cr_assert_eq(verdict_equivalent(-0.01, 0.02, 0.05, 0.001, 0.05), VERDICT_SUPPORTED);
    cr_assert_eq(verdict_equivalent(0.06, 0.12, 0.05, 0.9, 0.05), VERDICT_REFUTED);
    cr_assert_eq(verdict_equivalent(0.02, 0.12, 0.05, 0.9, 0.05), VERDICT_INCONCLUSIVE);
    cr_assert_eq(verdict_equivalent(0.01, 0.01, 0.05, NAN, 0.05), VERDICT_SUPPORTED);
    cr_assert_eq(verdict_equivalent(0.06, 0.06, 0.05, NAN, 0.05), VERDICT_REFUTED);
    cr_assert_eq(verdict_equivalent(NAN, NAN, 0.05, NAN, 0.05), VERDICT_MISSING);
}

/* ---- the template's rules ---- */

/* Renders a template of these lines with facts of one number, word, flag, claim, table and figure; returns the faults. */
static char *faults_of(const char *lines, char **text) {
    static const char facts[] = "{\"numbers\":{\"a.b\":{\"text\":\"40.1 %\",\"interval\":\"[37.7, 42.6]\",\"n\":1500,\"value\":0.401},"
                                "\"gone\":{\"text\":\"not run\",\"why\":\"w\"},\"cell\":{\"text\":\"7\",\"value\":7,\"in\":\"table:t\"}},"
                                "\"words\":{\"w\":\"word\"},\"flags\":{\"no\":false},\"claims\":{\"c\":{\"verdict\":\"refuted\"}},"
                                "\"tables\":{\"t\":{\"file\":\"t.md\"},\"u\":{\"why\":\"nothing ran\"}},\"figures\":{\"f\":{\"file\":\"f.tsv\"}}}";
    char *faults, *rendered;
    must(fp4_write_file(folder_file(scratch, "facts.json"), facts, strlen(facts)));
    must(fp4_write_file(folder_file(scratch, "t.md"), "| x |\n", 6));
    must(fp4_write_file(folder_file(scratch, "in"), lines, strlen(lines)));
    fp4_status s = facts_render(folder_file(scratch, "in"), scratch, &rendered, &faults);
    cr_assert_not_null(faults);
    cr_assert_eq(s == FP4_OK, *faults == '\0', "%s", faults);
    if (text)
        *text = rendered;
    else
        free(rendered);
    return faults;
}

/* A template without faults, to which tests add a line. */
#define ALL                                                                                                              \
    "{{a.b:ci}} {{gone}} {{w}} NVFP4 {{= 0.05}} `0.5`\n{{#if no}}\nhidden\n{{#else}}\nseen\n{{/if}}\n"                     \
    "{{#claim c}}\n{{#supported}}\nyes\n{{#refuted}}\nrefuted, n = {{a.b:n}}\n{{#inconclusive}}\nperhaps\n{{#missing}}\nno\n{{/claim}}\n" \
    "{{table:t}}\n{{table:u}}\n{{figure:f}} A caption\n"

static void expect_fault(const char *lines, const char *wanted) {
    char *faults = faults_of(lines, NULL);
    cr_assert_not_null(strstr(faults, wanted), "wanted '%s', got '%s'", wanted, faults);
    free(faults);
}

Test(render, puts_facts_in, .init = make_scratch) {
    char *text, *faults = faults_of(ALL, &text);
    cr_assert_str_eq(faults, "");
    cr_assert_str_eq(text, "40.1 % [37.7, 42.6] not run word NVFP4 0.05 `0.5`\nseen\nrefuted, n = 1500\n| x |\n*No table: nothing ran.*\n"
                           "![A caption](figures/f.svg)\n");
    free(text);
    free(faults);
}

Test(render, names_file_and_line_of_each_fault, .init = make_scratch) {
    expect_fault(ALL "{{a.c}}\n", "/in:20: no fact has the key 'a.c'");
    expect_fault(ALL "{{#if no}}\n{{a.c}}\n{{/if}}\n", "/in:21: no fact has the key 'a.c'");
    expect_fault(ALL "success is 40.1 per cent\n", "/in:20: a number is typed in: '40'");
    expect_fault(ALL "success is 40.1 per cent\n", "a number is typed in: '1'");
    expect_fault(ALL "{{#if no}}\n0.5\n{{/if}}\n", "/in:21: a number is typed in");
    expect_fault(ALL "| a | 3e-4 |\n", "a number is typed in: '3e'");
    expect_fault(ALL "{{figure:f}} Caption with 7\n", "/in:20: a number is typed in: '7'");
    expect_fault(ALL "{{table:x}}\n", "/in:20: no table 'x'");
    expect_fault(ALL "{{a.b:zz}}\n", "no part 'zz'");
    expect_fault(ALL "{{#if no}}\n", "the block 'no' of line 20 is never closed");
    expect_fault(ALL "{{/claim}}\n", "closes nothing");
    expect_fault(ALL "{{#claim c}}\n{{#supported}}\nx\n{{/claim}}\n", "claim 'c' has no words for 'refuted'");
    expect_fault(ALL "{{w\n", "'{{' without '}}'");
}

Test(render, every_fact_must_be_used, .init = make_scratch) {
    expect_fault("{{a.b}} {{gone}} {{w}}\n", "does not use 't' (tables)");
    expect_fault("{{a.b}} {{gone}} {{w}}\n", "does not use 'cell' (numbers)");
    expect_fault("{{a.b}} {{gone}} {{w}}\n", "does not use 'c' (claims)");
    expect_fault("{{a.b}} {{gone}} {{w}}\n", "does not use 'no' (flags)");
    expect_fault("{{gone}} {{w}}\n", "does not use 'a.b' (numbers)");
    expect_fault("{{a.b}} {{gone}}\n", "does not use 'w' (words)");
}

Test(render, names_may_have_digits, .init = make_scratch) {
    char *faults = faults_of(ALL "NVFP4 W4A4 E2M1 Q4_1 SmolLM2-135M-Instruct [a](http://x/2024.1) `3.5`\n```\n4.2 {{w}}\n```\n<!-- 17 -->\n", NULL);
    cr_assert_str_eq(faults, "");
    free(faults);
}

/* ---- the report's own template on whole, small and empty results ---- */

static char *report_of(enum fixture kind) {
    char name[64], *text, *faults;
    json_decref(facts_of(kind));
    snprintf(name, sizeof name, "facts-%s", KINDS[kind]);
    fp4_status s = facts_render("REPORT.md.in", folder_file(scratch, name), &text, &faults);
    cr_assert_eq(s, FP4_OK, "%s: %s", KINDS[kind], faults);
    free(faults);
    return text;
}

Test(report, renders_whatever_was_run, .init = make_scratch) {
    for (int kind = 0; kind < 3; kind++) {
        char *text = report_of((enum fixture)kind);
        cr_assert_not_null(strstr(text, "27.5 % (413/1500)"), "%s", KINDS[kind]);
        cr_assert_null(strstr(text, "{{"));
        cr_assert_null(strstr(text, "| |"), "a blank cell: %s", KINDS[kind]);
        cr_assert_null(strstr(text, "|  |"), "a blank cell: %s", KINDS[kind]);
        cr_assert_null(strstr(text, " nan"), "%s", KINDS[kind]);
        cr_assert_null(strstr(text, "[nan"), "%s", KINDS[kind]);
        cr_assert_null(strstr(text, "/some/machine"));
        free(text);
    }
}

Test(report, equal_results_give_equal_bytes, .init = make_scratch) {
    char *first = report_of(FIXTURE_WHOLE), *second = report_of(FIXTURE_WHOLE);
    cr_assert_str_eq(first, second);
    free(first);
    free(second);
}

/* Every text of published.json stands in a table: leaving one out fails. */
Test(facts, a_published_number_without_a_table_fails, .init = make_scratch) {
    struct results r;
    struct facts f;
    const char *paths[] = {folder_file(scratch, "whole")};
    must(fixture_write(paths[0], FIXTURE_WHOLE));
    must(results_load(paths, 1, &r));
    json_t *published = json_load_file("stats/published.json", 0, NULL);
    json_object_set_new(published, "forgotten", json_string("5.47"));
    must(facts_begin(&f, &r, published, NULL));
    facts_all(&f);
    cr_assert_eq(facts_write(&f, folder_file(scratch, "facts")), FP4_ERR_FORMAT);
    cr_assert_not_null(strstr(fp4_last_error(), "'forgotten' stands in no table"));
    facts_free(&f);
    results_free(&r);
}

/* What is said is what broke first, not what then stood in no table. */
Test(facts, the_first_failure_is_told, .init = make_scratch) {
    struct results r;
    struct facts f;
    const char *paths[] = {folder_file(scratch, "empty")};
    must(fixture_write(paths[0], FIXTURE_EMPTY));
    must(results_load(paths, 1, &r));
    must(facts_begin(&f, &r, json_pack("{s:s}", "forgotten", "5.47"), NULL));
    facts_broken(&f, FP4_OK);
    facts_broken(&f, fp4_fail(FP4_ERR_NUMERIC, "the first"));
    facts_broken(&f, fp4_fail(FP4_ERR_ARG, "the second"));
    cr_assert_eq(facts_write(&f, folder_file(scratch, "facts")), FP4_ERR_NUMERIC);
    cr_assert_str_eq(fp4_last_error(), "the first");
    facts_free(&f);
    results_free(&r);
}

static int digest_of(size_t n, char **message) {
    char *argv[70] = {"facts", "--digest"};
    cr_assert_leq(n, 67);
    for (size_t i = 0; i < n; i++)
        argv[2 + i] = "/nowhere";
    struct outcome o = program_run(argv, scratch_file());
    *message = o.err;
    free(o.out);
    return o.status;
}

/* As many results as the program says that it takes, and one more. */
Test(facts, results_up_to_the_limit) {
    char *message;
    cr_assert_eq(digest_of(64, &message), 2);
    cr_assert_not_null(strstr(message, "/nowhere"), "%s", message);
    free(message);
    cr_assert_eq(digest_of(65, &message), 2);
    cr_assert_not_null(strstr(message, "at most 64"), "%s", message);
    free(message);
}

static const char *verdict(json_t *root, const char *claim) {
    json_t *c = json_object_get(json_object_get(root, "claims"), claim);
    cr_assert_not_null(c, "no claim '%s'", claim);
    return json_string_value(json_object_get(c, "verdict"));
}

/* Many documents, but one replicate: the noise is not known, so there is no verdict. An arm that was not run: missing. */
Test(facts, no_verdict_without_replicates, .init = make_scratch) {
    json_t *small = facts_of(FIXTURE_SMOKE), *whole = facts_of(FIXTURE_WHOLE);
    cr_assert_str_eq(verdict(small, "nvfp4_beats_mxfp4"), "inconclusive");
    cr_assert_str_eq(verdict(whole, "nvfp4_beats_mxfp4"), "supported");
    cr_assert_str_eq(verdict(small, "gptq_helps"), "missing");
    cr_assert_str_eq(verdict(small, "ste_beats_frozen"), "missing");
    cr_assert_str_eq(verdict(whole, "ste_beats_frozen"), "supported");
    json_decref(small);
    json_decref(whole);
}

/* The ratio of the made-up perplexities, by hand: with equal documents in all replicates it is exp of the mean difference of losses. */
Test(facts, ratio_of_perplexities, .init = make_scratch) {
    json_t *root = facts_of(FIXTURE_WHOLE);
    double unquantized = value(root, "ptq.unquantized.ppl", "value"), rtn = value(root, "ptq.rtn_nvfp4.ppl", "value");
    cr_assert_float_eq(value(root, "ptq.rtn_nvfp4.ratio", "value"), rtn / unquantized, 1e-9);
    double low = value(root, "ptq.rtn_nvfp4.ratio", "low"), high = value(root, "ptq.rtn_nvfp4.ratio", "high");
    cr_assert_lt(low, rtn / unquantized);
    cr_assert_gt(high, rtn / unquantized);
    cr_assert_float_eq(log(low) + log(high), 2 * log(rtn / unquantized), 1e-9); /* symmetric in the log */
    cr_assert_eq(value(root, "ptq.window", "value"), 2048);
    cr_assert_gt(value(root, "ptq.rtn_nvfp4.packed", "value"), 0);
    cr_assert_null(json_object_get(json_object_get(root, "numbers"), "ptq.unquantized.packed"), "what is not packed has no packed bytes");
    json_decref(root);
}
