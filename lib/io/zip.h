/* A ZIP archive's stored entries, as torch.save writes them. */
#ifndef FP4LAB_IO_ZIP_H
#define FP4LAB_IO_ZIP_H

#include "lib/io/checkpoint.h"

enum { ZIP_NAME_MAX = 1024 };

/* Name (not terminated) and contents point into the map. */
struct zip_entry {
    const char *name;
    size_t name_bytes;
    const uint8_t *data;
    size_t bytes;
};

struct zip {
    struct zip_entry *entries; /* sorted by name, each name once */
    size_t n;
};

/* Everything that the central directory lists lies in the file and is neither compressed nor encrypted. zip_close also after a failure. */
fp4_status zip_open(const struct io_file *file, struct zip *z);
void zip_close(struct zip *z);
/* NULL: none of this name. */
const struct zip_entry *zip_find(const struct zip *z, const char *name, size_t bytes);

#endif
