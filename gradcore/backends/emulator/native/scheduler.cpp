// Fibers, blocks and __syncthreads. See scheduler.h.
#include "scheduler.h"

#include <stdarg.h>
#include <sys/mman.h>

#include <algorithm>

#include "checker.h"

namespace emu {

Scheduler scheduler;
thread_local bool in_kernel = false;

// Saves the registers that a function call preserves on this stack, and goes on with another one.
extern "C" void emu_switch_stack(void **save, void *to);
asm(R"(
.text
.globl emu_switch_stack
.hidden emu_switch_stack
.type emu_switch_stack,@function
emu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch_stack,.-emu_switch_stack
)");

uint3 thread_index() { return scheduler.thread_indices[scheduler.current]; }
uint3 block_index() { return scheduler.block_index; }
uint3 block_dimensions() {
  const uint32_t *block = scheduler.launch->block;
  return {block[0], block[1], block[2]};
}
uint3 grid_dimensions() {
  const uint32_t *grid = scheduler.launch->grid;
  return {grid[0], grid[1], grid[2]};
}
char *dynamic_shared() { return scheduler.dynamic_shared; }
int barrier(BarrierKind kind, int predicate, int line) { return scheduler.barrier(kind, predicate, line); }
void assertion_failed(const char *what, int line) { scheduler.fail(0, "assertion failed at line %d: %s", line, what); }

// ---------------------------------------------------------------- failures

void Scheduler::leave(uintptr_t pc) {
  failed = true;
  failure_offset = pc ? pc - launch->image->begin : 0;
  void *discarded;
  emu_switch_stack(&discarded, main_stack_pointer);
  __builtin_unreachable();
}

static int format_place(char *out, size_t size) {
  uint3 block = scheduler.block_index;
  uint3 thread = scheduler.thread_indices[scheduler.current];
  return snprintf(out, size, "block (%u,%u,%u) thread (%u,%u,%u): ", block.x, block.y, block.z, thread.x, thread.y,
                  thread.z);
}

void Scheduler::fail(uintptr_t pc, const char *format, ...) {
  int used = format_place(message, sizeof message);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message + used, sizeof message - used, format, arguments);
  va_end(arguments);
  leave(pc);
}

void Scheduler::crash(uintptr_t pc, const char *what) {
  int used = format_place(message, sizeof message);
  snprintf(message + used, sizeof message - used, "%s", what);
  failed = true;
  failure_offset = is_kernel_code(pc) ? pc + 1 - launch->image->begin : 0;
  siglongjmp(crash_point, 1);
}

void format_ranges(char *out, size_t size, const std::vector<int> &numbers) {
  size_t used = 0;
  out[0] = 0;
  for (size_t first = 0; first < numbers.size() && used + 32 < size;) {
    size_t last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) last++;
    const char *separator = used ? "," : "";
    if (last > first) {
      used += snprintf(out + used, size - used, "%s%d-%d", separator, numbers[first], numbers[last]);
    } else {
      used += snprintf(out + used, size - used, "%s%d", separator, numbers[first]);
    }
    first = last + 1;
  }
}

// Nobody can run: says who waits where.
void Scheduler::deadlock() {
  struct Group {
    ThreadState state;
    int line;
    const char *op;
    std::vector<int> threads;
  };
  std::vector<Group> groups;
  for (int t = 0; t < thread_count; t++) {
    ThreadState state = threads[t].state;
    int line = state == ThreadState::finished ? 0 : threads[t].line;
    const char *op = "__syncthreads";
    if (state == ThreadState::in_warp_op) {
      const Warp &warp = warps[t / warp_size];
      for (int i = 0; i < warp.op_count; i++) {
        if (warp.ops[i].arrived >> (t % warp_size) & 1) op = warp_op_name(warp.ops[i].kind);
      }
    }
    auto same = [&](const Group &group) { return group.state == state && group.line == line && group.op == op; };
    auto group = std::find_if(groups.begin(), groups.end(), same);
    if (group == groups.end()) group = groups.insert(groups.end(), Group{state, line, op, {}});
    group->threads.push_back(t);
  }
  int used = snprintf(message, sizeof message, "block (%u,%u,%u): deadlock or divergent barrier", block_index.x,
                      block_index.y, block_index.z);
  for (const Group &group : groups) {
    if (used + 300 > (int)sizeof message) break;
    char ranges[200];
    format_ranges(ranges, sizeof ranges, group.threads);
    if (group.state == ThreadState::finished) {
      used += snprintf(message + used, sizeof message - used, "; threads %s have left the kernel", ranges);
    } else {
      used += snprintf(message + used, sizeof message - used, "; threads %s wait in %s at line %d", ranges, group.op,
                       group.line);
    }
  }
  leave(0);
}

// ---------------------------------------------------------------- fibers

void Scheduler::reset_fiber(int fiber) {
  void **stack_pointer = (void **)(stacks + (size_t)(fiber + 1) * stack_bytes);
  *--stack_pointer = nullptr;  // keeps the stack aligned as a call would
  *--stack_pointer = (void *)fiber_main;
  for (int preserved_register = 0; preserved_register < 6; preserved_register++) *--stack_pointer = nullptr;
  fibers[fiber] = stack_pointer;
}

void Scheduler::reset_fibers() {
  idle_fibers.clear();
  for (int fiber = (int)fibers.size() - 1; fiber >= 0; fiber--) {
    reset_fiber(fiber);
    idle_fibers.push_back(fiber);
  }
}

void Scheduler::fiber_main() {
  int fiber = (int)(((char *)__builtin_frame_address(0) - scheduler.stacks) / stack_bytes);
  scheduler.fiber_loop(fiber);
}

// What every fiber runs: CUDA threads, one after another.
void Scheduler::fiber_loop(int fiber) {
  for (;;) {
    while (prefers_new_thread()) {
      current = start_order[started++];
      threads[current].state = ThreadState::ready;
      threads[current].fiber = fiber;
      launch->call(launch->arguments);
      thread_finished(current);
    }
    idle_fibers.push_back(fiber);
    if (ready_head < ready.size()) {
      resume_ready_thread(&fibers[fiber]);
    } else if (unfinished) {
      deadlock();
    } else {
      emu_switch_stack(&fibers[fiber], main_stack_pointer);
    }
  }
}

// Shall a thread that has not started be the next to run, rather than one that waited?
bool Scheduler::prefers_new_thread() {
  if (started == thread_count) return false;
  if (ready_head == ready.size()) return true;
  if (launch->order == shuffled) return random(2) != 0;
  return launch->order == reverse;
}

void Scheduler::resume_ready_thread(void **save) {
  if (launch->order == shuffled) {
    size_t pick = ready_head + random((uint32_t)(ready.size() - ready_head));
    std::swap(ready[pick], ready[ready_head]);
  }
  current = ready[ready_head++];
  if (ready_head == ready.size()) {
    ready.clear();
    ready_head = 0;
  }
  emu_switch_stack(save, fibers[threads[current].fiber]);
}

// The current thread gives way.
void Scheduler::wait() {
  void **save = &fibers[threads[current].fiber];
  if (prefers_new_thread()) {
    int fiber = idle_fibers.back();
    idle_fibers.pop_back();
    emu_switch_stack(save, fibers[fiber]);
  } else if (ready_head < ready.size()) {
    resume_ready_thread(save);
  } else {
    deadlock();
  }
}

void Scheduler::make_ready(int thread) {
  threads[thread].state = ThreadState::ready;
  ready.push_back(thread);
}

void Scheduler::thread_finished(int thread) {
  threads[thread].state = ThreadState::finished;
  unfinished--;
  Warp &warp = warps[thread / warp_size];
  unsigned lane = 1u << (thread % warp_size);
  warp.finished |= lane;
  for (int i = 0; i < warp.op_count; i++) {
    const WarpOp &op = warp.ops[i];
    if (launch->strict && (op.mask & lane)) {
      fail(0, "left the kernel while lanes of its warp wait for it in %s at line %d (mask %08x)",
           warp_op_name(op.kind), op.line, op.mask);
    }
  }
  for (int i = 0; i < warp.op_count;) {
    const WarpOp &op = warp.ops[i];
    unsigned needed = op.mask & warp.existing & ~warp.finished;
    if ((op.arrived & needed) == needed) {
      finish_warp_op(thread / warp_size, i);
      i = 0;
    } else {
      i++;
    }
  }
  if (waiting_at_barrier && waiting_at_barrier == unfinished) {
    if (launch->strict) deadlock();
    finish_barrier();
  }
}

uint32_t Scheduler::random(uint32_t bound) {
  random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)((random_state >> 33) % bound);
}

// ---------------------------------------------------------------- __syncthreads

int Scheduler::barrier(BarrierKind kind, int predicate, int line) {
  Thread &thread = threads[current];
  thread.line = line;
  if (waiting_at_barrier == 0) {
    barrier_line = line;
    barrier_kind = kind;
    barrier_votes = 0;
  } else if (line != barrier_line) {
    fail(0,
         "divergent barrier: this thread is in __syncthreads at line %d, others of the block in the one at line %d",
         line, barrier_line);
  }
  waiting_at_barrier++;
  barrier_votes += predicate != 0;
  if (waiting_at_barrier < unfinished) {
    thread.state = ThreadState::at_barrier;
    wait();
  } else {
    if (unfinished < thread_count && launch->strict) {
      thread.state = ThreadState::at_barrier;
      deadlock();
    }
    finish_barrier();
  }
  return barrier_result[epoch & 1];
}

void Scheduler::finish_barrier() {
  epoch++;
  int result = barrier_votes;
  if (barrier_kind == BarrierKind::all) result = barrier_votes == waiting_at_barrier;
  if (barrier_kind == BarrierKind::any) result = barrier_votes != 0;
  barrier_result[epoch & 1] = result;
  waiting_at_barrier = 0;
  for (int thread : start_order) {
    if (threads[thread].state == ThreadState::at_barrier) make_ready(thread);
  }
}

// ---------------------------------------------------------------- blocks and launches

static void poison(char *begin, size_t size) {
  size_t i = 0;
  for (; i + sizeof poison_word <= size; i += sizeof poison_word) {
    memcpy(begin + i, &poison_word, sizeof poison_word);
  }
  memset(begin + i, 0x7f, size - i);
}

static char *map_memory(size_t size) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  return memory == MAP_FAILED ? nullptr : (char *)memory;
}

void Scheduler::prepare_stacks() {
  if ((int)fibers.size() < thread_count) {
    if (stacks) munmap(stacks, fibers.size() * stack_bytes);
    stacks = map_memory((size_t)thread_count * stack_bytes);
    for (int i = 0; i < thread_count; i++) mprotect(stacks + (size_t)i * stack_bytes, page_bytes, PROT_NONE);
    fibers.resize(thread_count);
    reset_fibers();
  }
  if (!dynamic_buffer) {
    // Dynamic shared memory ends where a page without access begins.
    dynamic_buffer = map_memory(dynamic_shared_capacity + page_bytes);
    mprotect(dynamic_buffer + dynamic_shared_capacity, page_bytes, PROT_NONE);
  }
}

void Scheduler::begin_launch() {
  const uint32_t *dimensions = launch->block;
  thread_count = (int)(dimensions[0] * dimensions[1] * dimensions[2]);
  prepare_stacks();
  failed = false;
  expired = false;
  message[0] = 0;
  failure_offset = 0;
  random_state = launch->seed * 2654435761u + 12345;
  static_shared = launch->image->shared_anchor() + launch->image->shared_offset;
  size_t aligned_shared = (launch->shared_bytes + 15) & ~(size_t)15;
  dynamic_shared = dynamic_buffer + dynamic_shared_capacity - aligned_shared;
  threads.resize(thread_count);
  warps.resize((thread_count + warp_size - 1) / warp_size);
  thread_indices.resize(thread_count);
  start_order.resize(thread_count);
  for (uint32_t i = 0; i < (uint32_t)thread_count; i++) {
    thread_indices[i] = {i % dimensions[0], i / dimensions[0] % dimensions[1], i / dimensions[0] / dimensions[1]};
    start_order[i] = launch->order == reverse ? thread_count - 1 - (int)i : (int)i;
  }
}

void Scheduler::begin_block(uint64_t number) {
  const uint32_t *grid = launch->grid;
  block = number;
  block_index = {(unsigned)(number % grid[0]), (unsigned)(number / grid[0] % grid[1]),
                 (unsigned)(number / grid[0] / grid[1])};
  if (launch->order == shuffled) {
    for (int i = thread_count - 1; i > 0; i--) std::swap(start_order[i], start_order[random(i + 1)]);
  }
  unfinished = thread_count;
  started = 0;
  waiting_at_barrier = 0;
  epoch = 1;
  ready.clear();
  ready_head = 0;
  for (Thread &thread : threads) thread.state = ThreadState::not_started;
  for (size_t i = 0; i < warps.size(); i++) {
    int lanes = thread_count - (int)i * warp_size;
    warps[i].op_count = 0;
    warps[i].finished = 0;
    warps[i].epoch = 1;
    warps[i].existing = lanes >= warp_size ? 0xffffffffu : (1u << lanes) - 1;
  }
  if (launch->poison) {
    poison(static_shared, launch->image->shared_size);
    poison(dynamic_shared, launch->shared_bytes);
  }
  if (launch->check) checker.begin_block();
}

bool Scheduler::run_block() {
  // After a crash the handler jumps here, past whatever the fibers were doing.
  if (sigsetjmp(crash_point, 0) == 0) {
    int fiber = idle_fibers.back();
    idle_fibers.pop_back();
    in_kernel = true;
    emu_switch_stack(&main_stack_pointer, fibers[fiber]);
  }
  in_kernel = false;
  if (failed) reset_fibers();
  return !failed;
}

// Visits every block once, in an order that has nothing to do with their numbers.
static uint64_t permuted(uint64_t position, uint64_t count, uint64_t seed) {
  uint64_t step = 2654435761ull;
  while (std::__gcd(step, count) != 1) step += 2;
  return (uint64_t)(((unsigned __int128)position * step + seed) % count);
}

bool Scheduler::run(const Launch &request) {
  launch = &request;
  begin_launch();
  if (launch->check) checker.begin_launch();
  uint64_t blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
  const uint64_t edges = (uint64_t)launch->edges, run = edges ? std::min(blocks, 2 * edges) : blocks;
  bool sound = true;
  for (uint64_t position = 0; position < run && sound; position++) {
    uint64_t number = position;
    if (launch->order == reverse) number = run - 1 - position;
    if (launch->order == shuffled) number = permuted(position, run, launch->seed);
    if (edges && number >= edges) number += blocks - run;
    begin_block(number);
    sound = run_block();
  }
  if (launch->check) checker.end_launch();
  return sound;
}

}  // namespace emu
