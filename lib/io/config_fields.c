/* Fields of a config.json. */
#include "lib/io/config_fields.h"

json_t *field(const struct fields *f, const char *name) {
    json_t *value = json_object_get(f->root, name);
    return json_is_null(value) ? NULL : value;
}

fp4_status field_wrong(const struct fields *f, const char *name, const char *wanted) {
    return fp4_fail(FP4_ERR_FORMAT, "%s: %s is not %s", f->path, name, wanted);
}

fp4_status field_size(const struct fields *f, const char *name, bool required, size_t *out) {
    json_t *value = field(f, name);
    if (!value)
        return required ? fp4_fail(FP4_ERR_FORMAT, "%s: %s is missing", f->path, name) : FP4_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return field_wrong(f, name, "a size");
    *out = (size_t)json_integer_value(value);
    return FP4_OK;
}

fp4_status field_number(const struct fields *f, const char *name, double *out) {
    json_t *value = field(f, name);
    if (!value)
        return FP4_OK;
    if (!json_is_number(value))
        return field_wrong(f, name, "a number");
    *out = json_number_value(value);
    return FP4_OK;
}

fp4_status field_bool(const struct fields *f, const char *name, bool *out) {
    json_t *value = field(f, name);
    if (!value)
        return FP4_OK;
    if (!json_is_boolean(value))
        return field_wrong(f, name, "true or false");
    *out = json_boolean_value(value);
    return FP4_OK;
}

fp4_status field_id(const struct fields *f, const char *name, int *out) {
    json_t *value = json_object_get(f->root, name);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    if (json_is_null(value))
        *out = -1;
    if (!value || json_is_null(value))
        return FP4_OK;
    if (!json_is_integer(value) || json_integer_value(value) < -1 || json_integer_value(value) > INT32_MAX)
        return field_wrong(f, name, "a token id");
    *out = (int)json_integer_value(value);
    return FP4_OK;
}

fp4_status field_unsupported(const struct fields *f, const char *name, json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    fp4_status status = fp4_fail(FP4_ERR_UNSUPPORTED, "%s: %s = %.200s is not supported", f->path, name, text ? text : "?");
    free(text);
    return status;
}
