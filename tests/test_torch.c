/* Checkpoints of torch.save: made by hand, broken in every way, and made by torch itself when Python has it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "experiments/identity.h"
#include "lib/io/checkpoint.h"
#include "tests/folders.h"
#include "tests/fuzz/seeds.h"
#include "tests/fuzz/seeds_torch.h"
#include "tests/hostile.h"
#include "tests/subject.h"
#include "tests/support.h"

static const char good[] = SEED_GOOD;

static struct bytes seed(const char *wanted) {
    struct bytes b = {0};
    char name[64];
    for (size_t i = 0; fuzz_seed("torch", i, &b, name) && strcmp(name, wanted) != 0; i++) {
        free(b.data);
        b = (struct bytes){0};
    }
    cr_assert_not_null(b.data, "%s", wanted);
    return b;
}

/* ---- made by hand ---- */

/* Values of the storage's bytes 37·i, as the type says. */
static void check_tensor(const struct fp4_checkpoint *c, const char *name, const char *type, size_t elements, size_t first_byte) {
    const struct fp4_stored *t = fp4_checkpoint_find(c, name);
    cr_assert_not_null(t, "%s", name);
    cr_assert_str_eq(t->type_name, type);
    cr_assert_eq(t->elements, elements);
    for (size_t i = 0; i < t->bytes; i++)
        cr_assert_eq(t->data[i], (uint8_t)((first_byte + i) * 37), "%s: byte %zu", name, i);
}

Test(torch, a_state_dict_with_shared_storages_views_and_other_values) {
    struct bytes b = seed("state_dict.bin");
    struct fp4_checkpoint *c;
    must(io_checkpoint_parse("seed", b.data, b.n, &c));
    cr_assert_str_eq(fp4_checkpoint_kind(c), "pytorch");
    cr_assert_eq(fp4_checkpoint_count(c), 5);
    check_tensor(c, "a", "F16", 24, 0);
    check_tensor(c, "t", "F16", 24, 0);
    check_tensor(c, "v", "F16", 12, 24);
    check_tensor(c, "s", "F16", 1, 10);
    check_tensor(c, "p", "F16", 24, 0);
    const struct fp4_stored *a = fp4_checkpoint_find(c, "a"), *s = fp4_checkpoint_find(c, "s");
    cr_assert(a->n_dims == 3 && a->shape[0] == 2 && a->shape[1] == 3 && a->shape[2] == 4);
    cr_assert(s->n_dims == 0 && a->data == fp4_checkpoint_find(c, "t")->data);
    cr_assert_eq(a->data - b.data, (ptrdiff_t)a->offset);
    fp4_checkpoint_close(c);
    free(b.data);
}

Test(torch, element_types) {
    static const char *const types[] = {"F32", "F16", "BF16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL"};
    static const char *const torch[] = {"Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool"};
    static const size_t width[] = {4, 2, 2, 8, 8, 4, 2, 1, 1, 1};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct bytes pickle = {0};
#define PUT(text) put(&pickle, text, sizeof text - 1)
        PUT(SEED_DICT SEED_KEY("a") "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n");
        put(&pickle, torch[i], strlen(torch[i]));
        PUT("Storage\n" SEED_KEY("0") "X\3\0\0\0" "cpuK\3tQK\1K\2\x85K\1\x85\x89" "ccollections\nOrderedDict\n)RtR" SEED_END);
#undef PUT
        struct bytes b = seed_torch(pickle.data, pickle.n, "little", 3 * width[i], i % 2);
        struct fp4_checkpoint *c;
        must(io_checkpoint_parse("seed", b.data, b.n, &c));
        check_tensor(c, "a", types[i], 2, width[i]);
        cr_assert_eq(fp4_checkpoint_find(c, "a")->bytes, 2 * width[i]);
        fp4_checkpoint_close(c);
        free(pickle.data);
        free(b.data);
    }
}

/* ---- broken ---- */

Test(torch, no_truncation_opens) {
    static const char *const names[] = {"floats.bin", "state_dict.bin"};
    for (size_t i = 0; i < 2; i++) {
        struct bytes b = seed(names[i]);
        cr_assert_eq(hostile_open("hostile.bin", &b, b.n), FP4_OK, "%s", fp4_last_error());
        for (size_t n = 0; n < b.n; n++) {
            cr_assert_neq(hostile_open("hostile.bin", &b, n), FP4_OK, "%zu bytes of %zu", n, b.n);
            cr_assert_eq(strncmp(fp4_last_error(), "hostile.bin: ", 13), 0, "%s", fp4_last_error());
        }
        free(b.data);
    }
}

/* Whatever one bit does, what opens can be read through. */
Test(torch, changed_bits_never_crash) {
    struct bytes b = seed("state_dict.bin");
    size_t refused = 0;
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        refused += hostile_open("hostile.bin", &b, b.n) != FP4_OK;
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_assert_gt(refused, b.n, "most changes of pickle and directory are noticed");
    free(b.data);
}

Test(torch, table_of_faults) { cr_assert_gt(hostile_table("torch", "hostile.bin"), 100); }

/* Opcodes repeated until a recursive or quadratic reader would notice. */
Test(torch, deep_and_long_pickles) {
    static const char *const opcodes[] = {"]", "(", "}", ")", "N", "\x85", "](e", "K\1", "(t"};
    enum { REPEATS = 300000 };
    for (size_t i = 0; i < sizeof opcodes / sizeof *opcodes; i++) {
        struct bytes pickle = {0};
        size_t n = strlen(opcodes[i]);
        put(&pickle, "\x80\x02}", 3);
        pickle.data = realloc(pickle.data, 3 + n * REPEATS + 1);
        cr_assert_not_null(pickle.data);
        for (size_t k = 0; k < REPEATS; k++)
            memcpy(pickle.data + 3 + k * n, opcodes[i], n);
        pickle.n = 3 + n * REPEATS;
        put(&pickle, ".", 1);
        struct bytes b = seed_torch(pickle.data, pickle.n, NULL, 0, false);
        double began = fp4_now();
        cr_assert_neq(hostile_open("hostile.bin", &b, b.n), FP4_OK, "%s", opcodes[i]);
        cr_assert_lt(fp4_now() - began, 20, "%s", opcodes[i]);
        free(pickle.data);
        free(b.data);
    }
}

/* ---- folders ---- */

static void write_seed(const char *folder, const char *name, const char *letter, bool wide) {
    struct bytes pickle = {0};
    put(&pickle, good, sizeof good - 1);
    for (size_t i = 0; i + 6 <= pickle.n; i++)
        if (memcmp(pickle.data + i, SEED_KEY("a"), 6) == 0)
            pickle.data[i + 5] = (uint8_t)*letter;
    struct bytes b = seed_torch(pickle.data, pickle.n, NULL, 24, wide);
    must(fp4_write_file(folder_file(folder, name), b.data, b.n));
    free(pickle.data);
    free(b.data);
}

static const char *kind_of(const char *folder, size_t tensors) {
    static const char *const kinds[] = {"pytorch", "safetensors"};
    struct fp4_checkpoint *c;
    must(fp4_checkpoint_open(folder, &c));
    cr_assert_eq(fp4_checkpoint_count(c), tensors);
    const char *kind = kinds[strcmp(fp4_checkpoint_kind(c), kinds[0]) != 0];
    cr_assert_str_eq(fp4_checkpoint_kind(c), kind);
    fp4_checkpoint_close(c);
    return kind;
}

Test(torch, folders_shards_and_identity) {
    static const char index[] = "{\"weight_map\": {\"x\": \"a.bin\", \"y\": \"b.bin\"}}", mixed[] = "{\"weight_map\": {\"x\": \"a.bin\", \"z\": \"c.bin\"}}";
    char folder[FOLDER_MAX], whole[65], hex[65], other[65];
    size_t bytes;
    struct fp4_checkpoint *c;
    const float z = 1;
    folder_make(folder);
    cr_assert_eq(fp4_checkpoint_open(folder, &c), FP4_ERR_IO);
    write_seed(folder, "a.bin", "x", false);
    write_seed(folder, "b.bin", "y", true);
    must(fp4_write_file(folder_file(folder, "pytorch_model.bin.index.json"), index, strlen(index)));
    cr_assert_str_eq(kind_of(folder, 2), "pytorch");
    must(identity_of(folder, hex, &bytes));
    write_seed(folder, "b.bin", "y", false);
    must(identity_of(folder, other, &bytes));
    cr_assert_str_neq(hex, other, "a shard counts");

    must(fp4_safetensors_write(folder_file(folder, "c.bin"), &(struct fp4_tensor_out){"z", FP4_F32, 1, {1}, &z}, 1));
    must(fp4_write_file(folder_file(folder, "pytorch_model.bin.index.json"), mixed, strlen(mixed)));
    cr_assert_eq(fp4_checkpoint_open(folder, &c), FP4_ERR_FORMAT);
    cr_assert_not_null(strstr(fp4_last_error(), "a safetensors file among pytorch files"), "%s", fp4_last_error());

    write_seed(folder, "pytorch_model.bin", "w", true);
    cr_assert_str_eq(kind_of(folder, 1), "pytorch");
    must(identity_of(folder, hex, &bytes));
    must(fp4_sha256_file(folder_file(folder, "pytorch_model.bin"), whole));
    cr_assert_str_eq(hex, whole);
    must(fp4_safetensors_write(folder_file(folder, "model.safetensors"), &(struct fp4_tensor_out){"z", FP4_F32, 1, {1}, &z}, 1));
    cr_assert_str_eq(kind_of(folder, 1), "safetensors", "safetensors come first");
}

/* ---- torch itself ---- */

static void check_line(const struct fp4_checkpoint *c, char *line) {
    char name[32], type[8], shape[32], hash[65], ours[65], text[64] = "";
    cr_assert_eq(sscanf(line, "%31s %7s %31s %64s", name, type, shape, hash), 4, "%s", line);
    const struct fp4_stored *t = fp4_checkpoint_find(c, name);
    cr_assert_not_null(t, "%s", name);
    for (int i = 0; i < t->n_dims; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%zu", i ? "x" : "", t->shape[i]);
    must(fp4_sha256_buffer(t->data, t->bytes, ours));
    cr_assert(strcmp(t->type_name, type) == 0 && strcmp(*text ? text : "-", shape) == 0, "%s: %s %s", name, t->type_name, text);
    cr_assert_str_eq(ours, hash, "%s", name);
}

static void check_refused(const char *folder, const char *file, const char *message) {
    struct fp4_checkpoint *c;
    cr_assert_eq(fp4_checkpoint_open(folder_file(folder, file), &c), FP4_ERR_UNSUPPORTED, "%s", file);
    cr_assert_not_null(strstr(fp4_last_error(), message), "%s: %s", file, fp4_last_error());
}

static void copy_file(const char *from, const char *to) {
    char *text;
    size_t n;
    must(fp4_read_file(from, (size_t)1 << 26, &text, &n));
    must(fp4_write_file(to, text, n));
    fp4_free(text);
}

/* The model of golden/models, its weights saved by torch: the same parameters bit for bit, and the reference's logits. */
static void check_model(const char *folder) {
    static const char *const names[] = {"config.json", "golden.safetensors", "deviations.json"};
    char golden[3][256];
    struct subject s;
    struct fp4_model *m;
    for (size_t i = 0; i < 3; i++) {
        snprintf(golden[i], sizeof *golden, "models/opt-tiny/%s", names[i]);
        copy_file(golden_file(golden[i]), folder_file(folder, names[i]));
    }
    subject_open(&s, folder);
    subject_logits(&s, s.m, "");
    snprintf(golden[0], sizeof *golden, "%s/models/opt-tiny", golden_folder());
    must(fp4_model_load(golden[0], fp4_backend_cpu(), &m));
    char theirs[65], ours[65];
    must(fp4_model_hash(m, theirs));
    must(fp4_model_hash(s.m, ours));
    cr_assert_str_eq(ours, theirs);
    fp4_model_free(m);
    subject_close(&s);
}

Test(torch, what_torch_itself_saves, .timeout = 300) {
    char folder[FOLDER_MAX], model[256] = "";
    struct fp4_checkpoint *c;
    struct stat info;
    size_t lines = 0;
    folder_make(folder);
    if (golden_folder())
        snprintf(model, sizeof model, "%s/models/opt-tiny/model.safetensors", golden_folder());
    bool there = *model && stat(model, &info) == 0;
    char *text = python_output("torch", "torch_checkpoints.py", (const char *[]){folder, there ? model : NULL, NULL});
    must(fp4_checkpoint_open(folder_file(folder, "types.bin"), &c));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
        check_line(c, line);
    cr_assert_eq(lines, fp4_checkpoint_count(c));
    fp4_checkpoint_close(c);
    check_refused(folder, "legacy.bin", "before 1.6");
    check_refused(folder, "module.bin", "torch.nn.modules.linear.Linear");
    check_refused(folder, "strided.bin", "tensor a: not contiguous");
    check_refused(folder, "nested.bin", "its entry \"model\"");
    if (there)
        check_model(folder);
    free(text);
}
