/* build/fuzz-seeds FOLDER: writes the seeds of every target into FOLDER/TARGET/; without FOLDER it lists the targets. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

static fp4_status write_seeds(const char *folder, const char *target) {
    char path[4096], name[64];
    struct bytes seed;
    fp4_status status = FP4_OK;
    snprintf(path, sizeof path, "%s/%s", folder, target);
    FP4_TRY(fp4_make_dirs(path));
    for (size_t i = 0; status == FP4_OK && fuzz_seed(target, i, &seed, name); i++) {
        snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
        status = fp4_write_file(path, seed.data, seed.n);
        free(seed.data);
    }
    return status;
}

int main(int argc, char **argv) {
    for (const struct fuzz_target *t = fuzz_targets; t->name; t++) {
        if (argc < 2) {
            puts(t->name);
        } else if (write_seeds(argv[1], t->name) != FP4_OK) {
            fprintf(stderr, "fuzz-seeds: %s\n", fp4_last_error());
            return 2;
        }
    }
    return 0;
}
