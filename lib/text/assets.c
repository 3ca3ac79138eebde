/* Where the real inputs are: the asset cache that ci/fetch fills, and folders that the user names. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fp4lab/text.h"

fp4_status fp4_asset_folder(char *folder, size_t size) {
    const char *set = getenv("FP4LAB_ASSETS"), *home = getenv("HOME");
    if (!(set && *set) && !(home && *home))
        return fp4_fail(FP4_ERR_ARG, "neither FP4LAB_ASSETS nor HOME is set, so there is no asset cache; set FP4LAB_ASSETS to a folder");
    int n = set && *set ? snprintf(folder, size, "%s", set) : snprintf(folder, size, "%s/.cache/fp4lab", home);
    return n >= 0 && (size_t)n < size ? FP4_OK : fp4_fail(FP4_ERR_ARG, "%.60s...: path too long; set FP4LAB_ASSETS to a shorter one", set && *set ? set : home);
}

static bool there(const char *folder, size_t length, const char *file, char *path, size_t size) {
    int n = snprintf(path, size, "%.*s/%s", (int)length, folder, file);
    return n >= 0 && (size_t)n < size && access(path, R_OK) == 0;
}

/* Why the last ci/fetch did not get the file: its line "name \t file \t why" in missing.tsv. Empty when it is not there. */
static void recorded_reason(const char *cache, const char *file, char *why, size_t size) {
    char path[4096], *text, *line_end, *rest = NULL;
    *why = 0;
    snprintf(path, sizeof path, "%s/missing.tsv", cache);
    if (access(path, R_OK) != 0 || fp4_read_file(path, 1 << 16, &text, NULL) != FP4_OK)
        return;
    for (char *line = strtok_r(text, "\n", &line_end); line; line = strtok_r(NULL, "\n", &line_end)) {
        char *named = strtok_r(line, "\t", &rest) ? strtok_r(NULL, "\t", &rest) : NULL;
        if (named && strcmp(named, file) == 0 && *rest)
            snprintf(why, size, "; the last one said: %s", rest);
    }
    fp4_free(text);
}

fp4_status fp4_asset_find(const char *file, char *path, size_t size) {
    char cache[3500] = "", why[400] = "";
    const char *from = getenv("FP4LAB_ASSETS_FROM");
    bool have_cache = fp4_asset_folder(cache, sizeof cache) == FP4_OK;
    if (size)
        *path = 0;
    if (strchr(file, '/') || !*file || *file == '.')
        return fp4_fail(FP4_ERR_ARG, "%s: not the plain name of an asset", file);
    if (have_cache && there(cache, strlen(cache), file, path, size))
        return FP4_OK;
    for (const char *folder = from; folder && *folder;) {
        size_t length = strcspn(folder, ":");
        if (length && there(folder, length, file, path, size))
            return FP4_OK;
        folder += length + (folder[length] == ':');
    }
    if (size)
        *path = 0;
    if (have_cache)
        recorded_reason(cache, file, why, sizeof why);
    return fp4_fail(FP4_ERR_IO, "%s: not in %s%s%s; run ci/fetch%s", file, have_cache ? cache : "FP4LAB_ASSETS or HOME (neither is set)",
                    from && *from ? ":" : "", from && *from ? from : "", why);
}
