/* experiments/ptq_text.h: evaluation windows and calibration sequences over a text, with the document of every token. */
#ifndef FP4LAB_EXPERIMENTS_PTQ_TEXT_H
#define FP4LAB_EXPERIMENTS_PTQ_TEXT_H

#include "experiments/source.h"

struct ptq_text {
    char name[32];
    char sha256[65];          /* of the text; "" for the generated corpus */
    int32_t *tokens;          /* [n] the whole text, tokenized as one */
    size_t *document;         /* [n] number of each token's document */
    size_t *first;            /* [n_documents + 1] first token of each document */
    size_t n, n_documents;
    size_t n_calibration;     /* documents below this one are for calibration, the others for evaluation; 0: all for evaluation */
    bool from_start;          /* windows lie side by side from token 0 on (the published protocol), else spread over the text */
};

/* name: bible, gcide, wikitext2, generated (the source's own corpus). */
fp4_status ptq_text_open(const struct source *s, const char *name, struct ptq_text *out);
void ptq_text_close(struct ptq_text *t);
/* How many windows of `length` tokens fit side by side (from_start), else one for each evaluation document at most. */
size_t ptq_text_windows(const struct ptq_text *t, size_t length);
/* First token of window i of n_windows. Windows do not overlap; FP4_ERR_ARG when the text is too short. */
fp4_status ptq_text_window(const struct ptq_text *t, size_t i, size_t n_windows, size_t length, size_t *first);
/* First token of calibration sequence i of n, from the calibration documents. */
fp4_status ptq_text_calibration(const struct ptq_text *t, size_t i, size_t n, size_t length, size_t *first);

#endif
