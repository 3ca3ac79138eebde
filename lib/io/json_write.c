/* JSON documents into files. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/io/checkpoint.h"

fp4_status io_json_write_to(const char *path, json_t *root, size_t flags) {
    fp4_status status = json_whole(path);
    char *text = status == FP4_OK ? json_text(root, flags) : NULL;
    json_decref(root);
    FP4_TRY(status);
    if (!text)
        return fp4_fail(FP4_ERR_MEMORY, "%s: no memory for its text", path);
    status = fp4_write_file(path, text, strlen(text));
    free(text);
    return status;
}

fp4_status io_json_write(const char *folder, const char *name, json_t *root, size_t flags) {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n > 0 && n < (int)sizeof path)
        return io_json_write_to(path, root, flags);
    json_decref(root);
    return fp4_fail(FP4_ERR_ARG, "%s: path too long", folder);
}
