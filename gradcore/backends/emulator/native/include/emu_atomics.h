// Atomic operations. CUDA threads take turns on one OS thread and change over only at barriers and warp operations,
// so a plain read-modify-write is atomic; what matters is to tell the checker that the access is an atomic one.
#pragma once

#include "emu_device.h"

namespace emu {

// Reports an atomic access to the checker (no effect in fast mode); `pc` is the address of the call in the kernel.
__attribute__((visibility("default"))) void atomic_access(const void *address, size_t size, const void *pc);

// Kept out of line and out of the sanitizer's sight: the accesses inside are not plain ones.
#define EMU_UNSEEN no_sanitize("thread", "undefined")

template <class T, class Update>
__attribute__((noinline, EMU_UNSEEN)) T atomic_update(T *address, Update update) {
  atomic_access(address, sizeof(T), __builtin_return_address(0));
  // Copied as bytes: the assignment operator of a struct would be checked as a plain access.
  T old;
  __builtin_memcpy(&old, address, sizeof old);
  T updated = update(old);
  __builtin_memcpy(address, &updated, sizeof updated);
  return old;
}

}  // namespace emu

#define EMU_ATOMIC_FUNCTION(name, T, expression)                                                    \
  static inline __attribute__((always_inline)) T name(T *address, T value) {                        \
    auto update = [value](T old) __attribute__((EMU_UNSEEN)) -> T { return expression; };           \
    return ::emu::atomic_update(address, update);                                                   \
  }

#define EMU_ATOMIC_COMPARE(T)                                                                                      \
  static inline __attribute__((always_inline)) T atomicCAS(T *address, T compare, T value) {                       \
    auto update = [=](T old) __attribute__((EMU_UNSEEN)) -> T { return old == compare ? value : old; };            \
    return ::emu::atomic_update(address, update);                                                                  \
  }

#define EMU_ATOMIC_INTEGER(T)                                  \
  EMU_ATOMIC_FUNCTION(atomicAdd, T, old + value)               \
  EMU_ATOMIC_FUNCTION(atomicSub, T, old - value)               \
  EMU_ATOMIC_FUNCTION(atomicMax, T, old < value ? value : old) \
  EMU_ATOMIC_FUNCTION(atomicMin, T, value < old ? value : old) \
  EMU_ATOMIC_FUNCTION(atomicAnd, T, old & value)               \
  EMU_ATOMIC_FUNCTION(atomicOr, T, old | value)                \
  EMU_ATOMIC_FUNCTION(atomicXor, T, old ^ value)               \
  EMU_ATOMIC_FUNCTION(atomicExch, T, value)                    \
  EMU_ATOMIC_COMPARE(T)

EMU_ATOMIC_INTEGER(int)
EMU_ATOMIC_INTEGER(unsigned)
EMU_ATOMIC_INTEGER(unsigned long long)
// CUDA has no atomicAdd of long long.
EMU_ATOMIC_FUNCTION(atomicMax, long long, old < value ? value : old)
EMU_ATOMIC_FUNCTION(atomicMin, long long, value < old ? value : old)
EMU_ATOMIC_FUNCTION(atomicAdd, float, old + value)
EMU_ATOMIC_FUNCTION(atomicExch, float, value)
EMU_ATOMIC_FUNCTION(atomicAdd, double, old + value)
EMU_ATOMIC_FUNCTION(atomicInc, unsigned, old >= value ? 0 : old + 1)
EMU_ATOMIC_FUNCTION(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
EMU_ATOMIC_COMPARE(unsigned short)
