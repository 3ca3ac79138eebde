/* stats/internal.h: shared by the files of stats/ only. */
#ifndef FP4LAB_STATS_INTERNAL_H
#define FP4LAB_STATS_INTERNAL_H

#define MATHLIB_STANDALONE 1
#include <Rmath.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats/stats.h"

/* FP4_ERR_ARG unless 0 < conf < 1. */
fp4_status fp4_check_conf(double conf);
/* FP4_ERR_NUMERIC when one of x [n] is NaN or infinite. */
fp4_status fp4_check_finite(size_t n, const double *x);
/* Compensated sum (Neumaier 1974): error independent of n but for n²·eps². */
double fp4_sum(size_t n, const double *x);
/* Mean, refined once by the mean of the deviations. */
double fp4_mean(size_t n, const double *x);
/* x sorted ascending in place. */
void fp4_sort_doubles(size_t n, double *x);
/* Doubled midranks (integers) of key [n]; *tied: some key appears twice. */
fp4_status fp4_doubled_midranks(size_t n, const double *key, int64_t *rank2, bool *tied);
struct fp4_interval fp4_around(double center, double half);
/* 2·P(T > |t|), capped at 1. */
double fp4_t_two_sided(double t, double df);

#endif
