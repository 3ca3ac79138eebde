/* Fields of a config.json. An absent one or null keeps the value that is there, which is the default. */
#ifndef FP4LAB_IO_CONFIG_FIELDS_H
#define FP4LAB_IO_CONFIG_FIELDS_H

#include <jansson.h>

#include "fp4lab/io.h"

struct fields {
    const char *path;
    json_t *root;
};
json_t *field(const struct fields *f, const char *name); /* NULL: absent or null */
fp4_status field_size(const struct fields *f, const char *name, bool required, size_t *out);
fp4_status field_number(const struct fields *f, const char *name, double *out);
fp4_status field_bool(const struct fields *f, const char *name, bool *out);
/* A token id; of a list of them the first; null is none, −1. */
fp4_status field_id(const struct fields *f, const char *name, int *out);
fp4_status field_wrong(const struct fields *f, const char *name, const char *wanted);
/* FP4_ERR_UNSUPPORTED with the field and its value. */
fp4_status field_unsupported(const struct fields *f, const char *name, json_t *value);

/* config_json.c: all of it */
fp4_status config_read_fields(const struct fields *f, struct fp4_config *out);
/* config_refuse.c: what would change the numbers and is not implemented */
fp4_status config_refuse(const struct fields *f);
fp4_status config_refuse_window(const struct fields *f, size_t n_ctx);

#endif
