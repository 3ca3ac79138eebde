/* What a checkpoint is by its files: one file, a folder, a sharded folder; each file is read once. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "experiments/identity.h"
#include "tests/support.h"

static char folder[64] = "/tmp/fp4lab-identity-XXXXXX";
static const char *const names[] = {"a.safetensors", "b.safetensors", "model.safetensors", "model.safetensors.index.json"};

static const char *in_folder(const char *name) {
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof *paths, "%s/%s", folder, name);
    return path;
}
static void begin(void) { cr_assert_not_null(mkdtemp(folder)); }
static void end(void) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_folder(names[i]));
    rmdir(folder);
}

static void write_tensor(const char *file, const char *name, float value) {
    const struct fp4_tensor_out t = {name, FP4_F32, 1, {1}, &value};
    must(fp4_safetensors_write(in_folder(file), &t, 1));
}
static void write_index(void) {
    static const char text[] = "{\"weight_map\": {\"x\": \"a.safetensors\", \"y\": \"b.safetensors\"}}";
    must(fp4_write_file(in_folder("model.safetensors.index.json"), text, strlen(text)));
}
static size_t size_of(const char *name) {
    struct stat info;
    cr_assert_eq(stat(in_folder(name), &info), 0);
    return (size_t)info.st_size;
}

Test(identity, of_one_file_it_is_the_hash_of_the_file, .init = begin, .fini = end) {
    char file[65], of_folder[65], hash[65];
    size_t bytes[2];
    write_tensor("model.safetensors", "x", 1.0f);
    must(fp4_sha256_file(in_folder("model.safetensors"), hash));
    must(identity_of(in_folder("model.safetensors"), file, &bytes[0]));
    must(identity_of(folder, of_folder, &bytes[1]));
    cr_assert_str_eq(file, hash);
    cr_assert_str_eq(of_folder, hash);
    cr_assert(bytes[0] == size_of("model.safetensors") && bytes[1] == bytes[0]);
    cr_assert_eq(identity_of(in_folder("absent"), file, bytes), FP4_ERR_IO);
}

Test(identity, of_shards_all_files_count, .init = begin, .fini = end) {
    char all[3][65], before[65], after[65], expected[65];
    size_t bytes;
    write_tensor("a.safetensors", "x", 1.0f);
    write_tensor("b.safetensors", "y", 2.0f);
    write_index();
    must(fp4_sha256_file(in_folder("model.safetensors.index.json"), all[0]));
    must(fp4_sha256_file(in_folder("a.safetensors"), all[1]));
    must(fp4_sha256_file(in_folder("b.safetensors"), all[2]));
    must(fp4_sha256_buffer(all, sizeof all, expected));
    must(identity_of(folder, before, &bytes));
    cr_assert_str_eq(before, expected);
    cr_assert_eq(bytes, size_of(names[0]) + size_of(names[1]) + size_of(names[3]));
    write_tensor("b.safetensors", "y", 3.0f); /* the index is the same */
    must(identity_of(folder, after, &bytes));
    cr_assert_str_neq(after, before);
}

/* A file with the size, place and time of the one that was hashed counts as that; with another time it is read again. */
Test(identity, a_file_is_read_once, .init = begin, .fini = end) {
    char first[65], second[65], third[65];
    struct timespec times[2];
    struct stat info;
    size_t bytes;
    write_tensor("model.safetensors", "x", 1.0f);
    must(identity_of(folder, first, &bytes));
    cr_assert_eq(stat(in_folder("model.safetensors"), &info), 0);
    times[0] = info.st_atim;
    times[1] = info.st_mtim;
    int fd = open(in_folder("model.safetensors"), O_WRONLY);
    cr_assert(fd >= 0 && pwrite(fd, "\1", 1, info.st_size - 1) == 1);
    cr_assert_eq(futimens(fd, times), 0);
    must(identity_of(folder, second, &bytes));
    cr_assert_str_eq(second, first);
    times[1].tv_sec++;
    cr_assert_eq(futimens(fd, times), 0);
    close(fd);
    must(identity_of(folder, third, &bytes));
    cr_assert_str_neq(third, first);
}
