/* Checks that both sources of a configuration (config.json, GGUF metadata) share. */
#ifndef FP4LAB_IO_CONFIG_H
#define FP4LAB_IO_CONFIG_H

#include "fp4lab/io.h"

/* config.json from its bytes; `name` stands for the file in messages. */
fp4_status io_config_parse(const char *name, const void *bytes, size_t size, struct fp4_config *out);

/* Sizes are positive, bounded and fit each other. */
fp4_status io_config_check(const char *path, const struct fp4_config *config);

#endif
