// The runtime's C interface: opening a module, launching a kernel, and turning the signals of a kernel that crashes
// or never ends into an error.
#include "launch.h"

#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "scheduler.h"

#define EMU_API extern "C" __attribute__((visibility("default")))

namespace emu {
namespace {

std::mutex launch_lock;  // there is one scheduler

// ---------------------------------------------------------------- modules

struct ImageSearch {
  uintptr_t code;
  Image *image;
};

// Finds the loaded object that `code` lies in, and its thread-local storage.
int find_image(dl_phdr_info *info, size_t, void *data) {
  ImageSearch *search = (ImageSearch *)data;
  Image &image = *search->image;
  bool found = false;
  image.begin = ~(uintptr_t)0;
  image.end = 0;
  image.shared_size = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto &header = info->dlpi_phdr[i];
    uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_TLS) image.shared_size = header.p_memsz;
    if (header.p_type != PT_LOAD) continue;
    if (search->code >= begin && search->code < begin + header.p_memsz) found = true;
    image.begin = std::min(image.begin, begin);
    image.end = std::max(image.end, begin + header.p_memsz);
  }
  if (found) image.shared_offset = (char *)info->dlpi_tls_data - image.shared_anchor();
  return found;
}

// ---------------------------------------------------------------- signals

constexpr size_t signal_stack_bytes = 64 << 10;
int time_signal() { return SIGRTMAX - 3; }

void on_fault(int signal_number, siginfo_t *info, void *context) {
  if (!in_kernel) {
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    return;
  }
  char what[120];
  if (signal_number == SIGFPE) {
    snprintf(what, sizeof what, "integer division by zero");
  } else if (scheduler.is_fiber_stack((uintptr_t)info->si_addr)) {
    snprintf(what, sizeof what, "stack overflow: a thread's local variables need more than %zu kB",
             stack_bytes >> 10);
  } else {
    snprintf(what, sizeof what, "invalid memory access (address %p)", info->si_addr);
  }
  scheduler.crash((uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP], what);
}

// The launch ends at its next checked access or atomic operation, which knows its place in the source. One that makes
// none ends when the timer comes again and meets the kernel's own code: other code may hold a lock.
void on_time_limit(int, siginfo_t *, void *context) {
  uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  if (!in_kernel) return;
  bool again = scheduler.expired;
  scheduler.expired = true;
  if (!again || !scheduler.is_kernel_code(pc)) return;
  char what[120];
  snprintf(what, sizeof what, time_limit_message, scheduler.launch->time_limit);
  scheduler.crash(pc, what);
}

// Installs the handlers for the time of a launch.
class SignalGuard {
 public:
  SignalGuard() {
    stack_t stack = {};
    stack.ss_sp = alternate_stack;
    stack.ss_size = sizeof alternate_stack;
    sigaltstack(&stack, &old_stack);
    for (int i = 0; i < handled_count; i++) {
      struct sigaction action = {};
      action.sa_sigaction = i < handled_count - 1 ? on_fault : on_time_limit;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
      sigaction(number(i), &action, &old_actions[i]);
    }
  }
  ~SignalGuard() {
    for (int i = 0; i < handled_count; i++) sigaction(number(i), &old_actions[i], nullptr);
    sigaltstack(&old_stack, nullptr);
  }

 private:
  static constexpr int handled_count = 4;
  static int number(int i) {
    const int numbers[handled_count] = {SIGSEGV, SIGBUS, SIGFPE, time_signal()};
    return numbers[i];
  }
  struct sigaction old_actions[handled_count];
  stack_t old_stack;
  static char alternate_stack[signal_stack_bytes];  // used under launch_lock
};
char SignalGuard::alternate_stack[signal_stack_bytes];

// Sends time_signal() to this thread after `seconds` of its CPU time.
class TimeLimit {
 public:
  explicit TimeLimit(double seconds) {
    sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = time_signal();
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    armed = seconds > 0 && timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0;
    if (!armed) return;
    itimerspec when = {};
    when.it_value.tv_sec = (time_t)seconds;
    when.it_value.tv_nsec = (long)((seconds - (double)when.it_value.tv_sec) * 1e9) + 1;
    when.it_interval.tv_nsec = 1000000;
    timer_settime(timer, 0, &when, nullptr);
  }
  ~TimeLimit() {
    if (armed) timer_delete(timer);
  }

 private:
  timer_t timer;
  bool armed;
};

// ---------------------------------------------------------------- guard zones

bool zone_is_intact(unsigned char *zone, int fill) {
  // All bytes are equal to the first, and that is as it should be.
  if (zone[0] == fill && memcmp(zone, zone + 1, guard_bytes - 1) == 0) return true;
  memset(zone, fill, guard_bytes);  // reported once
  return false;
}

bool check_guards(const Launch &launch) {
  for (int i = 0; i < launch.region_count; i++) {
    const Region &region = launch.regions[i];
    if (!region.memory_begin) continue;
    bool before = zone_is_intact((unsigned char *)region.memory_begin - guard_bytes, region.guard_fill);
    bool after = zone_is_intact((unsigned char *)region.memory_end, region.guard_fill);
    if (before && after) continue;
    snprintf(scheduler.message, sizeof scheduler.message, "the memory %s the array of argument %d was overwritten",
             before ? "after" : "before", region.argument);
    return false;
  }
  return true;
}

// CuPy always compiles with -ftz=true.
class FlushDenormals {
 public:
  FlushDenormals() : saved(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(saved | 0x8040); }
  ~FlushDenormals() { __builtin_ia32_ldmxcsr(saved); }

 private:
  unsigned saved;
};

}  // namespace
}  // namespace emu

using namespace emu;

// A module is never closed: its code address range stays valid.
EMU_API Image *emu_open_image(char *(*shared_anchor)()) {
  Image *image = new Image();
  image->shared_anchor = shared_anchor;
  shared_anchor();  // a thread's copy comes into being when it is first used
  ImageSearch search = {(uintptr_t)shared_anchor, image};
  dl_iterate_phdr(find_image, &search);
  return image;
}

// 0: done. 1: the launch failed; `message` (of `message_size` bytes) tells why, `offset` where in the module's code.
EMU_API int emu_launch(const Launch *launch, char *message, size_t message_size, uintptr_t *offset) {
  std::lock_guard<std::mutex> lock(launch_lock);
  bool sound;
  {
    SignalGuard signals;
    TimeLimit limit(launch->time_limit);
    FlushDenormals flush;
    sound = scheduler.run(*launch);
  }
  sound = sound && check_guards(*launch);
  scheduler.launch = nullptr;
  fflush(stdout);
  if (sound) return 0;
  snprintf(message, message_size, "%s", scheduler.message);
  *offset = scheduler.failure_offset;
  return 1;
}
