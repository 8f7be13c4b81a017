// The scheduler: runs the blocks of a launch one after another, each block's CUDA threads as fibers.
//
// A CUDA thread gets a fiber only when it starts, and one that never waits hands its stack to the next, so that a
// kernel without barriers runs as a plain loop.
#pragma once

#include <setjmp.h>

#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "include/emu_device.h"
#include "launch.h"

namespace emu {

constexpr int warp_size = 32;
constexpr size_t stack_bytes = 128 << 10;
constexpr size_t page_bytes = 4096;
constexpr size_t dynamic_shared_capacity = 256 << 10;
// NaN as float, double, half and bfloat16; an index far out as an int.
constexpr uint32_t poison_word = 0x7fff7fffu;
constexpr char time_limit_message[] = "the launch ran for more than %g s of CPU time: an endless loop?";

enum class ThreadState : uint8_t { not_started, ready, at_barrier, in_warp_op, finished };

struct Thread {
  ThreadState state;
  int fiber;
  int line;           // of the barrier or warp operation it is in
  int warp_argument;  // lane, delta or lane mask of a shuffle
  uint64_t input, result;
};

// A warp-wide operation that some lanes have reached and others have not.
struct WarpOp {
  WarpOpKind kind;
  unsigned mask, arrived;
  int size, width, line;
};

struct Warp {
  WarpOp ops[warp_size];
  int op_count;
  unsigned existing, finished;  // lanes
  uint32_t epoch;               // counts __syncwarp
};

class Scheduler {
 public:
  // Runs a launch. False: it failed, and `message` and `failure_offset` say how and where.
  bool run(const Launch &launch);

  int barrier(BarrierKind kind, int predicate, int line);
  void warp_op(WarpOpKind kind, unsigned mask, const void *input, void *output, int size, int argument, int width,
               int line);
  unsigned active_mask() const;
  // Ends the launch with an error at the code address `pc` (0: unknown).
  [[noreturn]] void fail(uintptr_t pc, const char *format, ...) __attribute__((format(printf, 3, 4)));
  // The same from a signal handler.
  [[noreturn]] void crash(uintptr_t pc, const char *what);

  bool is_fiber_stack(uintptr_t address) const { return address - (uintptr_t)stacks < fibers.size() * stack_bytes; }
  bool is_kernel_code(uintptr_t pc) const { return pc >= launch->image->begin && pc < launch->image->end; }

  const Launch *launch = nullptr;
  volatile bool expired = false;  // the time limit is over; set by a signal handler
  char message[2000];
  uintptr_t failure_offset = 0;  // of the failing instruction in the module; 0: unknown

  // The block that runs.
  int thread_count = 0;
  int current = 0;  // thread
  uint64_t block = 0;
  uint3 block_index;
  uint32_t epoch = 0;  // counts __syncthreads
  std::vector<uint3> thread_indices;
  std::vector<Warp> warps;
  char *static_shared = nullptr;
  char *dynamic_shared = nullptr;
  char *dynamic_buffer = nullptr;

 private:
  void prepare_stacks();
  void begin_launch();
  void begin_block(uint64_t number);
  bool run_block();
  void reset_fiber(int fiber);
  void reset_fibers();
  static void fiber_main();
  void fiber_loop(int fiber);
  bool prefers_new_thread();
  void resume_ready_thread(void **save);
  void wait();
  void make_ready(int thread);
  void thread_finished(int thread);
  void finish_barrier();
  void finish_warp_op(int warp, int op);
  [[noreturn]] void deadlock();
  [[noreturn]] void leave(uintptr_t pc);
  uint32_t random(uint32_t bound);

  std::vector<Thread> threads;
  std::vector<int> start_order;  // threads in the order in which they start
  int started = 0;
  int unfinished = 0;
  std::vector<int> ready;  // threads that can go on, from ready[ready_head]
  size_t ready_head = 0;

  int waiting_at_barrier = 0;
  int barrier_line = 0;
  BarrierKind barrier_kind = BarrierKind::plain;
  int barrier_votes = 0;
  int barrier_result[2];  // by the parity of the epoch: a fast thread may reach the next barrier first

  std::vector<void *> fibers;  // saved stack pointers
  std::vector<int> idle_fibers;
  char *stacks = nullptr;
  void *main_stack_pointer = nullptr;
  sigjmp_buf crash_point;
  bool failed = false;
  uint64_t random_state = 0;
};

extern Scheduler scheduler;
extern thread_local bool in_kernel;  // this OS thread is running CUDA threads
const char *warp_op_name(WarpOpKind kind);
// Writes "0-3,7" for the numbers 0, 1, 2, 3, 7.
void format_ranges(char *out, size_t size, const std::vector<int> &numbers);

}  // namespace emu
