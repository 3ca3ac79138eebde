/* experiments/ptq.h: what the files of the post-training experiment share. */
#ifndef FP4LAB_EXPERIMENTS_PTQ_H
#define FP4LAB_EXPERIMENTS_PTQ_H

#include "experiments/ptq_text.h"
#include "fp4lab/methods.h"

/* ---- the plan: main_ptq.c ---- */

/* A method and two quantizers, as they are spelled. */
struct arm {
    const char *name, *method, *weights, *activations, *what;
    bool full_only;
};
struct workload {
    const char *model, *text;
    size_t length;     /* tokens of a window, where the model's context has as many */
    size_t windows[3]; /* by profile; 0: not in it; PTQ_ALL: all that the text holds */
};
enum { PTQ_ALL = 1 << 30 };
struct evaluation {
    const struct workload *work;
    char model[1024];  /* the workload's, or the user's path */
    size_t context;    /* of the model */
    double scale;      /* source_scale */
    struct fp4_use use; /* what the planned arms need of the model */
    size_t length;     /* tokens of a window */
    size_t n_windows;
    struct ptq_text text;
    float *reference;  /* [n_windows, length, width]: final hidden states of the unquantized model */
    bool open;
};
struct payload {
    const struct arm *arm;
    struct evaluation *evaluation;
};
struct ptq {
    struct run_options options;
    struct evaluation *evaluations; /* N_WORKLOADS for each model */
    struct payload *payloads;       /* N_ARMS for each evaluation */
    size_t n_evaluations, n_payloads;
    struct source source;            /* the model in memory; name "" when none */
    struct fp4_snapshot *original;
    const struct arm *applied;       /* NULL: original weights, no policies */
    struct fp4_method_result result; /* of the applied arm */
    double method_seconds;
    char calibration_sha256[65];     /* of the applied arm's calibration tokens; "" when it has none */
    size_t calibration_first;
};

/* ---- calibration and trials: ptq_trial.c ---- */

/* Calibration of a model: always from the calibration half of this text, whatever text is evaluated. */
struct ptq_calibration {
    const char *text;
    size_t length, sequences[3]; /* tokens; by profile */
    double damping;              /* of GPTQ */
};
/* A window, or a calibration sequence, is never longer than the model's context. */
struct ptq_calibration ptq_calibration_of(const char *model, size_t context);
bool ptq_needs_calibration(const struct arm *a);
/* As run.h has them. */
fp4_status ptq_trial(void *state, const struct run_trial *t, json_t *outcome, json_t *time);
/* Closes the model and all that was computed with it. */
void ptq_close_model(struct ptq *s);

#endif
