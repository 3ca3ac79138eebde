/* Shared helpers of the suites. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fp4lab/text.h"

const char *golden_folder(void) {
    const char *folder = getenv("FP4LAB_GOLDEN");
    if (!folder || !*folder)
        folder = "../shared/golden";
    struct stat info;
    return stat(folder, &info) == 0 && S_ISDIR(info.st_mode) ? folder : NULL;
}

void skip_test(const char *what, const char *why) {
    fprintf(stderr, "SKIPPED %s: %s\n", what, why);
    fflush(stderr);
    cr_skip_test("%s: %s", what, why);
    abort(); /* cr_skip_test leaves the test */
}

const char *golden_file(const char *relative) {
    static char paths[8][1024];
    static unsigned int next;
    char *path = paths[next++ % 8];
    const char *folder = golden_folder();
    if (!folder)
        skip_test(relative, "no golden folder; set FP4LAB_GOLDEN");
    snprintf(path, sizeof paths[0], "%s/%s", folder, relative);
    if (access(path, R_OK) != 0)
        skip_test(relative, "not in the golden folder");
    return path;
}

void golden_count(const char *folder, size_t vectors) {
    fprintf(stderr, "VECTORS %s %zu\n", folder, vectors);
    fflush(stderr);
}

void need_text(const char *name) {
    struct fp4_documents d;
    if (fp4_documents_open(name, &d) != FP4_OK)
        skip_test(name, fp4_last_error());
    fp4_documents_close(&d);
}

static size_t whole_pages(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

void *guarded_alloc(size_t bytes, bool at_start) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = whole_pages(bytes);
    uint8_t *base = mmap(NULL, body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)base, MAP_FAILED);
    cr_assert_eq(mprotect(base + page, body, PROT_READ | PROT_WRITE), 0);
    memset(base + page, 0xA5, body);
    return at_start ? base + page : base + page + body - bytes;
}

void guarded_free(void *p, size_t bytes, bool at_start) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = whole_pages(bytes);
    uint8_t *base = at_start ? (uint8_t *)p - page : (uint8_t *)p + bytes - body - page;
    munmap(base, body + 2 * page);
}
