/* Parallel loops over independent tasks, on a pool of threads of our own. OpenMP's runtimes end a loop when every thread has arrived,
 * and spin until then: beside other programs that costs a time slice of the scheduler for each of the many short loops of a small
 * model. Here a loop waits only for threads that have taken part in it; one that wakes too late finds the loop closed. */
#include "fp4lab/base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { MAX_WORKERS = 1023, SPINS = 1000 /* some ten microseconds, about what waking a thread costs */ };

static int threads; /* 0: not set yet */

static struct {
    pthread_mutex_t caller; /* held by the thread whose loop runs */
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t opened, left;
    int workers, wanted, joined, active; /* started; places in this loop; taken; at work */
    bool open;
    void (*body)(void *context, size_t task);
    void *context;
    size_t n_tasks;
    atomic_size_t next;
    atomic_uint loop; /* number of the loop */
} pool = {.caller = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .opened = PTHREAD_COND_INITIALIZER,
          .left = PTHREAD_COND_INITIALIZER};

static _Thread_local bool inside; /* this thread runs a task */
static _Thread_local int slot;    /* its place in the loop */

void fp4_set_threads(int n) {
    if (n <= 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 ? (int)online : 1;
    }
    threads = n <= MAX_WORKERS ? n : MAX_WORKERS;
}

int fp4_threads(void) {
    if (threads == 0)
        fp4_set_threads(0);
    return threads;
}

int fp4_parallel_slot(void) { return slot; }

static void run_tasks(void (*body)(void *context, size_t task), void *context, size_t n_tasks) {
    inside = true;
    for (size_t task; (task = atomic_fetch_add(&pool.next, 1)) < n_tasks;)
        body(context, task);
    inside = false;
}

static void *worker(void *unused) {
    (void)unused;
    unsigned int seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load_explicit(&pool.loop, memory_order_relaxed) == seen; i++)
            atomic_thread_fence(memory_order_acquire);
        pthread_mutex_lock(&pool.lock);
        while (!pool.open || pool.joined == pool.wanted || atomic_load(&pool.loop) == seen)
            pthread_cond_wait(&pool.opened, &pool.lock);
        seen = atomic_load(&pool.loop);
        slot = ++pool.joined;
        pool.active++;
        void (*body)(void *, size_t) = pool.body;
        void *context = pool.context;
        size_t n_tasks = pool.n_tasks;
        pthread_mutex_unlock(&pool.lock);
        run_tasks(body, context, n_tasks);
        pthread_mutex_lock(&pool.lock);
        if (--pool.active == 0)
            pthread_cond_signal(&pool.left);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

/* Fewer threads than asked for make a loop slower and change nothing else. */
static void start_workers(int wanted) {
    pthread_attr_t detached;
    if (pool.workers >= wanted || pthread_attr_init(&detached) != 0)
        return;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_t id;
    while (pool.workers < wanted && pthread_create(&id, &detached, worker, NULL) == 0)
        pool.workers++;
    pthread_attr_destroy(&detached);
}

void fp4_parallel_for(size_t n_tasks, void (*body)(void *context, size_t task), void *context) {
    int n = fp4_threads();
    if ((size_t)n > n_tasks)
        n = (int)n_tasks;
    if (n <= 1 || inside || pthread_mutex_trylock(&pool.caller) != 0) {
        for (size_t task = 0; task < n_tasks; task++)
            body(context, task);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    start_workers(n - 1);
    pool.body = body, pool.context = context, pool.n_tasks = n_tasks;
    pool.wanted = n - 1, pool.joined = 0;
    atomic_store(&pool.next, 0);
    pool.open = true;
    atomic_fetch_add(&pool.loop, 1);
    pthread_cond_broadcast(&pool.opened);
    pthread_mutex_unlock(&pool.lock);
    run_tasks(body, context, n_tasks);
    pthread_mutex_lock(&pool.lock);
    pool.open = false; /* every task is taken: what is left to wait for are tasks in hand */
    while (pool.active)
        pthread_cond_wait(&pool.left, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.caller);
}
