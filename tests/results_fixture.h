/* tests/results_fixture.h: small results files of made-up numbers in schema 1, for the suites of the report. Deterministic. */
#ifndef FP4LAB_TESTS_RESULTS_FIXTURE_H
#define FP4LAB_TESTS_RESULTS_FIXTURE_H

#include "fp4lab/base.h"

enum fixture {
    FIXTURE_WHOLE, /* all arms of the three experiments, two models, three texts */
    FIXTURE_SMOKE, /* what a run without network leaves: the self-trained model, few arms, one seed */
    FIXTURE_EMPTY  /* manifests only */
};

/* Writes tta.jsonl, ptq.jsonl, train.jsonl and bench.json into the folder. */
fp4_status fixture_write(const char *folder, enum fixture kind);

/* What the made-up numbers are built on, for tests that compute by hand: success of the whole answer of a task (1 to 15) under base, and what
 * TTA adds to it. */
double fixture_base(int task);
double fixture_gain(int task);

#endif
