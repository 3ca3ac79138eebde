/* Speed: Google Benchmark's JSON (bench/), beside the ceilings that the same run measured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats/facts_data.h"

enum { MAX_BENCH = 512 };

struct measured {
    char name[FACT_KEY]; /* without "/real_time" */
    const char *of;      /* "elements", "tokens", ...: what `items` counts a second */
    double seconds, bytes, flops, items; /* rates a second; NAN: none */
};

/* A median of repetitions, or the one run where there was one. */
static bool take(json_t *b, struct measured *m) {
    const char *name = trial_text(b, "run_name"), *unit = trial_text(b, "time_unit"), *key;
    const char *aggregate = trial_text(b, "aggregate_name");
    bool single = !strcmp(trial_text(b, "run_type"), "iteration") && !(trial_number(b, "repetitions") > 1);
    json_t *value;
    if ((strcmp(aggregate, "median") != 0 && !single) || json_is_true(json_object_get(b, "error_occurred")))
        return false;
    snprintf(m->name, sizeof m->name, "%.*s", FACT_KEY - 1, name);
    char *tail = strstr(m->name, "/real_time");
    if (tail)
        *tail = '\0';
    double scale = !strcmp(unit, "ns") ? 1e-9 : !strcmp(unit, "us") ? 1e-6 : !strcmp(unit, "ms") ? 1e-3 : 1;
    m->seconds = trial_number(b, "real_time") * scale;
    m->bytes = trial_number(b, "bytes_per_second");
    m->flops = trial_number(b, "flops_per_second");
    m->items = NAN;
    m->of = "";
    json_object_foreach(b, key, value) {
        size_t n = strlen(key);
        if (n > 11 && !strcmp(key + n - 11, "_per_second") && strcmp(key, "bytes_per_second") != 0 && strcmp(key, "flops_per_second") != 0) {
            m->items = json_number_value(value);
            m->of = key;
        }
    }
    return isfinite(m->seconds) && m->name[0];
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct measured *)a)->name, ((const struct measured *)b)->name);
}

static int threads_of(const char *name) {
    const char *t = strstr(name, "threads:");
    return t ? atoi(t + 8) : 1;
}

/* The ceiling of the same number of threads: what a copy, or fused multiply-adds, reach. */
static double ceiling(const struct measured *all, size_t n, const char *what, int threads) {
    char name[FACT_KEY];
    facts_key(name, "ceiling/%s/threads:%d", what, threads);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(all[i].name, name))
            return what[0] == 'c' ? all[i].bytes : all[i].flops;
    return NAN;
}

static void rate_cell(struct facts *f, double rate, double scale, const char *unit, double top) {
    struct fact v = fact_point(rate * scale, FACT_PLAIN), share = fact_point(rate / top, FACT_PERCENT);
    char text[FACT_TEXT], of[FACT_TEXT], interval[FACT_TEXT];
    fact_text(&v, text, interval);
    fact_text(&share, of, interval);
    if (!isfinite(rate))
        table_cell(f, "\xe2\x80\x93");
    else if (isfinite(top) && top != rate)
        table_cell(f, "%s %s (%s of the ceiling)", text, unit, of);
    else
        table_cell(f, "%s %s", text, unit);
}

static bool is_format(const char *name) {
    return strstr(name, "quantize/") || !strncmp(name, "hadamard/", 9);
}

static void speed_table(struct facts *f, const char *name, const struct measured *all, size_t n, bool formats) {
    table_begin(f, name, "<what|>time of one run|>memory|>arithmetic|>rate");
    for (size_t i = 0; i < n; i++) {
        const struct measured *m = &all[i];
        if (is_format(m->name) != formats)
            continue;
        char of[FACT_KEY];
        struct fact ms = fact_point(m->seconds * 1e3, FACT_PLAIN);
        char text[FACT_TEXT], interval[FACT_TEXT];
        fact_text(&ms, text, interval);
        table_cell(f, "%s", m->name);
        table_cell(f, "%s ms", text);
        rate_cell(f, m->bytes, 1e-9, "GB/s", ceiling(all, n, "copy", threads_of(m->name)));
        rate_cell(f, m->flops, 1e-9, "GFLOP/s", ceiling(all, n, "fma", threads_of(m->name)));
        snprintf(of, sizeof of, "%.*s a second", (int)(strlen(m->of) - (*m->of ? 11 : 0)), m->of);
        for (char *c = of; *c; c++)
            *c = *c == '_' ? ' ' : *c;
        double scale = m->items >= 1e6 ? 1e-6 : 1;
        snprintf(text, sizeof text, "%s%.60s", scale < 1 ? "million " : "", of);
        rate_cell(f, m->items, scale, text, NAN);
        table_row(f);
    }
    table_end(f);
}

/* Elements a second on one thread, by format and rung. */
static void speed_figure(struct facts *f, const struct measured *all, size_t n) {
    static const char *const rungs[] = {"ref", "avx2", "avx512"};
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += is_format(all[i].name) && strstr(all[i].name, "/ref/threads:1");
    if (!rows) {
        figure_missing(f, "speed", "the benchmark file holds no quantizers");
        return;
    }
    figure_begin(f, "speed", "what\tref\tavx2\tavx512");
    for (size_t i = 0; i < n; i++) {
        const char *end = strstr(all[i].name, "/ref/threads:1");
        if (!end || !is_format(all[i].name))
            continue;
        double rate[3] = {NAN, NAN, NAN};
        char name[FACT_KEY];
        for (int r = 0; r < 3; r++) {
            facts_key(name, "%.*s/%s/threads:1", (int)(end - all[i].name), all[i].name, rungs[r]);
            for (size_t j = 0; j < n; j++)
                if (!strcmp(all[j].name, name))
                    rate[r] = all[j].items * 1e-6;
        }
        char label[FACT_KEY];
        snprintf(label, sizeof label, "%.*s", (int)(end - all[i].name), all[i].name);
        for (char *c = label; *c; c++)
            *c = *c == '_' ? ' ' : *c;
        figure_row(f, "%s\t%.6g\t%.6g\t%.6g", label, rate[0], rate[1], rate[2]);
    }
    figure_end(f);
}

void facts_speed(struct facts *f) {
    static struct measured all[MAX_BENCH];
    json_t *b;
    size_t i, n = 0;
    json_array_foreach(json_object_get(f->bench, "benchmarks"), i, b) n += n < MAX_BENCH && take(b, &all[n]);
    qsort(all, n, sizeof *all, by_name);
    facts_flag(f, "has.speed", n > 0);
    if (n) {
        speed_table(f, "speed", all, n, false);
        speed_table(f, "speed_formats", all, n, true);
        speed_figure(f, all, n);
    } else {
        static const char why[] = "speed was not measured for these results";
        table_missing(f, "speed", why);
        table_missing(f, "speed_formats", why);
        figure_missing(f, "speed", why);
    }
    char machine[512];
    json_t *c = json_object_get(f->bench, "context");
    snprintf(machine, sizeof machine, "%s, %s cores, BLAS core %s, compiler %s", trial_text(c, "cpu"), trial_text(c, "cores"),
             trial_text(c, "blas_core"), trial_text(c, "compiler"));
    facts_word(f, "speed.machine", n ? machine : "no machine");
}
