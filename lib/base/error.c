/* Status messages: one buffer a thread. Warnings: one handler a process. */
#include "fp4lab/base.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>

static _Thread_local char last_error[1024];

fp4_status fp4_fail(fp4_status status, const char *format, ...) {
    char raw[1024]; /* formatted first: arguments may point into last_error itself */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    fp4_escape_text(raw, last_error, sizeof last_error);
    return status;
}

const char *fp4_last_error(void) { return last_error; }

static struct {
    pthread_mutex_t lock;
    void (*handler)(void *context, const char *message);
    void *context;
} warnings = {.lock = PTHREAD_MUTEX_INITIALIZER};

void fp4_set_warning_handler(void (*handler)(void *context, const char *message), void *context) {
    pthread_mutex_lock(&warnings.lock);
    warnings.handler = handler;
    warnings.context = context;
    pthread_mutex_unlock(&warnings.lock);
}

void fp4_warn(const char *format, ...) {
    char raw[1024], message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    fp4_escape_text(raw, message, sizeof message);
    pthread_mutex_lock(&warnings.lock);
    if (warnings.handler)
        warnings.handler(warnings.context, message);
    pthread_mutex_unlock(&warnings.lock);
}
