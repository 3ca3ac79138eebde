/* bench/list.h: what each file of bench/ adds. */
#ifndef FP4LAB_BENCH_LIST_H
#define FP4LAB_BENCH_LIST_H

#include "bench/bench.h"

fp4_status bench_add_ceilings(const struct bench_options *o, struct bench_list *list);
fp4_status bench_add_formats(const struct bench_options *o, struct bench_list *list);
fp4_status bench_add_gemm(const struct bench_options *o, struct bench_list *list);
fp4_status bench_add_model(const struct bench_options *o, struct bench_list *list);
fp4_status bench_add_text(const struct bench_options *o, struct bench_list *list);

#endif
