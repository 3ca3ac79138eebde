/* The fuzz targets without libFuzzer: their seeds, parts of them, and every file that fuzzing has found wrong once. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"
#include "tests/support.h"

/* The bytes end at an inaccessible page. */
static void run_guarded(const struct fuzz_target *t, const struct bytes *b, size_t n) {
    uint8_t *p = guarded_prefix(b, n);
    t->run(p, n);
    guarded_free(p, n, false);
}

Test(fuzz, seeds_whole_and_cut) {
    for (const struct fuzz_target *t = fuzz_targets; t->name; t++) {
        struct bytes seed;
        char name[64];
        size_t i = 0;
        for (; fuzz_seed(t->name, i, &seed, name); i++) {
            run_guarded(t, &seed, seed.n);
            for (size_t cut = 1; cut <= 16 && cut < seed.n; cut++)
                run_guarded(t, &seed, seed.n * cut / 17);
            free(seed.data);
        }
        cr_assert_gt(i, 0, "%s has no seed", t->name);
    }
}

Test(fuzz, what_was_found_once) {
    size_t replayed = 0;
    for (const struct fuzz_target *t = fuzz_targets; t->name; t++) {
        char folder[256], path[600];
        struct dirent **entries;
        snprintf(folder, sizeof folder, "tests/fuzz/regressions/%s", t->name);
        int n = scandir(folder, &entries, NULL, alphasort);
        for (int i = 0; i < n; i++) {
            struct bytes b = {0};
            char *text;
            snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            if (entries[i]->d_name[0] != '.') {
                must(fp4_read_file(path, (size_t)1 << 20, &text, &b.n));
                b.data = (uint8_t *)text;
                run_guarded(t, &b, b.n);
                fp4_free(text);
                replayed++;
            }
            free(entries[i]);
        }
        if (n >= 0)
            free(entries);
    }
    cr_assert_gt(replayed, 0, "run from the top of the tree");
}
