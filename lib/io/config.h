/* Checks that both sources of a configuration (config.json, GGUF metadata) share. */
#ifndef FP4LAB_IO_CONFIG_H
#define FP4LAB_IO_CONFIG_H

#include "fp4lab/io.h"

/* Sizes are positive, bounded and fit each other. */
fp4_status io_config_check(const char *path, const struct fp4_config *config);

#endif
