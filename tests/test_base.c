/* The ground floor: status, sizes, memory, Philox, parallel loops, hashes, files. */
#include "tests/folders.h"
#include "tests/program.h"
#include "tests/support.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

Test(base, sizes_are_checked) {
    size_t out = 7;
    cr_assert(fp4_size_mul(3, 5, &out));
    cr_assert_eq(out, 15);
    cr_assert_not(fp4_size_mul(SIZE_MAX / 2, 3, &out));
    cr_assert_not(fp4_size_add(SIZE_MAX, 1, &out));
    cr_assert_eq(out, 15, "a failed operation leaves its result alone");
}

Test(base, allocation_overflow_is_an_error) {
    double *p = NULL;
    cr_assert_eq(FP4_NEW(p, SIZE_MAX / 4), FP4_ERR_MEMORY);
    cr_assert_null(p);
}

Test(base, messages_escape_control_characters) {
    cr_assert_eq(fp4_fail(FP4_ERR_FORMAT, "%s: bad", "a\x1b[31mb\n"), FP4_ERR_FORMAT);
    cr_assert_str_eq(fp4_last_error(), "a\\x1b[31mb\\x0a: bad");
    /* next line (C1), right-to-left override, line separator, a code point that is none, broken UTF-8; letters of every script stay */
    fp4_fail(FP4_ERR_FORMAT, "%s", "\xc2\x85\xe2\x80\xae\xe2\x80\xa8\xf3\xa0\x80\x81\xff\xc3 gr\xc3\xbc\xc3\x9f \xe4\xb8\xad \xf0\x9f\x99\x82");
    cr_assert_str_eq(fp4_last_error(), "\\u0085\\u202e\\u2028\\U000e0001\\xff\\xc3 gr\xc3\xbc\xc3\x9f \xe4\xb8\xad \xf0\x9f\x99\x82");
}

/* Known answers of Random123's kat_vectors for philox4x32, 10 rounds. */
Test(base, philox_known_answers) {
    const uint32_t zero[4] = {0, 0, 0, 0}, key0[2] = {0, 0}, want0[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    const uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, key1[2] = {0xa4093822, 0x299f31d0};
    const uint32_t want1[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    uint32_t got[4];
    fp4_philox4x32(zero, key0, 10, got);
    cr_assert_arr_eq(got, want0, sizeof got);
    fp4_philox4x32(pi, key1, 10, got);
    cr_assert_arr_eq(got, want1, sizeof got);
}

Test(base, random_numbers_depend_on_their_address_alone) {
    struct fp4_random r = {.seed = 3, .stream = FP4_STREAM_TEST, .step = 1, .layer = 2, .operand = 5};
    float whole[1000], piece[1000];
    fp4_random_uniform(&r, 0, 1000, whole);
    for (size_t first = 0; first < 1000; first += 7)
        fp4_random_uniform(&r, first, first + 7 <= 1000 ? 7 : 1000 - first, piece + first);
    cr_assert_arr_eq(whole, piece, sizeof whole);
    r.operand = 6;
    fp4_random_uniform(&r, 0, 1000, piece);
    size_t equal = 0;
    for (size_t i = 0; i < 1000; i++)
        equal += whole[i] == piece[i];
    cr_assert_lt(equal, 5, "another address, other numbers");
}

static void square(void *context, size_t task) { ((size_t *)context)[task] = task * task; }

/* Element e of an address is lane e mod 4 of the ten-round block whose counter is (e/4, step, layer, operand). */
Test(base, every_part_of_an_address_counts) {
    const struct fp4_random r = {.seed = 7, .stream = FP4_STREAM_TEST, .step = 3, .layer = 5, .operand = 2};
    const uint32_t key[2] = {r.seed, r.stream};
    uint32_t word[8];
    fp4_random_words(&r, 0, 8, word);
    for (uint32_t e = 0; e < 8; e++) {
        const uint32_t counter[4] = {e / 4, r.step, r.layer, r.operand};
        uint32_t block[4];
        fp4_philox4x32(counter, key, 10, block);
        cr_assert_eq(word[e], block[e % 4]);
    }
}

Test(base, parallel_loops_run_every_task_once) {
    for (int threads = 1; threads <= 7; threads++) {
        size_t out[101] = {0};
        fp4_set_threads(threads);
        fp4_parallel_for(101, square, out);
        for (size_t i = 0; i < 101; i++)
            cr_assert_eq(out[i], i * i);
    }
}

struct slots {
    atomic_int in_use[16];
    atomic_int clashes, beyond;
};
static void use_slot(void *context, size_t task) {
    struct slots *s = context;
    int slot = fp4_parallel_slot();
    if (slot < 0 || slot >= fp4_threads()) {
        atomic_fetch_add(&s->beyond, 1);
        return;
    }
    if (atomic_fetch_add(&s->in_use[slot], 1) != 0)
        atomic_fetch_add(&s->clashes, 1);
    for (volatile size_t i = 0; i < 100 * (task % 7); i++)
        ;
    atomic_fetch_sub(&s->in_use[slot], 1);
}

Test(base, tasks_at_the_same_time_have_slots_of_their_own) {
    static struct slots s;
    for (int n = 1; n <= 7; n += 2) {
        fp4_set_threads(n);
        for (int loop = 0; loop < 300; loop++)
            fp4_parallel_for(20, use_slot, &s);
    }
    cr_assert_eq(atomic_load(&s.clashes), 0);
    cr_assert_eq(atomic_load(&s.beyond), 0);
}

Test(base, sha256_of_abc) { /* FIPS 180-2, appendix B.1 */
    char hex[65];
    must(fp4_sha256_buffer("abc", 3, hex));
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void on_lost_map(const char *message) {
    dprintf(STDERR_FILENO, "reader: %s\n", message);
    _exit(2);
}

/* A child reads a map whose file has shrunk to a page: the page that is left, then one that is gone. */
static void read_beyond(const char *path, bool program, int err) {
    struct fp4_map map;
    dup2(err, STDERR_FILENO);
    if (program)
        fp4_catch_lost_maps(on_lost_map);
    else
        signal(SIGBUS, SIG_DFL); /* sanitizers have a handler of their own */
    if (fp4_map_open(path, &map) != FP4_OK || truncate(path, sysconf(_SC_PAGESIZE)) != 0)
        _exit(90);
    int seen = ((volatile const uint8_t *)map.data)[0];
    seen += ((volatile const uint8_t *)map.data)[map.size - 1];
    _exit(91 + (seen > 0));
}

Test(base, map_of_a_file_that_is_cut_short) {
    char folder[FOLDER_MAX];
    folder_make(folder);
    for (int program = 0; program < 2; program++) {
        int err = scratch_file(), status;
        size_t n = 5 * (size_t)sysconf(_SC_PAGESIZE);
        char *pages;
        must(FP4_NEW(pages, n));
        const char *path = folder_file(folder, "cut\n\xe2\x80\xae.gguf");
        must(fp4_write_file(path, pages, n));
        fp4_free(pages);
        pid_t pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0)
            read_beyond(path, program, err);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        char *said = slurp(err);
        if (program) {
            cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 2, "status %x: %s", status, said);
            cr_assert(strncmp(said, "reader: /", 9) == 0 && strstr(said, "/cut\\012\\u202e.gguf: cut short") && strchr(said, '\n') == said + strlen(said) - 1,
                      "%s", said);
        } else {
            cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "this file does not show what it should: status %x", status);
        }
        free(said);
    }
}

/* Not every bus error is a file's. */
Test(base, other_bus_errors_stay_crashes, .signal = SIGBUS) {
    fp4_catch_lost_maps(on_lost_map);
    raise(SIGBUS);
}

Test(base, files_are_written_whole_and_folders_refused) {
    char folder[FOLDER_MAX], *text;
    size_t size;
    folder_make(folder);
    const char *path = folder_file(folder, "a");
    must(fp4_write_file(path, "hello", 5));
    must(fp4_read_file(path, 100, &text, &size));
    cr_assert_eq(size, 5);
    cr_assert_str_eq(text, "hello");
    fp4_free(text);
    cr_assert_eq(fp4_read_file(path, 4, &text, &size), FP4_ERR_FORMAT);
    struct fp4_map map;
    cr_assert_eq(fp4_map_open(folder, &map), FP4_ERR_IO);
    unlink(path);
    struct stat there; /* a pipe stays one: nothing is renamed over it, or over a device */
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(fp4_write_file(path, "hello", 5), FP4_ERR_IO);
    cr_assert_not_null(strstr(fp4_last_error(), "not a regular file"), "%s", fp4_last_error());
    cr_assert(stat(path, &there) == 0 && S_ISFIFO(there.st_mode));
}

Test(base, a_list_grows_by_doubling_and_keeps_what_it_holds) {
    uint32_t *list = NULL;
    size_t room = 0, grown = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        size_t before = room;
        must(FP4_RESERVE(list, i, i + 1, &room));
        cr_assert_geq(room, (size_t)i + 1);
        cr_assert(room == before || room >= 2 * before, "from %zu to %zu", before, room);
        grown += room != before;
        list[i] = i;
    }
    cr_assert_leq(grown, 13, "it grew %zu times", grown); /* 2^13 > 5000 */
    for (uint32_t i = 0; i < 5000; i++)
        cr_assert_eq(list[i], i);
    cr_assert_eq(FP4_RESERVE(list, 5000, SIZE_MAX / 2, &room), FP4_ERR_MEMORY);
    cr_assert_eq(list[4999], 4999, "a failure leaves the list as it was");
    fp4_free(list);
}
