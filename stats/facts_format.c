/* How numbers are written in the report: digits from the width of the interval, a true minus sign, units. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stats/facts.h"

struct fact fact_point(double value, enum fact_style style) {
    return (struct fact){.value = value, .low = NAN, .high = NAN, .style = style};
}

struct fact fact_interval(double value, double low, double high, size_t n, enum fact_style style, const char *method) {
    return (struct fact){value, low, high, n, style, method};
}

/* A value and its unit, and the two ends of an interval, are not torn apart at the end of a line. */
#define NBSP "\xc2\xa0"

struct layout {
    double scale;
    int least, most; /* decimals */
    int usual;       /* decimals without an interval; < 0: that many significant digits */
    bool sign;
    const char *unit;
};

static const struct layout LAYOUTS[] = {
    [FACT_PERCENT] = {100, 1, 2, 1, false, NBSP "%"},      [FACT_POINTS] = {100, 1, 2, 1, true, NBSP "points"},
    [FACT_CHANGE] = {100, 1, 3, 2, true, NBSP "%"},        [FACT_LOSS] = {1, 2, 4, 4, false, ""},
    [FACT_DELTA] = {1, 3, 5, 4, true, ""},             [FACT_PPL] = {1, 2, 3, 2, false, ""},
    [FACT_RATIO] = {1, 3, 5, 4, false, ""},            [FACT_FACTOR] = {1, 1, 2, 1, false, ""},
    [FACT_NOISE] = {100, 0, 8, -2, false, NBSP "%"},   [FACT_SMALL] = {1, 0, 8, -4, false, ""},
    [FACT_P] = {1, 0, 0, 0, false, ""},                [FACT_COUNT] = {1, 0, 0, 0, false, ""},
    [FACT_BYTES] = {1e-6, 0, 3, -3, false, NBSP "MB"},      [FACT_SECONDS] = {1, 0, 3, -3, false, NBSP "s"},
    [FACT_PLAIN] = {1, 0, 6, -4, false, ""},
};

/* A fixed number of decimals; U+2212 as the minus sign; no "−0". */
static void fixed(char *out, double v, int decimals, bool sign) {
    char digits[FACT_TEXT - 8];
    snprintf(digits, sizeof digits, "%.*f", decimals, fabs(v));
    bool zero = strspn(digits, "0.") == strlen(digits);
    snprintf(out, FACT_TEXT, "%s%s", zero ? "" : v < 0 ? "\xe2\x88\x92" : sign ? "+" : "", digits);
}

static int significant(double v, int digits) {
    if (v == 0 || !isfinite(v))
        return 0;
    int decimals = digits - 1 - (int)floor(log10(fabs(v)));
    return decimals < 0 ? 0 : decimals;
}

static void thousands(char *out, double v) {
    char digits[40];
    snprintf(digits, sizeof digits, "%.0f", fabs(v));
    size_t n = strlen(digits), at = 0;
    if (v < 0)
        at += (size_t)snprintf(out, FACT_TEXT, "\xe2\x88\x92");
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

static void small(char *out, double v, int digits) {
    int e = v == 0 ? 0 : (int)floor(log10(fabs(v)));
    if (e < -4 || e > 6)
        snprintf(out, FACT_TEXT, "%.*fe%d", digits - 1, v / pow(10, e), e);
    else
        fixed(out, v, significant(v, digits), false);
}

static void p_value(char *out, double p) {
    if (p < 0.0001)
        snprintf(out, FACT_TEXT, "<" NBSP "0.0001");
    else
        snprintf(out, FACT_TEXT, "%.*f", p < 0.1 ? 4 : 3, p);
}

static int decimals_of(const struct fact *v, const struct layout *l) {
    double half = (v->high - v->low) / 2 * l->scale;
    if (isfinite(half) && half > 0) {
        int d = significant(half, 2);
        return d < l->least ? l->least : d > l->most ? l->most : d;
    }
    if (v->style == FACT_RATIO && fabs(v->value) >= 10)
        return significant(v->value, 4);
    return l->usual >= 0 ? l->usual : significant(v->value * l->scale, -l->usual);
}

bool fact_is_signed(enum fact_style style) {
    return LAYOUTS[style].sign;
}

static void write_text(const struct fact *v, bool sign, char *text, char *interval) {
    const struct layout *l = &LAYOUTS[v->style];
    int d = decimals_of(v, l);
    if (v->style == FACT_SMALL)
        small(text, v->value, 4);
    else
        fixed(text, v->value * l->scale, d, sign);
    strncat(text, l->unit, FACT_TEXT - strlen(text) - 1);
    if (isfinite(v->low) && isfinite(v->high)) {
        char low[FACT_TEXT], high[FACT_TEXT];
        fixed(low, v->low * l->scale, d, sign);
        fixed(high, v->high * l->scale, d, sign);
        snprintf(interval, FACT_TEXT, "[%.40s," NBSP "%.40s]", low, high);
    }
}

void fact_text(const struct fact *v, char *text, char *interval) {
    interval[0] = '\0';
    if (!isfinite(v->value))
        snprintf(text, FACT_TEXT, "%s", v->value > 0 ? "infinite" : "not defined");
    else if (v->style == FACT_P)
        p_value(text, v->value);
    else if (v->style == FACT_COUNT)
        thousands(text, v->value);
    else
        write_text(v, LAYOUTS[v->style].sign, text, interval);
}

void fact_size(const struct fact *v, bool less, char *text) {
    struct fact u = *v;
    char interval[FACT_TEXT] = "";
    if (less) {
        u.value = -v->value;
        u.low = -v->high;
        u.high = -v->low;
    }
    write_text(&u, false, text, interval);
    if (interval[0]) {
        strncat(text, " ", FACT_TEXT - strlen(text) - 1);
        strncat(text, interval, FACT_TEXT - strlen(text) - 1);
    }
}
