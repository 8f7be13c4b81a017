// Warp-wide operations: shuffles, votes, reductions, __syncwarp. An operation is complete when every lane of its mask
// has arrived; until then the lanes wait.
#include <algorithm>

#include "scheduler.h"

namespace emu {

const char *warp_op_name(WarpOpKind kind) {
  switch (kind) {
    case WarpOpKind::shuffle: return "__shfl_sync";
    case WarpOpKind::shuffle_up: return "__shfl_up_sync";
    case WarpOpKind::shuffle_down: return "__shfl_down_sync";
    case WarpOpKind::shuffle_xor: return "__shfl_xor_sync";
    case WarpOpKind::ballot: return "__ballot_sync/__any_sync/__all_sync";
    case WarpOpKind::sync: return "__syncwarp";
    case WarpOpKind::match_any: return "__match_any_sync";
    case WarpOpKind::match_all: return "__match_all_sync";
    default: return "__reduce_*_sync";
  }
}

void warp_op(WarpOpKind kind, unsigned mask, const void *input, void *output, int size, int argument, int width,
             int line) {
  scheduler.warp_op(kind, mask, input, output, size, argument, width, line);
}
unsigned active_mask() { return scheduler.active_mask(); }

unsigned Scheduler::active_mask() const {
  const Warp &warp = warps[current / warp_size];
  return warp.existing & ~warp.finished;
}

static bool is_shuffle(WarpOpKind kind) { return kind <= WarpOpKind::shuffle_xor; }

// The lane that `lane` reads from: itself where the source lies outside its segment of `width` lanes.
static int shuffle_source(WarpOpKind kind, int lane, unsigned argument, int width) {
  int first = lane & ~(width - 1);
  int last = lane | (width - 1);
  long long source;
  if (kind == WarpOpKind::shuffle) return first | (int)(argument & (unsigned)(width - 1));
  if (kind == WarpOpKind::shuffle_up) {
    source = (long long)lane - argument;
    return source < first ? lane : (int)source;
  }
  source = kind == WarpOpKind::shuffle_down ? (long long)lane + argument : (long long)((unsigned)lane ^ argument);
  return source > last ? lane : (int)source;
}

static uint32_t combine(WarpOpKind kind, uint32_t a, uint32_t b) {
  switch (kind) {
    case WarpOpKind::add: return a + b;
    case WarpOpKind::min_signed: return (uint32_t)std::min((int32_t)a, (int32_t)b);
    case WarpOpKind::max_signed: return (uint32_t)std::max((int32_t)a, (int32_t)b);
    case WarpOpKind::min_unsigned: return std::min(a, b);
    case WarpOpKind::max_unsigned: return std::max(a, b);
    case WarpOpKind::bit_and: return a & b;
    case WarpOpKind::bit_or: return a | b;
    case WarpOpKind::bit_xor: return a ^ b;
    default: return 0;
  }
}

// Gives every lane its result and lets it go on.
void Scheduler::finish_warp_op(int warp_number, int op_number) {
  Warp &warp = warps[warp_number];
  WarpOp op = warp.ops[op_number];
  warp.ops[op_number] = warp.ops[--warp.op_count];
  if (op.kind == WarpOpKind::sync) warp.epoch++;
  Thread *lanes = &threads[warp_number * warp_size];
  auto takes_part = [&](int lane) { return (op.arrived >> lane & 1) != 0; };

  uint64_t common = 0;  // the result of a vote or reduction, the same for all
  bool first = true;
  for (int lane = 0; lane < warp_size && !is_shuffle(op.kind); lane++) {
    if (!takes_part(lane)) continue;
    uint64_t input = lanes[lane].input;
    if (op.kind == WarpOpKind::ballot) {
      common |= (input & 1) << lane;
    } else if (op.kind == WarpOpKind::match_all) {
      common = first || (common && lanes[__builtin_ctz(op.arrived)].input == input) ? op.arrived : 0;
    } else {
      common = first ? (uint32_t)input : combine(op.kind, (uint32_t)common, (uint32_t)input);
    }
    first = false;
  }

  for (int i = 0; i < warp_size; i++) {
    int lane = launch->order == reverse ? warp_size - 1 - i : i;
    if (!takes_part(lane)) continue;
    Thread &thread = lanes[lane];
    if (is_shuffle(op.kind)) {
      int source = shuffle_source(op.kind, lane, (unsigned)thread.warp_argument, op.width);
      // The value of a lane that takes no part is undefined.
      thread.result = takes_part(source) ? lanes[source].input : (uint64_t)poison_word << 32 | poison_word;
    } else if (op.kind == WarpOpKind::match_any) {
      thread.result = 0;
      for (int other = 0; other < warp_size; other++) {
        if (takes_part(other) && lanes[other].input == thread.input) thread.result |= 1ull << other;
      }
    } else {
      thread.result = common;
    }
    int number = warp_number * warp_size + lane;
    if (number != current || thread.state == ThreadState::in_warp_op) make_ready(number);
  }
}

void Scheduler::warp_op(WarpOpKind kind, unsigned mask, const void *input, void *output, int size, int argument,
                        int width, int line) {
  int warp_number = current / warp_size;
  int lane = current % warp_size;
  Warp &warp = warps[warp_number];
  Thread &thread = threads[current];
  const char *name = warp_op_name(kind);
  thread.line = line;
  if (!(mask >> lane & 1)) {
    fail(0, "%s at line %d: the calling lane %d is not in its mask %08x", name, line, lane, mask);
  }
  if (width < 1 || width > warp_size || (width & (width - 1))) {
    fail(0, "%s at line %d: the width %d is not a power of two up to 32", name, line, width);
  }
  if (launch->strict && (mask & warp.finished)) {
    fail(0, "%s at line %d: lanes %08x of the mask %08x have left the kernel", name, line, mask & warp.finished, mask);
  }
  thread.input = 0;
  memcpy(&thread.input, input, size);
  thread.warp_argument = argument;

  int number = 0;
  while (number < warp.op_count && !(warp.ops[number].mask & mask)) number++;
  if (number == warp.op_count) {
    warp.ops[number] = {kind, mask, 0, size, width, line};
    warp.op_count++;
  }
  WarpOp &op = warp.ops[number];
  if (op.mask != mask || op.kind != kind || op.size != size || op.width != width) {
    fail(0,
         "warp divergence: this lane is in %s at line %d with mask %08x, width %d; lanes %08x of its warp are in %s "
         "at line %d with mask %08x, width %d",
         name, line, mask, width, op.arrived, warp_op_name(op.kind), op.line, op.mask, op.width);
  }
  op.arrived |= 1u << lane;
  unsigned needed = mask & warp.existing & ~warp.finished;
  if ((op.arrived & needed) == needed) {
    finish_warp_op(warp_number, number);
  } else {
    thread.state = ThreadState::in_warp_op;
    wait();
  }
  memcpy(output, &threads[current].result, size);
}

}  // namespace emu
