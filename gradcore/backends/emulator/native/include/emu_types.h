// CUDA's language keywords as host C++ macros, and the built-in vector types.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// These guards keep NVIDIA's own definitions out when cuda_fp16.h asks for them.
#define __VECTOR_TYPES_H__
#define __VECTOR_FUNCTIONS_H__
#define __HOST_DEFINES_H__

#define __host__
#define __device__
#define __global__
#define __constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __cudart_builtin__
#define __device_builtin__
#define __restrict__ __restrict
#define __builtin_assume(condition) ((void)0)

// One copy per OS thread, and a launch runs its blocks one after another on one OS thread. Thread-local storage is
// also the one place whose address range is known, which is what poisoning and checking shared memory need.
#define __shared__ static __thread

#define EMU_VECTOR_TYPES(T, name, align2, align4)                                                             \
  struct name##1 { T x; };                                                                                    \
  struct alignas(align2) name##2 { T x, y; };                                                                 \
  struct name##3 { T x, y, z; };                                                                              \
  struct alignas(align4) name##4 { T x, y, z, w; };                                                           \
  static inline name##1 make_##name##1(T x) { return {x}; }                                                   \
  static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                           \
  static inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                   \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

EMU_VECTOR_TYPES(signed char, char, 2, 4)
EMU_VECTOR_TYPES(unsigned char, uchar, 2, 4)
EMU_VECTOR_TYPES(short, short, 4, 8)
EMU_VECTOR_TYPES(unsigned short, ushort, 4, 8)
EMU_VECTOR_TYPES(int, int, 8, 16)
EMU_VECTOR_TYPES(unsigned, uint, 8, 16)
EMU_VECTOR_TYPES(long, long, 16, 16)
EMU_VECTOR_TYPES(unsigned long, ulong, 16, 16)
EMU_VECTOR_TYPES(long long, longlong, 16, 16)
EMU_VECTOR_TYPES(unsigned long long, ulonglong, 16, 16)
EMU_VECTOR_TYPES(float, float, 8, 16)
EMU_VECTOR_TYPES(double, double, 16, 16)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
