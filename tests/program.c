/* Running the built programs as a user does. */
#include "tests/program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support.h"

enum { LONGEST = 60 }; /* seconds */

void program_path(const char *name, char path[PATH_MAX]) {
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 64);
    cr_assert_gt(n, 0);
    path[n] = 0;
    for (int up = 0; up < 2; up++)
        *strrchr(path, '/') = 0;
    snprintf(path + strlen(path), 64, "/%s", name);
    if (access(path, X_OK) != 0)
        skip_test(name, "the program is not built");
}

char *slurp(int fd) {
    off_t n = lseek(fd, 0, SEEK_END);
    cr_assert_geq(n, 0);
    char *text = malloc((size_t)n + 1);
    cr_assert_not_null(text);
    if (n)
        cr_assert_eq(pread(fd, text, (size_t)n, 0), n);
    text[n] = 0;
    close(fd);
    return text;
}

int scratch_file(void) {
    char name[] = "/tmp/fp4lab-test-XXXXXX";
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    unlink(name);
    return fd;
}

struct outcome program_run(char *const *argv, int out) {
    char program[PATH_MAX];
    struct rusage use;
    int err = scratch_file(), status = 0;
    program_path(argv[0], program);
    pid_t pid = fork(), ended = 0;
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(out, 1);
        dup2(err, 2);
        execv(program, argv);
        _exit(99);
    }
    for (double start = fp4_now(); !ended && fp4_now() - start < LONGEST;) {
        ended = wait4(pid, &status, WNOHANG, &use);
        if (!ended)
            usleep(500);
    }
    if (!ended) {
        kill(pid, SIGKILL);
        wait4(pid, &status, 0, &use);
    }
    struct outcome o = {.status = WEXITSTATUS(status), .out = slurp(out), .err = slurp(err), .peak_rss = (size_t)use.ru_maxrss * 1024};
    o.cpu_seconds = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + 1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
    cr_assert(WIFEXITED(status), "%s %s: killed by signal %d%s: %s", argv[0], argv[1] ? argv[1] : "", WTERMSIG(status),
              ended ? "" : " after a minute", o.err);
    return o;
}

void outcome_free(struct outcome o) {
    free(o.out);
    free(o.err);
}
