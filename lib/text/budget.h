/* lib/text/budget.h: what one call may cost, whatever a tokenizer's file asks for: patterns that backtrack without end, replacements that make a
 * text a thousand times as long and that a thousand times longer. Internal. */
#ifndef FP4LAB_TEXT_BUDGET_H
#define FP4LAB_TEXT_BUDGET_H

#include "fp4lab/base.h"

/* Begins a call of this thread about so many bytes; patterns may take some seconds and 2 µs a byte. `name` of the tokenizer's file must stay until its end. */
void budget_begin(const char *name, size_t bytes, double seconds);
/* Its end: outside of a call nothing is bounded. */
void budget_end(void);
/* Its name, for messages. */
const char *budget_name(void);
/* Whether a text may be of so many bytes: FP4_ERR_FORMAT. */
fp4_status budget_text(size_t bytes);
/* Whether the whole call may go on, with the time that patterns may take: FP4_ERR_FORMAT. */
fp4_status budget_time(void);
/* Processor time of this thread, seconds. */
double budget_clock(void);
/* What patterns may still use of it, and that they have used some. */
double budget_seconds(void);
void budget_spend(double seconds);

#endif
