/* fp4lab/base.h: the ground floor. Status codes with a message, checked sizes, aligned memory, addressed
 * random numbers, parallel loops, hashes, progress, files. Includes nothing of the floors above.
 *
 * Conventions of the whole library: a function that can fail returns fp4_status; the message of the last
 * failure of the calling thread is in fp4_last_error(). The library never exits, prints (but for progress)
 * or aborts. Tensors are row-major float unless said otherwise; sizes are in elements unless said otherwise. */
#ifndef FP4LAB_BASE_H
#define FP4LAB_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FP4_VERSION "0.1.0"

/* Numbered with gaps so that codes can be added between families. */
typedef enum fp4_status {
    FP4_OK = 0,
    FP4_ERR_IO = 10,          /* the operating system said no: open, read, write, map */
    FP4_ERR_FORMAT = 20,      /* a file does not hold what its type promises */
    FP4_ERR_UNSUPPORTED = 30, /* understood, and not implemented: names the field */
    FP4_ERR_ARG = 40,         /* a caller's or user's value is out of range */
    FP4_ERR_MEMORY = 50,
    FP4_ERR_NUMERIC = 60 /* NaN or infinity where a finite number is needed */
} fp4_status;

/* Records a printf-style message for this thread and returns `status`, so that `return fp4_fail(...)` reads
 * well. Control characters in the message are escaped (names come from untrusted files). */
fp4_status fp4_fail(fp4_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The message of this thread's last failure; never NULL. "file: what is wrong; what to do". */
const char *fp4_last_error(void);
/* The first code point of text (n ≥ 1 bytes) as it may be printed, zero-terminated in out: itself, or \xNN, \uNNNN or \UNNNNNNNN for control
 * characters (C0, DEL, C1), what reverses or hides text, line separators and unassigned ones; a byte of broken UTF-8 is \xNN. Returns the bytes
 * read. Messages of fp4_fail have been through it. */
enum { FP4_ESCAPED = 12 };
size_t fp4_escape(const char *text, size_t n, char out[FP4_ESCAPED]);
/* All of a text, cut where out [size] is full. Returns out. */
const char *fp4_escape_text(const char *text, char *out, size_t size);

/* What the user should know and what is no failure ("file: tensor x: 3 of 4096 values are NaN or infinite"): goes, escaped like an error, to
 * the program's handler, one message at a time from whatever thread; without a handler it is dropped. */
void fp4_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fp4_set_warning_handler(void (*handler)(void *context, const char *message), void *context);

/* Propagates a failure: FP4_TRY(fp4_something(...)); */
#define FP4_TRY(expression)                    \
    do {                                       \
        fp4_status try_status_ = (expression); \
        if (try_status_ != FP4_OK)             \
            return try_status_;                \
    } while (0)

/* ---- checked sizes: the only place where sizes that come from a file are multiplied or added ---- */

/* *out = a·b (a+b); false, and *out untouched, on overflow. */
bool fp4_size_mul(size_t a, size_t b, size_t *out);
bool fp4_size_add(size_t a, size_t b, size_t *out);

/* ---- memory ---- */

/* n·size bytes, zeroed, aligned to 64 bytes; *out = NULL and FP4_ERR_MEMORY on overflow or no memory.
 * n·size == 0 gives a valid pointer. Every allocation of the library goes through here. */
fp4_status fp4_alloc(size_t n, size_t size, void **out);
/* Same, typed: float *x; FP4_TRY(FP4_NEW(x, n)); */
#define FP4_NEW(pointer, n) fp4_alloc((n), sizeof *(pointer), (void **)&(pointer))
/* Room for `want` items of `size` bytes in a list that has room for *room and holds `used`, which are kept: where it is too short, at least
 * twice as much. *list = NULL with *room = 0 is an empty list. After a failure the list is as it was. */
fp4_status fp4_reserve(void **list, size_t used, size_t want, size_t size, size_t *room);
#define FP4_RESERVE(pointer, used, want, room) fp4_reserve((void **)&(pointer), (used), (want), sizeof *(pointer), (room))
/* free() under its own name; NULL is fine. */
void fp4_free(void *p);
/* A copy of a string (FP4_ERR_MEMORY). */
fp4_status fp4_strdup(const char *s, char **out);

/* ---- randomness: addressed, not streamed ----
 * Philox4x32-10 (Salmon et al., SC 2011). The key is (seed, stream); the counter is (element/4, step, layer,
 * operand); element e takes lane e mod 4. So a number depends on its address alone: not on the order in
 * which it is asked for, on threads, or on what a resumed run has done before. */

void fp4_philox4x32(const uint32_t counter[4], const uint32_t key[2], int rounds, uint32_t result[4]);

/* Streams keep uses apart; one enumerator per use in the whole program. */
enum fp4_stream {
    FP4_STREAM_INIT = 1,    /* initial weights */
    FP4_STREAM_ROUND = 2,   /* stochastic rounding */
    FP4_STREAM_DROPOUT = 3, /* dropout masks */
    FP4_STREAM_SAMPLE = 4,  /* token sampling */
    FP4_STREAM_PERTURB = 5, /* embedding perturbation of replicates */
    FP4_STREAM_CORPUS = 6,  /* the generated corpus */
    FP4_STREAM_ORDER = 7,   /* data order */
    FP4_STREAM_HADAMARD = 8,/* signs of random Hadamard transforms */
    FP4_STREAM_TEST = 9,
    FP4_STREAM_BOOTSTRAP = 10
};

struct fp4_random {
    uint32_t seed, stream;         /* key */
    uint32_t step, layer, operand; /* counter words 1 to 3 */
};

/* u[i] = (word ≫ 8)·2⁻²⁴ in [0, 1) of elements first … first+n−1. Any split of a range gives the same numbers. */
void fp4_random_uniform(const struct fp4_random *r, uint64_t first, size_t n, float *u);
/* The raw 32-bit words of the same elements. */
void fp4_random_words(const struct fp4_random *r, uint64_t first, size_t n, uint32_t *w);
/* Standard normal, Box–Muller on the uniforms of elements 2i and 2i+1. */
void fp4_random_normal(const struct fp4_random *r, uint64_t first, size_t n, float *z);

/* ---- parallel loops ---- */

/* Number of threads used by fp4_parallel_for; n ≤ 0: the number of online CPUs. */
void fp4_set_threads(int n);
int fp4_threads(void);
/* Calls body(context, task) for every task in 0 … n_tasks−1, in any order, on fp4_threads() threads. The caller
 * cuts work into tasks by its shape alone, never by the thread count, and sums partial results in task
 * order: that is what makes results equal for any number of threads. Nested calls run in the calling thread. */
void fp4_parallel_for(size_t n_tasks, void (*body)(void *context, size_t task), void *context);
/* Within a body: 0 … fp4_threads() − 1, different for tasks that run at the same time. For scratch memory only: results must not depend on it. */
int fp4_parallel_slot(void);

/* ---- hashes ---- */

struct fp4_sha256 {
    void *state; /* libcrypto's context */
};
fp4_status fp4_sha256_begin(struct fp4_sha256 *h);
void fp4_sha256_update(struct fp4_sha256 *h, const void *data, size_t bytes);
/* Writes 64 lower-case hex digits and a zero, and frees the state. */
void fp4_sha256_end(struct fp4_sha256 *h, char hex[65]);
/* Of a buffer; of a file. */
fp4_status fp4_sha256_buffer(const void *data, size_t bytes, char hex[65]);
fp4_status fp4_sha256_file(const char *path, char hex[65]);

/* ---- files ---- */

/* A read-only memory map of a regular file. Refuses folders, pipes and devices. An empty file has data = "" and size 0.
 * To read where the file has been cut short since then is SIGBUS (mmap(2)). */
struct fp4_map {
    const uint8_t *data;
    size_t size;
};
fp4_status fp4_map_open(const char *path, struct fp4_map *out);
void fp4_map_close(struct fp4_map *map);
/* For the start of a program: where it would end by SIGBUS because a mapped file was cut short or its disk failed, `lost` is called in the thread that
 * reads, with a message that names the file. It writes it to a file descriptor, not a stream, and ends the program by _exit(2); if it returns, the signal does. */
void fp4_catch_lost_maps(void (*lost)(const char *message));
/* The whole of a file into memory, zero-terminated; more than `limit` bytes is an error. */
fp4_status fp4_read_file(const char *path, size_t limit, char **text, size_t *size);
/* Writes through a temporary file in the same folder, fsync and rename: the name appears whole or not at all. */
fp4_status fp4_write_file(const char *path, const void *data, size_t bytes);
/* Same, piece by piece. bytes: of the whole file where that is known, else 0; a disk with less room is FP4_ERR_IO before anything is written.
 * Commit gives the file its name, abandon leaves nothing behind (NULL is fine); either frees the writer, and so does a failed commit. */
struct fp4_writer;
fp4_status fp4_writer_open(const char *path, uint64_t bytes, struct fp4_writer **out);
fp4_status fp4_writer_put(struct fp4_writer *w, const void *data, size_t bytes);
fp4_status fp4_writer_commit(struct fp4_writer *w);
void fp4_writer_abandon(struct fp4_writer *w);
/* The check for room alone, for several files in a folder that is there. What it knows is an estimate: other programs write too. */
fp4_status fp4_disk_room(const char *folder, uint64_t bytes);
/* mkdir -p. */
fp4_status fp4_make_dirs(const char *path);
/* For the start of a program: standard input, output or error that the caller has closed becomes a file that can be neither read nor written, so that no
 * file which the program opens takes its number, and with it the program's messages. */
void fp4_hold_standard_files(void);

/* ---- progress: stderr, only when it is a terminal ---- */

struct fp4_progress {
    const char *label;
    double total, start, last_drawn;
    bool on;
};
void fp4_progress_begin(struct fp4_progress *p, const char *label, double total);
void fp4_progress_update(struct fp4_progress *p, double done);
void fp4_progress_end(struct fp4_progress *p);

/* Seconds of a monotonic clock. */
double fp4_now(void);
/* Largest resident set, bytes, of the process so far or since the last reset; a reset that the kernel refuses is silent. */
size_t fp4_peak_rss(void);
void fp4_reset_peak_rss(void);
/* Bytes that this process can still take without swapping: the kernel's MemAvailable, what is left below the limits of its control
 * groups, or $FP4LAB_MEMORY (bytes) where that is less. SIZE_MAX when nothing is known. */
size_t fp4_memory_available(void);

#endif
