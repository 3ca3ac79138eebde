/* stats/facts.h: from results to the facts of the report: every number with its text, n, interval and method; claims with their verdict;
 * Markdown tables; the data of the figures. Formatting (digits, units, signs, intervals) happens here and nowhere else.
 *
 * A builder keeps its first failure and does nothing after it, so that a chain of calls is checked once, in
 * facts_write(). Keys are words joined by points ("tta.base.sequence"). Everything is written in an order that the results' content gives, without dates
 * and paths: equal results give equal bytes. */
#ifndef FP4LAB_STATS_FACTS_H
#define FP4LAB_STATS_FACTS_H

#include <jansson.h>

#include "fp4lab/base.h"
#include "stats/results.h"

/* How a number is written. */
enum fact_style {
    FACT_PERCENT, /* a share: 0.401 → 40.1 % */
    FACT_POINTS,  /* a difference of shares: +12.6 points */
    FACT_CHANGE,  /* a relative change: 0.012 → +1.2 % */
    FACT_LOSS,    /* nats */
    FACT_DELTA,   /* a signed difference of nats */
    FACT_PPL,
    FACT_RATIO,
    FACT_FACTOR,  /* a design effect: one decimal */
    FACT_NOISE,   /* a small share: two significant digits, in per cent */
    FACT_SMALL,   /* four significant digits, a power of ten when tiny */
    FACT_P,       /* p-value */
    FACT_COUNT,
    FACT_BYTES,   /* MB = 10^6 bytes */
    FACT_SECONDS,
    FACT_PLAIN    /* up to four significant digits */
};

struct fact {
    double value;
    double low, high;   /* NAN: no interval */
    size_t n;           /* 0: not stated */
    enum fact_style style;
    const char *method; /* of the interval or the test; NULL: none */
};

/* A number without, and with, an interval. */
struct fact fact_point(double value, enum fact_style style);
struct fact fact_interval(double value, double low, double high, size_t n, enum fact_style style, const char *method);

/* The text of a number and of its interval ("[25.3, 29.9]", empty without one). The digits follow the width of the interval: two significant ones of
 * its half. text and interval hold FACT_TEXT bytes. */
enum { FACT_TEXT = 96, FACT_KEY = 128 }; /* bytes of a text, of a key */
void fact_text(const struct fact *v, char *text, char *interval);
/* The same of a style with signs, for "higher by" and "lower by": the value (negated when `less`) and its interval in one text, without a plus. */
void fact_size(const struct fact *v, bool less, char *text);
bool fact_is_signed(enum fact_style style);

struct facts {
    const struct results *results;
    json_t *published; /* stats/published.json */
    json_t *bench;     /* Google Benchmark's JSON, or NULL */
    json_t *root;      /* facts.json as it grows */
    json_t *files;     /* name → text of the .md and .tsv files */
    json_t *used;      /* published paths that stand in a table */
    fp4_status status; /* the first failure, and what it said */
    char why[1024];
    /* the table being built */
    char table[FACT_KEY];
    json_t *lines;
    char *line;
    size_t line_size;
};

/* results are borrowed, published and bench stolen (bench may be NULL). */
fp4_status facts_begin(struct facts *f, const struct results *results, json_t *published, json_t *bench);
void facts_free(struct facts *f);
/* Fails when a published number stands in no table; else writes facts.json, NAME.md and NAME.tsv into the folder. */
fp4_status facts_write(struct facts *f, const char *folder);
/* Notes the first failure of a chain, with fp4_last_error(); FP4_OK is none. */
void facts_broken(struct facts *f, fp4_status status);
/* All sections below. */
void facts_all(struct facts *f);

void facts_inputs(struct facts *f); /* inputs, machine, digest */
void facts_tta(struct facts *f);
void facts_ptq(struct facts *f);
void facts_train(struct facts *f);
void facts_speed(struct facts *f);

/* ---- numbers, words, flags ---- */

/* `in`: "table:NAME", "claim:NAME" or "figure:NAME", which counts as used when the report includes that; NULL: the prose must use it. */
void facts_number(struct facts *f, const char *key, const char *in, const struct fact *v);
/* printf for keys: facts_key(buffer, "tta.%s.deff", arm). Returns the buffer of FACT_KEY bytes. */
const char *facts_key(char *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void facts_word(struct facts *f, const char *key, const char *text);
/* A number that was not measured: reads "not available" in prose, and false in {{#if}}. */
void facts_absent(struct facts *f, const char *key, const char *in, const char *why);
void facts_flag(struct facts *f, const char *key, bool value);

/* Text that came with the results, as it may stand in Markdown: what that or HTML would read as markup is escaped, so is what cannot be printed; cut at
 * the end of out. Tables and words go through it. */
void facts_escape(const char *text, char *out, size_t size);

/* ---- claims ---- */

enum verdict { VERDICT_SUPPORTED, VERDICT_REFUTED, VERDICT_INCONCLUSIVE, VERDICT_MISSING };
const char *verdict_name(enum verdict v);
/* A claim that something is positive: supported (refuted) when p < alpha and the estimate is positive (negative). */
enum verdict verdict_positive(double estimate, double p, double alpha);
/* A claim that something is zero within ±margin: supported when tost_p < alpha (or, without
 * any spread, so without a p, when the value lies within); refuted when the interval lies outside the margins. */
enum verdict verdict_equivalent(double low, double high, double margin, double tost_p, double alpha);
/* `test` says in words what was tested. The claim's numbers are facts_number(…, "claim:KEY", …). */
void facts_claim(struct facts *f, const char *key, enum verdict v, const char *test);

/* ---- tables ---- */

/* columns: names separated by '|', each may begin with '<' (left, default) or '>' (right). */
void table_begin(struct facts *f, const char *name, const char *columns);
void table_cell(struct facts *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A cell that is a number with its interval, recorded under the key. */
void table_fact(struct facts *f, const char *key, const struct fact *v);
/* A published value, verbatim, by its path in published.json ("tta.base.readme"). */
void table_published(struct facts *f, const char *path);
/* "not run: why" */
void table_not_run(struct facts *f, const char *why);
void table_row(struct facts *f);
void table_end(struct facts *f);
/* Instead of a table: the report gives the reason. */
void table_missing(struct facts *f, const char *name, const char *why);

/* ---- figures ---- */

/* NAME.tsv; plots/NAME.gp draws it (the part of the name before '-' names the script). */
void figure_begin(struct facts *f, const char *name, const char *columns);
void figure_row(struct facts *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
void figure_end(struct facts *f);
void figure_missing(struct facts *f, const char *name, const char *why);

/* ---- published.json ---- */

/* A published text by its path; marks it used. A path that is not there fails the builder and gives "". */
const char *published_text(struct facts *f, const char *path);
double published_number(struct facts *f, const char *path);
json_t *published_node(struct facts *f, const char *path); /* borrowed; does not mark */

/* ---- rendering (facts_render.c) ---- */

/* REPORT.md.in with the facts of `folder` → Markdown for Pandoc. Every fault is added to *faults as a line "file:line: fault"; FP4_ERR_FORMAT when
 * there is one. *text and *faults are malloc'ed. The rules stand at the top of REPORT.md.in. */
fp4_status facts_render(const char *template_path, const char *folder, char **text, char **faults);

#endif
