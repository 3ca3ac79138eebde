/* A map whose file has been cut short: for programs, a call where there would be the end by SIGBUS. */
#include "fp4lab/base.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void (*on_lost)(const char *message);

/* A line of /proc/self/maps (proc(5)): "first-last rights offset device inode name", addresses in hexadecimal. NULL: not this address, or no file's. */
static const char *file_of(const char *line, uintptr_t address) {
    char *p;
    uintptr_t first = strtoul(line, &p, 16);
    if (address < first || *p != '-' || address >= strtoul(p + 1, NULL, 16))
        return NULL;
    return strchr(line, '/');
}

static bool file_mapped_at(uintptr_t address, char name[PATH_MAX]) {
    static char text[3 * PATH_MAX];
    size_t have = 0;
    bool found = false;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t n; !found && (n = read(fd, text + have, sizeof text - 1 - have)) > 0;) {
        char *line = text;
        text[have += (size_t)n] = 0;
        for (char *end; !found && (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            const char *file = file_of(line, address);
            found = file && fp4_escape_text(file, name, PATH_MAX);
        }
        have = strlen(line);
        memmove(text, line, have);
    }
    close(fd);
    return found;
}

/* The fault is at an instruction that reads or writes the map, never within the allocator or the C library's own data: what is called here can't meet itself. */
static void on_bus_error(int number, siginfo_t *info, void *context) {
    static atomic_flag taken = ATOMIC_FLAG_INIT;
    static char name[PATH_MAX], message[PATH_MAX + 128];
    (void)context;
    while (atomic_flag_test_and_set(&taken))
        pause(); /* another thread is at it, and ends the process */
    if (info->si_code > 0 && file_mapped_at((uintptr_t)info->si_addr, name)) { /* else sent by someone, or of other memory */
        snprintf(message, sizeof message, "%s: cut short while it is in use, or its disk failed; run again when the file is whole", name);
        on_lost(message);
    }
    signal(number, SIG_DFL);
    raise(number); /* held until this returns */
}

void fp4_catch_lost_maps(void (*lost)(const char *message)) {
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    on_lost = lost;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
