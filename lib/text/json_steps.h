/* lib/text/json_steps.h: the steps that a tokenizer.json lists. Internal. */
#ifndef FP4LAB_TEXT_JSON_STEPS_H
#define FP4LAB_TEXT_JSON_STEPS_H

#include <jansson.h>

#include "lib/text/tokenizer.h"

/* "file: place: what it says is not supported". */
fp4_status json_unsupported(const char *path, const char *place, const char *what);
/* The value of "type"; never NULL. */
const char *json_type_of(const json_t *object);

fp4_status json_normalizer(const char *path, const json_t *root, struct fp4_tokenizer *t);
fp4_status json_pre_tokenizer(const char *path, const json_t *root, struct fp4_tokenizer *t);
fp4_status json_decoder(const char *path, const json_t *root, struct fp4_tokenizer *t);
/* After the vocabulary. */
fp4_status json_post_processor(const char *path, const json_t *root, struct fp4_tokenizer *t);

#endif
