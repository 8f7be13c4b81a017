// Threads that share out the items of one kernel call among themselves, without the interpreter.
//
// A thread that sleeps takes some 50 microseconds to wake, as long as a pass over a hundred thousand elements. So who
// waits here, spins for about that long before it sleeps: the next kernel of a program finds the threads awake. Pieces
// are counted down by one atomic number, so that they can be small, and all threads end at the same time.
#include "host/host.h"

#include <pthread.h>
#include <sched.h>

namespace {

typedef void (*Kernel)(const long long *, long long, long long);

constexpr int SPINS = 2000;  // pauses: 20 to 50 microseconds

// The job. It is written before `left`, by one thread, and stays until all pieces are done.
Kernel kernel;
const long long *arguments;
long long count, pieces;

long long left;        // pieces that nobody has begun; below 0 when more were asked for
long long done;        // pieces that are done
unsigned long jobs;    // that there ever were
int invited;           // threads of the pool that may take part
int sleeping;          // threads of the pool that have to be woken
int started;           // threads of the pool
bool busy;             // whether some thread has a job here
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t more = PTHREAD_COND_INITIALIZER;

template <class T>
T load(const T &x) { return __atomic_load_n(&x, __ATOMIC_SEQ_CST); }
template <class T>
void store(T &x, T value) { __atomic_store_n(&x, value, __ATOMIC_SEQ_CST); }

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Whoever comes too late, even during another job, finds a piece of that or none.
void work() {
  for (;;) {
    const long long piece = __atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST);
    if (piece < 0) return;
    kernel(arguments, piece * count / pieces, (piece + 1) * count / pieces);
    __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
  }
}

void wait_after(unsigned long seen) {
  pthread_mutex_lock(&mutex);
  __atomic_add_fetch(&sleeping, 1, __ATOMIC_SEQ_CST);
  while (load(jobs) == seen) pthread_cond_wait(&more, &mutex);
  __atomic_sub_fetch(&sleeping, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&mutex);
}

void *serve(void *number) {
  for (unsigned long seen = 0;;) {
    for (int spin = 0; spin < SPINS && load(jobs) == seen; spin++) relax();
    if (load(jobs) == seen) wait_after(seen);
    seen = load(jobs);
    if (static_cast<int>(reinterpret_cast<long>(number)) < load(invited)) work();
  }
  return nullptr;
}

// A forked process has the memory of the pool, and none of its threads.
void forget() {
  busy = false;
  started = sleeping = 0;
  mutex = PTHREAD_MUTEX_INITIALIZER;
  more = PTHREAD_COND_INITIALIZER;
}

void start(int threads) {
  static const int registered = pthread_atfork(nullptr, nullptr, forget);
  if (registered != 0) return;
  for (; started < threads; started++) {
    pthread_t thread;
    void *const number = reinterpret_cast<void *>(static_cast<long>(started));
    if (pthread_create(&thread, nullptr, serve, number)) return;
    pthread_detach(thread);
  }
}

}  // namespace

// Runs a kernel over all items, in pieces, on this thread and `helpers` others; while there is another call, on this
// thread alone.
GC_EXPORT void share(Kernel of, const long long *with, long long items, long long cuts, int helpers) {
  if (__atomic_exchange_n(&busy, true, __ATOMIC_SEQ_CST)) return of(with, 0, items);
  start(helpers);
  kernel = of, arguments = with, count = items, pieces = cuts;
  store(done, 0LL);
  store(invited, helpers);
  store(left, cuts);
  __atomic_add_fetch(&jobs, 1, __ATOMIC_SEQ_CST);
  if (load(sleeping)) {
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&more);
    pthread_mutex_unlock(&mutex);
  }
  work();
  for (int spin = 0; load(done) < cuts; spin++) {
    if (spin < SPINS) relax();
    else sched_yield();
  }
  store(busy, false);
}
