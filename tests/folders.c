/* Temporary folders, and Python when there is one. */
#include "tests/folders.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/program.h"
#include "tests/support.h"

struct owned {
    pid_t by;
    char path[FOLDER_MAX];
};

static int take_away(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info, (void)type;
    return where->level ? remove(path) : 0;
}

static int empty(const char *path) { return nftw(path, take_away, 8, FTW_DEPTH | FTW_PHYS); }

/* Children that a test forks inherit the handler, but the folder is still in use then. A test may have removed it itself. */
static void remove_at_exit(int status, void *context) {
    struct owned *folder = context;
    (void)status;
    if (folder->by == getpid()) {
        empty(folder->path);
        rmdir(folder->path);
    }
    free(folder);
}

void folder_make_below(const char *parent, char path[FOLDER_MAX]) {
    struct owned *folder = malloc(sizeof *folder);
    cr_assert_not_null(folder);
    cr_assert_lt(snprintf(path, FOLDER_MAX, "%s/fp4lab-folder-XXXXXX", parent), FOLDER_MAX);
    cr_assert_not_null(mkdtemp(path));
    folder->by = getpid();
    memcpy(folder->path, path, FOLDER_MAX);
    cr_assert_eq(on_exit(remove_at_exit, folder), 0);
}

void folder_make(char path[FOLDER_MAX]) { folder_make_below("/tmp", path); }

void folder_empty(const char *path) { cr_assert_eq(empty(path), 0, "%s", path); }

const char *folder_file(const char *folder, const char *name) {
    static char buffers[8][1600];
    static int next;
    char *path = buffers[next++ % 8];
    cr_assert_lt(snprintf(path, sizeof buffers[0], "%s/%s", folder, name), (int)sizeof buffers[0]);
    return path;
}

bool files_equal(const char *a, const char *b) {
    struct fp4_map x, y;
    must(fp4_map_open(a, &x));
    must(fp4_map_open(b, &y));
    bool equal = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    fp4_map_close(&x);
    fp4_map_close(&y);
    return equal;
}

enum { MAX_ARGUMENTS = 32 };

char *python_output(const char *what, const char *script, const char *const *arguments) {
    const char *python = getenv("FP4LAB_PYTHON");
    char path[256], *argv[MAX_ARGUMENTS + 3];
    int out = scratch_file(), err = scratch_file(), status, n = 0;
    python = python && *python ? python : "python3";
    snprintf(path, sizeof path, "tests/python/%s", script);
    argv[n++] = (char *)(uintptr_t)python;
    argv[n++] = path;
    while (*arguments && n < MAX_ARGUMENTS + 2)
        argv[n++] = (char *)(uintptr_t)*arguments++;
    argv[n] = NULL;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(out, 1);
        dup2(err, 2);
        unsetenv("LD_PRELOAD");
        execvp(python, argv);
        _exit(77);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    char *text = slurp(out), *errors = slurp(err);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip_test(what, "Python has not the packages that this takes; set FP4LAB_PYTHON to one that has");
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: %s", script, errors);
    free(errors);
    return text;
}
