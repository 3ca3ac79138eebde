/* What a checkpoint is by its files: one file, a folder, a sharded folder; each file is read once. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "experiments/identity.h"
#include "tests/folders.h"
#include "tests/support.h"

static char folder[FOLDER_MAX];

static void begin(void) { folder_make(folder); }
TestSuite(identity, .init = begin);

static void write_tensor(const char *file, const char *name, float value) {
    const struct fp4_tensor_out t = {name, FP4_F32, 1, {1}, &value};
    must(fp4_safetensors_write(folder_file(folder, file), &t, 1));
}
static void write_index(void) {
    static const char text[] = "{\"weight_map\": {\"x\": \"a.safetensors\", \"y\": \"b.safetensors\"}}";
    must(fp4_write_file(folder_file(folder, "model.safetensors.index.json"), text, strlen(text)));
}
static size_t size_of(const char *name) {
    struct stat info;
    cr_assert_eq(stat(folder_file(folder, name), &info), 0);
    return (size_t)info.st_size;
}

Test(identity, of_one_file_it_is_the_hash_of_the_file) {
    char file[65], of_folder[65], hash[65];
    size_t bytes[2];
    write_tensor("model.safetensors", "x", 1.0f);
    must(fp4_sha256_file(folder_file(folder, "model.safetensors"), hash));
    must(identity_of(folder_file(folder, "model.safetensors"), file, &bytes[0]));
    must(identity_of(folder, of_folder, &bytes[1]));
    cr_assert_str_eq(file, hash);
    cr_assert_str_eq(of_folder, hash);
    cr_assert(bytes[0] == size_of("model.safetensors") && bytes[1] == bytes[0]);
    cr_assert_eq(identity_of(folder_file(folder, "absent"), file, bytes), FP4_ERR_IO);
}

Test(identity, of_shards_all_files_count) {
    char all[3][65], before[65], after[65], expected[65];
    size_t bytes;
    write_tensor("a.safetensors", "x", 1.0f);
    write_tensor("b.safetensors", "y", 2.0f);
    write_index();
    must(fp4_sha256_file(folder_file(folder, "model.safetensors.index.json"), all[0]));
    must(fp4_sha256_file(folder_file(folder, "a.safetensors"), all[1]));
    must(fp4_sha256_file(folder_file(folder, "b.safetensors"), all[2]));
    must(fp4_sha256_buffer(all, sizeof all, expected));
    must(identity_of(folder, before, &bytes));
    cr_assert_str_eq(before, expected);
    cr_assert_eq(bytes, size_of("a.safetensors") + size_of("b.safetensors") + size_of("model.safetensors.index.json"));
    write_tensor("b.safetensors", "y", 3.0f); /* the index is the same */
    must(identity_of(folder, after, &bytes));
    cr_assert_str_neq(after, before);
}

/* A file with the size, place and time of the one that was hashed counts as that; with another time it is read again. */
Test(identity, a_file_is_read_once) {
    char first[65], second[65], third[65];
    struct timespec times[2];
    struct stat info;
    size_t bytes;
    write_tensor("model.safetensors", "x", 1.0f);
    must(identity_of(folder, first, &bytes));
    cr_assert_eq(stat(folder_file(folder, "model.safetensors"), &info), 0);
    times[0] = info.st_atim;
    times[1] = info.st_mtim;
    int fd = open(folder_file(folder, "model.safetensors"), O_WRONLY);
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
