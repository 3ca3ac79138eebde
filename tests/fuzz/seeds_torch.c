/* Checkpoints of torch.save. */
#include "tests/fuzz/seeds_torch.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/seeds_internal.h"

static void put_u16(struct bytes *b, uint16_t value) { put(b, &value, sizeof value); }

/* What a local header and an entry of the directory have in common: from "version needed" to the length of the extra field. */
static void put_common(struct bytes *b, size_t name, size_t sizes, bool full, size_t extra) {
    put_u16(b, 45);
    put_u16(b, 8); /* sizes follow the data */
    put_u16(b, 0); /* stored */
    put_u32(b, 0); /* time and date */
    put_u32(b, 0); /* sum */
    put_u32(b, full ? UINT32_MAX : (uint32_t)sizes);
    put_u32(b, full ? UINT32_MAX : (uint32_t)sizes);
    put_u16(b, (uint16_t)name);
    put_u16(b, (uint16_t)extra);
}

void seed_zip_add(struct seed_zip *z, const char *name, const void *data, size_t n) {
    size_t at = z->file.n, length = strlen(name), start = (at + 30 + length + 4 + 63) / 64 * 64, padding = start - (at + 30 + length + 4);
    put(&z->file, "PK\3\4", 4);
    put_common(&z->file, length, 0, false, 4 + padding);
    put(&z->file, name, length);
    put(&z->file, "FB", 2);
    put_u16(&z->file, (uint16_t)padding);
    put_padding(&z->file, 64);
    put(&z->file, data, n);
    put(&z->file, "PK\7\10", 4);
    put_u32(&z->file, 0);
    put_u32(&z->file, (uint32_t)n);
    put_u32(&z->file, (uint32_t)n);
    put(&z->directory, "PK\1\2", 4);
    put_u16(&z->directory, 45);
    put_common(&z->directory, length, n, z->wide, z->wide ? 28 : 0);
    put_u32(&z->directory, 0); /* comment, disk */
    put_u16(&z->directory, 0);
    put_u32(&z->directory, 0);
    put_u32(&z->directory, z->wide ? UINT32_MAX : (uint32_t)at);
    put(&z->directory, name, length);
    if (z->wide) {
        put_u16(&z->directory, 1);
        put_u16(&z->directory, 24);
        put_u64(&z->directory, n);
        put_u64(&z->directory, n);
        put_u64(&z->directory, at);
    }
    z->n++;
}

struct bytes seed_zip_end(struct seed_zip *z) {
    struct bytes *b = &z->file;
    size_t at = b->n, bytes = z->directory.n;
    put(b, z->directory.data, bytes);
    free(z->directory.data);
    if (z->wide) {
        size_t end = b->n;
        put(b, "PK\6\6", 4);
        put_u64(b, 44);
        put_u16(b, 45);
        put_u16(b, 45);
        put_u64(b, 0); /* disks */
        put_u64(b, z->n);
        put_u64(b, z->n);
        put_u64(b, bytes);
        put_u64(b, at);
        put(b, "PK\6\7", 4);
        put_u32(b, 0);
        put_u64(b, end);
        put_u32(b, 1);
    }
    put(b, "PK\5\6", 4);
    put_u32(b, 0);
    put_u16(b, (uint16_t)z->n);
    put_u16(b, (uint16_t)z->n);
    put_u32(b, z->wide ? UINT32_MAX : (uint32_t)bytes);
    put_u32(b, z->wide ? UINT32_MAX : (uint32_t)at);
    put_u16(b, 0);
    return *b;
}

struct bytes seed_torch(const void *pickle, size_t n, const char *byteorder, size_t storage, bool wide) {
    struct seed_zip z = {.wide = wide};
    struct bytes data = {0};
    for (size_t i = 0; i < storage; i++)
        put(&data, &(uint8_t){(uint8_t)(i * 37)}, 1);
    seed_zip_add(&z, "m/data.pkl", pickle, n);
    if (byteorder)
        seed_zip_add(&z, "m/byteorder", byteorder, strlen(byteorder));
    seed_zip_add(&z, "m/data/0", data.data ? data.data : (const uint8_t *)"", storage);
    seed_zip_add(&z, "m/version", "3\n", 2);
    free(data.data);
    return seed_zip_end(&z);
}

#define TYPED(letter, type, elements) SEED_KEY(letter) SEED_TENSOR(SEED_STORAGE("torch\n" type "Storage", "0", elements), "K\0", "K\2\x85", "K\1\x85")

/* A state dict as torch pickles it: an ordered dictionary with attributes, a memo, a parameter, a shared storage, a view, values that are no tensor. */
static const char state_dict[] =
    "\x80\x02" "ccollections\nOrderedDict\nq\0)Rq\1(" SEED_KEY("a") "q\2ctorch._utils\n_rebuild_tensor_v2\nq\3(" SEED_STORAGE("torch\nHalfStorage", "0", "K\30")
    "q\4K\0K\2K\3K\4\x87q\5K\14K\4K\1\x87q\6\x89h\0)Rtq\7R" SEED_KEY("t") "h\3h\7R" SEED_KEY("v") "h\3(h\4K\14K\14\x85K\1\x85\x89h\0)RtR"
    SEED_KEY("s") "h\3(h\4K\5))\x89h\0)RtR" SEED_KEY("p") "ctorch._utils\n_rebuild_parameter\nh\3h\7R\x88h\0)R\x87R"
    SEED_KEY("n") "M\1\2" SEED_KEY("f") "G\x3f\xf0\0\0\0\0\0\0" SEED_KEY("l") "](K\1J\xff\xff\xff\xff" "e" SEED_KEY("m") "]Na"
    "u}(X\x09\0\0\0_metadatah\0)R(X\0\0\0\0}X\7\0\0\0versionK\1suub.";

static const char types[] = SEED_DICT TYPED("a", "Float", "K\2") TYPED("b", "Int", "K\2") SEED_END;
static const char bytes_of[] = SEED_DICT TYPED("a", "Char", "\x8a\1\2") TYPED("b", "Byte", "J\2\0\0\0") TYPED("c", "Bool", "M\2\0") SEED_END;

bool seed_torch_file(size_t i, struct bytes *out, char name[64]) {
    static const struct {
        const char *name, *pickle;
        size_t n;
        const char *byteorder;
        size_t storage;
        bool wide;
    } files[] = {{"floats", SEED_GOOD, sizeof SEED_GOOD - 1, NULL, 24, false},
                 {"state_dict", state_dict, sizeof state_dict - 1, "little", 48, true},
                 {"types", types, sizeof types - 1, "little", 8, true},
                 {"bytes", bytes_of, sizeof bytes_of - 1, NULL, 2, false}};
    if (i >= sizeof files / sizeof *files)
        return false;
    *out = seed_torch(files[i].pickle, files[i].n, files[i].byteorder, files[i].storage, files[i].wide);
    snprintf(name, 64, "%s.bin", files[i].name);
    return true;
}
