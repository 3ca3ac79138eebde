/* PyTorch checkpoints with one fault each: in the pickle, and in the archive around it. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/seeds_torch.h"
#include "tests/hostile.h"

#define FLOATS(key, elements) SEED_STORAGE("torch\nFloatStorage", key, elements)
#define ONE(tensor) SEED_DICT SEED_KEY("a") tensor SEED_END
#define BAD(storage, offset, sizes, strides) ONE(SEED_TENSOR(storage, offset, sizes, strides))
#define PICKLE(text) text, sizeof text - 1
#define BIG "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f" /* 2^63 - 1 */
#define TWO32 "\x8a\x05\0\0\0\0\1"

static const struct {
    const char *what, *pickle;
    size_t n;
    fp4_status status;
    const char *message;
} faults[] = {
    {"os.system", PICKLE("\x80\x02" "cos\nsystem\n(X\2\0\0\0idtR."), FP4_ERR_UNSUPPORTED, "wants os.system"},
    {"builtins.eval beside tensors", PICKLE(SEED_DICT SEED_KEY("a") SEED_FLOATS SEED_KEY("b") "cbuiltins\neval\n(X\1\0\0\0" "1tR" SEED_END), FP4_ERR_UNSUPPORTED,
     "builtins.eval"},
    {"a name that begins like an allowed one", PICKLE("\x80\x02" "ctorch\nFloatStorageX\n."), FP4_ERR_UNSUPPORTED, "torch.FloatStorageX"},
    {"an allowed name of another module", PICKLE("\x80\x02" "cevil\nOrderedDict\n)R."), FP4_ERR_UNSUPPORTED, "wants evil.OrderedDict"},
    {"a module with control characters", PICKLE("\x80\x02" "c\x1b[2J\nx\n."), FP4_ERR_UNSUPPORTED, "wants"},
    {"a global without an end", PICKLE("\x80\x02" "ctorch\nFloat"), FP4_ERR_FORMAT, "without its end"},
    {"STACK_GLOBAL", PICKLE("\x80\x02X\2\0\0\0osX\6\0\0\0system\x93."), FP4_ERR_UNSUPPORTED, "opcode 0x93"},
    {"INST", PICKLE("\x80\x02(ios\nsystem\n."), FP4_ERR_UNSUPPORTED, "opcode 0x69"},
    {"OBJ", PICKLE("\x80\x02(o."), FP4_ERR_UNSUPPORTED, "opcode 0x6f"},
    {"NEWOBJ", PICKLE("\x80\x02)\x81."), FP4_ERR_UNSUPPORTED, "opcode 0x81"},
    {"EXT1", PICKLE("\x80\x02\x82\1."), FP4_ERR_UNSUPPORTED, "opcode 0x82"},
    {"protocol 4", PICKLE("\x80\x04}."), FP4_ERR_UNSUPPORTED, "protocol 4"},
    {"a dictionary that is called", PICKLE("\x80\x02})R."), FP4_ERR_FORMAT, "calls something"},
    {"a storage type that is called", PICKLE("\x80\x02" "ctorch\nFloatStorage\n)R."), FP4_ERR_FORMAT, "calls something"},
    {"a tensor of no storage", PICKLE(ONE("ctorch._utils\n_rebuild_tensor_v2\n(K\0K\0))tR")), FP4_ERR_FORMAT, "calls something"},
    {"a tensor of too few arguments", PICKLE(ONE("ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS("0", "K\6") "tR")), FP4_ERR_FORMAT, "calls something"},
    {"a parameter of nothing", PICKLE(ONE("ctorch._utils\n_rebuild_parameter\n)R")), FP4_ERR_FORMAT, "calls something"},
    {"a parameter of a number", PICKLE(ONE("ctorch._utils\n_rebuild_parameter\nK\1\x85R")), FP4_ERR_FORMAT, "calls something"},
    {"a persistent number", PICKLE("\x80\x02K\1Q."), FP4_ERR_FORMAT, "no storage"},
    {"a storage of a dictionary type", PICKLE(ONE(SEED_TENSOR(SEED_STORAGE("collections\nOrderedDict", "0", "K\6"), "K\0", "K\6\x85", "K\1\x85"))), FP4_ERR_FORMAT,
     "no storage"},
    {"a module of another name", PICKLE("\x80\x02(X\6\0\0\0modulectorch\nFloatStorage\n" SEED_KEY("0") "X\3\0\0\0" "cpuK\6tQ."), FP4_ERR_FORMAT, "no storage"},
    {"attributes of a number", PICKLE("\x80\x02K\1}b."), FP4_ERR_FORMAT, "attributes"},
    {"an item of a number", PICKLE("\x80\x02K\1K\1K\1s."), FP4_ERR_FORMAT, "no dictionary"},
    {"an item appended to a dictionary", PICKLE("\x80\x02}K\1a."), FP4_ERR_FORMAT, "no list"},
    {"a key without a value", PICKLE("\x80\x02}(K\1u."), FP4_ERR_FORMAT, "key without a value"},
    {"no mark", PICKLE("\x80\x02}u."), FP4_ERR_FORMAT, "no mark"},
    {"an empty stack", PICKLE("\x80\x02R."), FP4_ERR_FORMAT, "more from the stack"},
    {"a mark for a value", PICKLE("\x80\x02((\x86."), FP4_ERR_FORMAT, "mark for a value"},
    {"a mark that stays", PICKLE("\x80\x02(."), FP4_ERR_FORMAT, "one value"},
    {"two values", PICKLE("\x80\x02}}."), FP4_ERR_FORMAT, "one value"},
    {"no value", PICKLE("\x80\x02."), FP4_ERR_FORMAT, "one value"},
    {"nothing", PICKLE(""), FP4_ERR_FORMAT, "does not stop"},
    {"no STOP", PICKLE("\x80\x02}"), FP4_ERR_FORMAT, "does not stop"},
    {"bytes after STOP", PICKLE("\x80\x02}.."), FP4_ERR_FORMAT, "before its end"},
    {"a text beyond the end", PICKLE("\x80\x02X\xff\xff\xff\xffx."), FP4_ERR_FORMAT, "within an opcode"},
    {"a long number beyond the end", PICKLE("\x80\x02\x8a\xff."), FP4_ERR_FORMAT, "within an opcode"},
    {"a memo of four thousand million", PICKLE("\x80\x02}r\xff\xff\xff\xff."), FP4_ERR_FORMAT, "more entries than opcodes"},
    {"a memo of a mark", PICKLE("\x80\x02(q\0."), FP4_ERR_FORMAT, "no value"},
    {"a memo of nothing", PICKLE("\x80\x02q\0}."), FP4_ERR_FORMAT, "no value"},
    {"asked for what the memo lacks", PICKLE("\x80\x02}q\0h\1."), FP4_ERR_FORMAT, "asks the memo"},
    {"asked for beyond the memo", PICKLE("\x80\x02j\xff\xff\xff\xff."), FP4_ERR_FORMAT, "asks the memo"},
    {"a number", PICKLE("\x80\x02K\1."), FP4_ERR_UNSUPPORTED, "no dictionary of tensors"},
    {"a tensor alone", PICKLE("\x80\x02" SEED_FLOATS "."), FP4_ERR_UNSUPPORTED, "no dictionary of tensors"},
    {"a list that holds itself", PICKLE("\x80\x02]q\0h\0a."), FP4_ERR_UNSUPPORTED, "no dictionary of tensors"},
    {"a dictionary that holds itself", PICKLE("\x80\x02}q\0" SEED_KEY("a") "h\0s."), FP4_ERR_UNSUPPORTED, "its entry \"a\""},
    {"a nested dictionary", PICKLE(ONE("}" SEED_KEY("w") SEED_FLOATS "s")), FP4_ERR_UNSUPPORTED, "its entry \"a\""},
    {"a tensor named by a number", PICKLE(SEED_DICT "K\1" SEED_FLOATS SEED_END), FP4_ERR_FORMAT, "name is no text"},
    {"a tensor of an empty name", PICKLE(SEED_DICT "X\0\0\0\0" SEED_FLOATS SEED_END), FP4_ERR_FORMAT, "name is no text"},
    {"a tensor of a name that is no UTF-8", PICKLE(SEED_DICT "X\1\0\0\0\xff" SEED_FLOATS SEED_END), FP4_ERR_FORMAT, "name is no text"},
    {"a zero in a name", PICKLE(SEED_DICT "X\1\0\0\0\0" SEED_FLOATS SEED_END), FP4_ERR_FORMAT, "name is no text"},
    {"a name twice", PICKLE(SEED_DICT SEED_KEY("a") SEED_FLOATS SEED_KEY("a") SEED_FLOATS SEED_END), FP4_ERR_FORMAT, "there twice"},
    {"five dimensions", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", "(K\1K\1K\1K\1K\6t", "(K\6K\6K\6K\6K\1t")), FP4_ERR_UNSUPPORTED, "5 dimensions"},
    {"a negative size", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", "J\xff\xff\xff\xff\x85", "K\1\x85")), FP4_ERR_FORMAT, "shape"},
    {"a size of text", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", SEED_KEY("6") "\x85", "K\1\x85")), FP4_ERR_FORMAT, "shape"},
    {"a size beyond 64 bits", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", "\x8a\x09\1\1\1\1\1\1\1\1\1\x85", "K\1\x85")), FP4_ERR_FORMAT, "shape"},
    {"a shape that overflows", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", TWO32 TWO32 "K\2\x87", "K\1K\1K\1\x87")), FP4_ERR_FORMAT, "overflows"},
    {"a shape that wraps around to nothing", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", TWO32 TWO32 "\x86", TWO32 "K\1\x86")), FP4_ERR_FORMAT, "overflows"},
    {"more elements than the storage", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", "K\7\x85", "K\1\x85")), FP4_ERR_FORMAT, "outside its storage"},
    {"as many as there are, one too late", PICKLE(BAD(FLOATS("0", "K\6"), "K\1", "K\6\x85", "K\1\x85")), FP4_ERR_FORMAT, "outside its storage"},
    {"an offset that wraps around", PICKLE(BAD(FLOATS("0", "K\6"), BIG, BIG "\x85", "K\1\x85")), FP4_ERR_FORMAT, "outside its storage"},
    {"a negative offset", PICKLE(BAD(FLOATS("0", "K\6"), "J\xff\xff\xff\xff", "K\6\x85", "K\1\x85")), FP4_ERR_FORMAT, "outside its storage"},
    {"an offset of an empty tensor", PICKLE(BAD(FLOATS("0", "K\6"), "K\7", "K\0\x85", "K\1\x85")), FP4_ERR_FORMAT, "outside its storage"},
    {"a storage said to be larger", PICKLE(BAD(FLOATS("0", "K\7"), "K\0", "K\6\x85", "K\1\x85")), FP4_ERR_FORMAT, "not 7 elements of F32"},
    {"a storage whose bytes wrap around", PICKLE(BAD(FLOATS("0", "\x8a\x08\6\0\0\0\0\0\0\x40"), "K\0", "K\6\x85", "K\1\x85")), FP4_ERR_FORMAT, "elements of F32"},
    {"a storage of a negative size", PICKLE(BAD(FLOATS("0", "J\xff\xff\xff\xff"), "K\0", "K\6\x85", "K\1\x85")), FP4_ERR_FORMAT, "not -1 elements"},
    {"a storage that is not there", PICKLE(BAD(FLOATS("1", "K\6"), "K\0", "K\6\x85", "K\1\x85")), FP4_ERR_FORMAT, "data/1 is not in the archive"},
    {"a transposed tensor", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", "K\2K\3\x86", "K\1K\2\x86")), FP4_ERR_UNSUPPORTED, "not contiguous"},
    {"rows that overlap", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", "K\2K\3\x86", "K\1K\1\x86")), FP4_ERR_UNSUPPORTED, "not contiguous"},
    {"one element many times", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", BIG "\x85", "K\0\x85")), FP4_ERR_UNSUPPORTED, "not contiguous"},
    {"a negative stride", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", "K\6\x85", "J\xff\xff\xff\xff\x85")), FP4_ERR_FORMAT, "strides"},
    {"fewer strides than sizes", PICKLE(BAD(FLOATS("0", "K\6"), "K\0", "K\2K\3\x86", "K\1\x85")), FP4_ERR_FORMAT, "2 sizes and 1 strides"},
};

/* ---- the archive ---- */

/* A field of record number `which` of its kind gets another value. */
static const struct {
    const char *what, *record;
    size_t which, field, width;
    uint64_t value;
    bool wide;
    fp4_status status;
    const char *message;
} patches[] = {
    {"an entry beyond the file", "PK\1\2", 1, 24, 4, 0x7fffffff, false, FP4_ERR_FORMAT, "two sizes"},
    {"an entry beyond the data", "PK\1\2", 1, 42, 4, 0x7fffffff, false, FP4_ERR_FORMAT, "no local header"},
    {"no local header where it should be", "PK\1\2", 1, 42, 4, 3, false, FP4_ERR_FORMAT, "no local header"},
    {"another entry's header", "PK\1\2", 1, 42, 4, 0, false, FP4_ERR_FORMAT, "another name"},
    {"another name's length", "PK\3\4", 1, 26, 2, 1, false, FP4_ERR_FORMAT, "another name"},
    {"a local name that ends outside", "PK\3\4", 2, 26, 2, 65535, false, FP4_ERR_FORMAT, "lie outside"},
    {"a local extra field that ends outside", "PK\3\4", 2, 28, 2, 65535, false, FP4_ERR_FORMAT, "lie outside"},
    {"a compressed pickle", "PK\1\2", 0, 10, 2, 8, false, FP4_ERR_UNSUPPORTED, "m/data.pkl is compressed (method 8)"},
    {"compressed data", "PK\1\2", 1, 10, 2, 8, false, FP4_ERR_UNSUPPORTED, "m/data/0 is compressed"},
    {"an encrypted entry", "PK\1\2", 1, 8, 2, 1, false, FP4_ERR_UNSUPPORTED, "encrypted"},
    {"a name beyond the directory", "PK\1\2", 2, 28, 2, 65535, false, FP4_ERR_FORMAT, "beyond its end"},
    {"an empty name", "PK\1\2", 0, 28, 2, 0, false, FP4_ERR_FORMAT, "1 to 1024"},
    {"no record in the directory", "PK\1\2", 1, 0, 4, 0, false, FP4_ERR_FORMAT, "no entry of the ZIP directory"},
    {"more entries than said", "PK\5\6", 0, 8, 4, 0x00020002, false, FP4_ERR_FORMAT, "goes on"},
    {"many entries", "PK\5\6", 0, 8, 4, 0xfffefffe, false, FP4_ERR_FORMAT, "cannot be in a ZIP directory"},
    {"two parts", "PK\5\6", 0, 4, 2, 1, false, FP4_ERR_UNSUPPORTED, "several parts"},
    {"a directory beyond the file", "PK\5\6", 0, 16, 4, 0x7fffffff, false, FP4_ERR_FORMAT, "outside the file"},
    {"a directory longer than the file", "PK\5\6", 0, 12, 4, 0x7fffffff, false, FP4_ERR_FORMAT, "outside the file"},
    {"full fields without the 64-bit end", "PK\5\6", 0, 16, 4, UINT32_MAX, false, FP4_ERR_FORMAT, "outside the file"},
    {"a comment that is not there", "PK\5\6", 0, 20, 2, 7, false, FP4_ERR_FORMAT, "without its end"},
    {"a 64-bit end beyond the file", "PK\6\7", 0, 8, 8, UINT64_MAX, true, FP4_ERR_FORMAT, "64-bit end"},
    {"a 64-bit end at the start", "PK\6\7", 0, 8, 8, 0, true, FP4_ERR_FORMAT, "64-bit end"},
    {"a 64-bit directory beyond the file", "PK\6\6", 0, 48, 8, UINT64_MAX - 3, true, FP4_ERR_FORMAT, "outside the file"},
    {"a 64-bit directory that wraps around", "PK\6\6", 0, 40, 8, UINT64_MAX, true, FP4_ERR_FORMAT, "outside the file"},
    {"2^64 entries", "PK\6\6", 0, 32, 8, UINT64_MAX, true, FP4_ERR_UNSUPPORTED, "several parts"},
    {"ends that contradict", "PK\5\6", 0, 10, 2, 7, true, FP4_ERR_FORMAT, "contradict"},
    {"a 64-bit size that wraps around", "\1\0\30\0", 1, 4, 8, UINT64_MAX, true, FP4_ERR_FORMAT, "two sizes"},
    {"a 64-bit place that wraps around", "\1\0\30\0", 1, 20, 8, UINT64_MAX - 20, true, FP4_ERR_FORMAT, "no local header"},
    {"64-bit sizes of too few bytes", "\1\0\30\0", 1, 2, 2, 16, true, FP4_ERR_FORMAT, "64-bit sizes are missing"},
};

static uint8_t *find_record(const struct bytes *b, const char *record, size_t which) {
    for (size_t i = 0; i + 4 <= b->n; i++)
        if (memcmp(b->data + i, record, 4) == 0 && which-- == 0)
            return b->data + i;
    abort();
}

static struct bytes other_entries(const char *names) {
    struct seed_zip z = {0};
    for (const char *name = names; *name; name += strlen(name) + 1)
        seed_zip_add(&z, name, SEED_GOOD, sizeof SEED_GOOD - 1);
    return seed_zip_end(&z);
}

static struct bytes legacy(void) {
    struct bytes b = {0};
    put(&b, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.", 21);
    return b;
}

enum { N_FAULTS = sizeof faults / sizeof *faults, N_PATCHES = sizeof patches / sizeof *patches };

static bool archive_fault(size_t i, struct hostile_case *out) {
    static const char good[] = SEED_GOOD;
    switch (i) {
    case 0: *out = (struct hostile_case){"no data.pkl", other_entries("m/version\0"), FP4_ERR_FORMAT, "without NAME/data.pkl"}; return true;
    case 1: *out = (struct hostile_case){"data.pkl in no folder", other_entries("data.pkl\0"), FP4_ERR_FORMAT, "without NAME/data.pkl"}; return true;
    case 2: *out = (struct hostile_case){"two pickles", other_entries("m/data.pkl\0n/data.pkl\0"), FP4_ERR_FORMAT, "more than one"}; return true;
    case 3: *out = (struct hostile_case){"an entry twice", other_entries("m/data.pkl\0m/data.pkl\0"), FP4_ERR_FORMAT, "there twice"}; return true;
    case 4: *out = (struct hostile_case){"TorchScript", other_entries("m/data.pkl\0m/constants.pkl\0"), FP4_ERR_UNSUPPORTED, "TorchScript"}; return true;
    case 5: *out = (struct hostile_case){"big-endian", seed_torch(good, sizeof good - 1, "big", 24, false), FP4_ERR_UNSUPPORTED, "big-endian"}; return true;
    case 6: *out = (struct hostile_case){"no byte order", seed_torch(good, sizeof good - 1, "middle", 24, false), FP4_ERR_FORMAT, "byteorder"}; return true;
    case 7: *out = (struct hostile_case){"a shorter storage", seed_torch(good, sizeof good - 1, NULL, 23, false), FP4_ERR_FORMAT, "has 23 bytes"}; return true;
    case 8: *out = (struct hostile_case){"the old form", legacy(), FP4_ERR_UNSUPPORTED, "before 1.6"}; return true;
    default: return false;
    }
}

bool hostile_torch(size_t i, struct hostile_case *out) {
    static const char good[] = SEED_GOOD;
    if (i < N_FAULTS) {
        *out = (struct hostile_case){faults[i].what, seed_torch(faults[i].pickle, faults[i].n, "little", 24, i % 2), faults[i].status, faults[i].message};
        return true;
    }
    i -= N_FAULTS;
    if (i >= N_PATCHES)
        return archive_fault(i - N_PATCHES, out);
    *out = (struct hostile_case){patches[i].what, seed_torch(good, sizeof good - 1, NULL, 24, patches[i].wide), patches[i].status, patches[i].message};
    memcpy(find_record(&out->file, patches[i].record, patches[i].which) + patches[i].field, &patches[i].value, patches[i].width);
    return true;
}
