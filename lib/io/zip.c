/* ZIP, reading: the end of the central directory (and its 64-bit form), the central directory, local headers. The records are those of PKWARE's
 * APPNOTE.TXT 6.3, sections 4.3 to 4.5. Sizes are the central directory's: torch writes an entry before it knows them. */
#include "lib/io/zip.h"

#include <stdlib.h>
#include <string.h>

enum { END_BYTES = 22, LOCATOR_BYTES = 20, END64_BYTES = 56, CENTRAL_BYTES = 46, LOCAL_BYTES = 30, COMMENT_MAX = 65535 };

struct reader {
    const char *path;
    const uint8_t *data;
    size_t size;
};

static bool is_record(const uint8_t *p, char a, char b) { return p[0] == 'P' && p[1] == 'K' && p[2] == a && p[3] == b; }

/* `bytes` bytes from `at` lie before `end`. */
static bool inside(uint64_t at, uint64_t bytes, uint64_t end) { return at <= end && bytes <= end - at; }

bool io_is_zip(const struct fp4_map *map) { return map->size >= 4 && is_record(map->data, 3, 4); }

struct directory {
    uint64_t entries, bytes, at;
    size_t end; /* offset of the record that ends it */
};

/* The last record whose comment ends with the file. */
static fp4_status find_end(const struct reader *r, size_t *at) {
    for (size_t comment = 0; comment <= COMMENT_MAX && inside(comment, END_BYTES, r->size); comment++) {
        const uint8_t *p = r->data + r->size - END_BYTES - comment;
        if (is_record(p, 5, 6) && io_little_endian(p + 20, 2) == comment) {
            *at = (size_t)(p - r->data);
            return FP4_OK;
        }
    }
    return fp4_fail(FP4_ERR_FORMAT, "%s: a ZIP archive without its end (the central directory); the file is cut short or broken", r->path);
}

/* The 64-bit record, which a locator right before the end names; a field of the short record that is not full says the same. */
static fp4_status read_end64(const struct reader *r, const uint8_t *locator, struct directory *d) {
    uint64_t at = io_little_endian(locator + 8, 8);
    if (!inside(at, END64_BYTES, (uint64_t)(locator - r->data)) || !is_record(r->data + at, 6, 6))
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: the 64-bit end of the ZIP directory is not at %llu, where its locator points", r->path,
                        (size_t)(locator - r->data), (unsigned long long)at);
    const uint8_t *p = r->data + at;
    struct directory wide = {io_little_endian(p + 32, 8), io_little_endian(p + 40, 8), io_little_endian(p + 48, 8), (size_t)at};
    if (io_little_endian(p + 16, 4) || io_little_endian(p + 20, 4) || io_little_endian(p + 24, 8) != wide.entries)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: offset %llu: a ZIP archive in several parts", r->path, (unsigned long long)at);
    if ((d->entries != UINT16_MAX && d->entries != wide.entries) || (d->bytes != UINT32_MAX && d->bytes != wide.bytes) ||
        (d->at != UINT32_MAX && d->at != wide.at))
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %llu: the two ends of the ZIP directory contradict each other", r->path, (unsigned long long)at);
    *d = wide;
    return FP4_OK;
}

static fp4_status find_directory(const struct reader *r, struct directory *d) {
    FP4_TRY(find_end(r, &d->end));
    const uint8_t *p = r->data + d->end;
    d->entries = io_little_endian(p + 10, 2);
    d->bytes = io_little_endian(p + 12, 4);
    d->at = io_little_endian(p + 16, 4);
    if (d->end >= LOCATOR_BYTES && is_record(p - LOCATOR_BYTES, 6, 7))
        FP4_TRY(read_end64(r, p - LOCATOR_BYTES, d));
    else if (io_little_endian(p + 4, 2) || io_little_endian(p + 6, 2) || io_little_endian(p + 8, 2) != d->entries)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: offset %zu: a ZIP archive in several parts", r->path, d->end);
    if (!inside(d->at, d->bytes, d->end))
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: the ZIP directory, %llu bytes at %llu, lies outside the file", r->path, d->end,
                        (unsigned long long)d->bytes, (unsigned long long)d->at);
    if (d->entries > d->bytes / CENTRAL_BYTES)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: %llu entries cannot be in a ZIP directory of %llu bytes", r->path, d->end,
                        (unsigned long long)d->entries, (unsigned long long)d->bytes);
    return FP4_OK;
}

/* What the central directory says about one entry. */
struct central {
    size_t at;
    const char *name;
    int shown; /* bytes of the name for messages */
    uint64_t packed, bytes, local;
};

/* The 64-bit extra field holds, in this order, those of the three that are full in the short form. */
static fp4_status read_extra(const struct reader *r, const uint8_t *extra, size_t n, struct central *c) {
    uint64_t *wide[3] = {&c->bytes, &c->packed, &c->local};
    while (n >= 4) {
        size_t id = (size_t)io_little_endian(extra, 2), bytes = (size_t)io_little_endian(extra + 2, 2), used = 4;
        if (bytes > n - 4)
            break;
        for (int i = 0; id == 1 && i < 3; i++)
            if (*wide[i] == UINT32_MAX) {
                if (used + 8 > 4 + bytes)
                    return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: entry %.*s: its 64-bit sizes are missing", r->path, c->at, c->shown, c->name);
                *wide[i] = io_little_endian(extra + used, 8);
                used += 8;
            }
        if (id == 1)
            return FP4_OK;
        extra += 4 + bytes;
        n -= 4 + bytes;
    }
    return FP4_OK; /* without the field a full size is a size, and checked like one */
}

/* The local header is there to be stepped over; its name must be the same. */
static fp4_status locate(const struct reader *r, const struct central *c, size_t end, struct zip_entry *e) {
    if (!inside(c->local, LOCAL_BYTES, end) || !is_record(r->data + c->local, 3, 4))
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: entry %.*s: there is no local header at %llu", r->path, c->at, c->shown, c->name,
                        (unsigned long long)c->local);
    const uint8_t *p = r->data + c->local;
    uint64_t name = io_little_endian(p + 26, 2), start = c->local + LOCAL_BYTES + name + io_little_endian(p + 28, 2);
    if (!inside(start, c->bytes, end))
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: entry %.*s: its %llu bytes at %llu lie outside the file's %zu bytes of data", r->path, c->at,
                        c->shown, c->name, (unsigned long long)c->bytes, (unsigned long long)start, end);
    if (name != e->name_bytes || memcmp(p + LOCAL_BYTES, e->name, e->name_bytes) != 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %llu: entry %.*s: its local header has another name", r->path, (unsigned long long)c->local,
                        c->shown, c->name);
    e->data = r->data + start;
    e->bytes = (size_t)c->bytes;
    return FP4_OK;
}

/* The entry at *at, which moves behind it. */
static fp4_status read_entry(const struct reader *r, const struct directory *d, size_t *at, struct zip_entry *e) {
    size_t end = (size_t)(d->at + d->bytes);
    const uint8_t *p = r->data + *at;
    if (!inside(*at, CENTRAL_BYTES, end) || !is_record(p, 1, 2))
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: no entry of the ZIP directory", r->path, *at);
    size_t name = (size_t)io_little_endian(p + 28, 2), extra = (size_t)io_little_endian(p + 30, 2), comment = (size_t)io_little_endian(p + 32, 2);
    if (!inside(*at + CENTRAL_BYTES, name + extra + comment, end))
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: an entry of the ZIP directory goes beyond its end", r->path, *at);
    *e = (struct zip_entry){.name = (const char *)p + CENTRAL_BYTES, .name_bytes = name};
    if (name == 0 || name > ZIP_NAME_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: an entry's name has %zu bytes; 1 to %d are possible", r->path, *at, name, ZIP_NAME_MAX);
    struct central c = {*at, e->name, name > 200 ? 200 : (int)name, io_little_endian(p + 20, 4), io_little_endian(p + 24, 4), io_little_endian(p + 42, 4)};
    FP4_TRY(read_extra(r, p + CENTRAL_BYTES + name, extra, &c));
    if (io_little_endian(p + 8, 2) & 1)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: entry %.*s is encrypted", r->path, c.shown, c.name);
    if (io_little_endian(p + 10, 2) != 0)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: entry %.*s is compressed (method %u); torch.save stores: load and save it with torch again", r->path,
                        c.shown, c.name, (unsigned int)io_little_endian(p + 10, 2));
    if (c.packed != c.bytes)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: entry %.*s is stored and has two sizes, %llu and %llu", r->path, *at, c.shown, c.name,
                        (unsigned long long)c.packed, (unsigned long long)c.bytes);
    FP4_TRY(locate(r, &c, (size_t)d->at, e));
    *at += CENTRAL_BYTES + name + extra + comment;
    return FP4_OK;
}

static int by_name(const void *a, const void *b) {
    const struct zip_entry *x = a, *y = b;
    int order = memcmp(x->name, y->name, x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes);
    return order ? order : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

fp4_status zip_open(const struct io_file *file, struct zip *z) {
    struct reader r = {file->path, file->map.data, file->map.size};
    struct directory d = {0};
    *z = (struct zip){0};
    FP4_TRY(find_directory(&r, &d));
    size_t n = (size_t)d.entries, at = (size_t)d.at;
    FP4_TRY(FP4_NEW(z->entries, n));
    for (; z->n < n; z->n++)
        FP4_TRY(read_entry(&r, &d, &at, &z->entries[z->n]));
    if (at != d.at + d.bytes)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: the ZIP directory goes on behind its %zu entries", r.path, at, n);
    qsort(z->entries, n, sizeof *z->entries, by_name);
    for (size_t i = 1; i < n; i++)
        if (by_name(&z->entries[i - 1], &z->entries[i]) == 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s: entry %.*s is there twice", r.path, (int)(z->entries[i].name_bytes > 200 ? 200 : z->entries[i].name_bytes),
                            z->entries[i].name);
    return FP4_OK;
}

void zip_close(struct zip *z) { fp4_free(z->entries); }

const struct zip_entry *zip_find(const struct zip *z, const char *name, size_t bytes) {
    struct zip_entry key = {.name = name, .name_bytes = bytes};
    return z->n ? bsearch(&key, z->entries, z->n, sizeof key, by_name) : NULL;
}
