/* Jansson without its silent failures. */
#include "lib/base/json.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/memory.h"

static const char STARVED[] = "out of memory";

static json_malloc_t previous_malloc;
static json_free_t previous_free;
static _Thread_local bool starved; /* an allocation of this thread has failed */

/* When memory runs out within a parse, what is asked for comes from here until the parser can be stopped, which is at the end of a portion of its
 * input. Its lexer does not look whether its buffer could grow, and asserts later that nothing is missing. */
enum { PORTION = 256, PORTION_RESERVE = 48 << 10, RESERVE_PER_BYTE = 12 };
static _Thread_local struct {
    char *start;
    size_t size, used;
} reserve;

/* The tokens of a portion take less than PORTION_RESERVE (256 brackets: an array of 40 bytes and its 8 places each), and all containers and the buffer
 * together could double in RESERVE_PER_BYTE bytes for each byte of the text (2 of them make a place of 8 in an array, 5 a slot of 16 in an object;
 * the buffer is no longer than the text). Pages that are not touched cost nothing. */
static bool reserve_for(size_t n) {
    size_t size;
    if (!fp4_size_mul(n, RESERVE_PER_BYTE, &size) || !fp4_size_add(size, PORTION_RESERVE, &size))
        return false;
    reserve.start = memory_fails() ? NULL : malloc(size);
    reserve.size = size;
    reserve.used = 0;
    return reserve.start != NULL;
}

static void *from_reserve(size_t n) {
    size_t rounded = n < SIZE_MAX - 16 ? (n + 15) / 16 * 16 : n;
    if (!reserve.start || rounded > reserve.size - reserve.used)
        return NULL;
    void *p = reserve.start + reserve.used;
    reserve.used += rounded;
    return p;
}

static void *watched_malloc(size_t n) {
    void *p = memory_fails() ? NULL : previous_malloc(n);
    starved |= p == NULL;
    return p ? p : from_reserve(n);
}

static void watched_free(void *p) {
    uintptr_t at = (uintptr_t)p, start = (uintptr_t)reserve.start;
    if (!start || at < start || at >= start + reserve.size)
        previous_free(p);
}

/* Whatever allocator the program has given to Jansson stays in use. */
static void install(void) {
    json_get_alloc_funcs(&previous_malloc, &previous_free);
    json_set_alloc_funcs(watched_malloc, watched_free);
}

void json_watch(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    starved = false;
}

fp4_status json_whole(const char *what) { return starved ? fp4_fail(FP4_ERR_MEMORY, "%s: %s", what, STARVED) : FP4_OK; }

struct input {
    const char *bytes;
    size_t left;
};

static size_t next_portion(void *buffer, size_t room, void *context) {
    struct input *in = context;
    size_t n = in->left < PORTION ? in->left : PORTION;
    if (n > room)
        n = room;
    if (starved || n == 0)
        return 0;
    memcpy(buffer, in->bytes, n);
    in->bytes += n;
    in->left -= n;
    return n;
}

json_t *json_parse(const void *bytes, size_t n, size_t flags, json_error_t *error) {
    bool before = starved;
    struct input in = {bytes, n};
    json_watch();
    starved = !reserve_for(n);
    json_t *root = starved ? NULL : json_load_callback(next_portion, &in, flags, error);
    if (starved) {
        json_decref(root);
        *error = (json_error_t){.line = -1};
        snprintf(error->text, sizeof error->text, "%s", STARVED);
        error->text[sizeof error->text - 1] = (char)json_error_out_of_memory; /* where json_error_code looks */
        root = NULL;
    }
    free(reserve.start);
    reserve.start = NULL;
    starved |= before;
    return root;
}

fp4_status json_fault(const json_error_t *error) {
    return json_error_code(error) == json_error_out_of_memory ? FP4_ERR_MEMORY : FP4_ERR_FORMAT;
}

char *json_text(const json_t *value, size_t flags) {
    bool before = starved;
    json_watch();
    char *text = json_dumps(value, flags);
    bool failed = starved;
    starved |= before;
    if (!failed)
        return text;
    free(text);
    return NULL;
}
