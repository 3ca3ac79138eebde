/* What the results were computed from: inputs, what was missing, machines, digest. */
#include <string.h>

#include "stats/facts_data.h"

void facts_inputs(struct facts *f) {
    char hex[65];
    if (f->status == FP4_OK && results_digest(f->results, hex) != FP4_OK)
        facts_broken(f, FP4_ERR_FORMAT);
    if (f->status == FP4_OK)
        facts_word(f, "digest", hex);
}
