// Thread indices, barriers, warp-wide operations and fences: the part of CUDA C++ that the scheduler implements.
//
// Each function takes the line of its call as a last, defaulted argument, so that errors can name it.
#pragma once

#include "emu_types.h"

namespace emu {

enum class BarrierKind { plain, count, all, any };

enum class WarpOpKind {
  shuffle, shuffle_up, shuffle_down, shuffle_xor,
  ballot, sync, match_any, match_all,
  add, min_signed, max_signed, min_unsigned, max_unsigned, bit_and, bit_or, bit_xor,
};

#pragma GCC visibility push(default)  // the runtime's, for the modules to link against

// Constant for the CUDA thread that asks, hence the attribute: the compiler may keep the answer across barriers.
uint3 thread_index() __attribute__((const));
uint3 block_index() __attribute__((const));
uint3 block_dimensions() __attribute__((const));
uint3 grid_dimensions() __attribute__((const));
char *dynamic_shared() __attribute__((const));

int barrier(BarrierKind kind, int predicate, int line);
void warp_op(WarpOpKind kind, unsigned mask, const void *input, void *output, int size, int argument, int width,
             int line);
unsigned active_mask();
void thread_fence();
[[noreturn]] void assertion_failed(const char *what, int line);

#pragma GCC visibility pop

template <class T>
inline T shuffle(WarpOpKind kind, unsigned mask, T value, int argument, int width, int line) {
  static_assert(sizeof(T) <= 8 && (sizeof(T) & (sizeof(T) - 1)) == 0, "a shuffle moves 1, 2, 4 or 8 bytes");
  T result;
  warp_op(kind, mask, &value, &result, sizeof(T), argument, width, line);
  return result;
}

inline unsigned ballot(unsigned mask, bool predicate, int line) {
  unsigned bit = predicate;
  unsigned result;
  warp_op(WarpOpKind::ballot, mask, &bit, &result, sizeof bit, 0, 32, line);
  return result;
}

template <class T>
inline T reduce(WarpOpKind kind, unsigned mask, T value, int line) {
  static_assert(sizeof(T) == 4, "__reduce_*_sync takes 32-bit integers");
  T result;
  warp_op(kind, mask, &value, &result, sizeof value, 0, 32, line);
  return result;
}

template <class T>
inline unsigned match(WarpOpKind kind, unsigned mask, T value, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "__match_*_sync takes 32- or 64-bit values");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  uint64_t result;
  warp_op(kind, mask, &bits, &result, sizeof bits, 0, 32, line);
  return (unsigned)result;
}

}  // namespace emu

#define threadIdx (::emu::thread_index())
#define blockIdx (::emu::block_index())
#define blockDim (::emu::block_dimensions())
#define gridDim (::emu::grid_dimensions())
#define warpSize 32

#define EMU_INLINE static inline __attribute__((unused))
#define EMU_LINE int line = __builtin_LINE()

EMU_INLINE void __syncthreads(EMU_LINE) { ::emu::barrier(::emu::BarrierKind::plain, 0, line); }
EMU_INLINE int __syncthreads_count(int p, EMU_LINE) { return ::emu::barrier(::emu::BarrierKind::count, p, line); }
EMU_INLINE int __syncthreads_and(int p, EMU_LINE) { return ::emu::barrier(::emu::BarrierKind::all, p, line); }
EMU_INLINE int __syncthreads_or(int p, EMU_LINE) { return ::emu::barrier(::emu::BarrierKind::any, p, line); }

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, EMU_LINE) {
  return ::emu::shuffle(::emu::WarpOpKind::shuffle, mask, value, lane, width, line);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_LINE) {
  return ::emu::shuffle(::emu::WarpOpKind::shuffle_up, mask, value, delta, width, line);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_LINE) {
  return ::emu::shuffle(::emu::WarpOpKind::shuffle_down, mask, value, delta, width, line);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, EMU_LINE) {
  return ::emu::shuffle(::emu::WarpOpKind::shuffle_xor, mask, value, lane_mask, width, line);
}

EMU_INLINE unsigned __ballot_sync(unsigned mask, int p, EMU_LINE) { return ::emu::ballot(mask, p != 0, line); }
EMU_INLINE int __any_sync(unsigned mask, int p, EMU_LINE) { return ::emu::ballot(mask, p != 0, line) != 0; }
EMU_INLINE int __all_sync(unsigned mask, int p, EMU_LINE) { return ::emu::ballot(mask, p == 0, line) == 0; }
EMU_INLINE unsigned __activemask() { return ::emu::active_mask(); }

EMU_INLINE void __syncwarp(unsigned mask = 0xffffffffu, EMU_LINE) {
  int unused = 0;
  ::emu::warp_op(::emu::WarpOpKind::sync, mask, &unused, &unused, sizeof unused, 0, 32, line);
}

template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, EMU_LINE) {
  return ::emu::match(::emu::WarpOpKind::match_any, mask, value, line);
}
template <class T>
inline unsigned __match_all_sync(unsigned mask, T value, int *predicate, EMU_LINE) {
  unsigned result = ::emu::match(::emu::WarpOpKind::match_all, mask, value, line);
  *predicate = result != 0;
  return result;
}

#define EMU_REDUCE(name, T, kind) \
  EMU_INLINE T name(unsigned mask, T value, EMU_LINE) { return ::emu::reduce(::emu::WarpOpKind::kind, mask, value, line); }
EMU_REDUCE(__reduce_add_sync, int, add)
EMU_REDUCE(__reduce_add_sync, unsigned, add)
EMU_REDUCE(__reduce_min_sync, int, min_signed)
EMU_REDUCE(__reduce_min_sync, unsigned, min_unsigned)
EMU_REDUCE(__reduce_max_sync, int, max_signed)
EMU_REDUCE(__reduce_max_sync, unsigned, max_unsigned)
EMU_REDUCE(__reduce_and_sync, unsigned, bit_and)
EMU_REDUCE(__reduce_or_sync, unsigned, bit_or)
EMU_REDUCE(__reduce_xor_sync, unsigned, bit_xor)

EMU_INLINE void __threadfence() { ::emu::thread_fence(); }
// Inside a block only one CUDA thread runs at a time: the compiler is all there is to stop.
EMU_INLINE void __threadfence_block() { __asm__ volatile("" ::: "memory"); }
EMU_INLINE void __threadfence_system() { ::emu::thread_fence(); }
EMU_INLINE void __nanosleep(unsigned) {}
#define __trap() ::emu::assertion_failed("__trap()", __LINE__)
#undef assert
#define assert(condition) ((condition) ? (void)0 : ::emu::assertion_failed(#condition, __LINE__))
