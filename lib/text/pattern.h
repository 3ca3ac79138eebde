/* lib/text/pattern.h: patterns out of tokenizer files, with bounds on what they may cost. Internal. */
#ifndef FP4LAB_TEXT_PATTERN_H
#define FP4LAB_TEXT_PATTERN_H

#include "fp4lab/base.h"

/* Members of \w in Rust's regex, which the tokenizers library uses within (Unicode technical standard 18, annex C). */
#define PATTERN_RUST_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}"

struct pattern;
/* `where` names file and place in messages. A literal is matched byte by byte; a regular expression is one of Oniguruma's
 * in Ruby syntax, as the tokenizers library reads it, over Unicode classes; what PCRE2 would take for something else is
 * FP4_ERR_UNSUPPORTED. */
fp4_status pattern_literal(const char *where, const char *text, size_t bytes, struct pattern **out);
fp4_status pattern_regex(const char *where, const char *text, size_t bytes, struct pattern **out);
/* Whether p is this regular expression. */
bool pattern_is_regex(const struct pattern *p, const char *text);
const char *pattern_where(const struct pattern *p);
void pattern_free(struct pattern *p);

/* Matches from left to right in one text after another. */
struct matcher {
    const struct pattern *p;
    void *data, *context;
    size_t calls, at, last; /* last: end of the last match, SIZE_MAX: none */
    uint32_t limit;
    double spent_since; /* seconds of this thread's CPU time */
};
/* The time that it takes is taken from the call's budget (lib/text/budget.h). */
fp4_status matcher_open(struct matcher *m, const struct pattern *p);
void matcher_close(struct matcher *m);
/* From now on another text is walked from its start. */
void matcher_rewind(struct matcher *m);
/* The next match in the valid UTF-8 text [0, bytes); *found false: none is left. An empty match right behind the last match does
 * not count. A pattern that backtracks without end is FP4_ERR_FORMAT and named. */
fp4_status matcher_next(struct matcher *m, const char *text, size_t bytes, bool *found, size_t *start, size_t *stop);

#endif
