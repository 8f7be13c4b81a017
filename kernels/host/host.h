// What the kernels' headers expect of CUDA, for the host's own compiler, so that math.cuh and types.cuh serve both.
//
// Every native kernel includes this first. No header of the C++ library is included: a kernel is compiled while somebody
// waits for it. The functions of the C library are declared here instead, and where the vector library that belongs to
// glibc (libmvec) is installed they carry `simd`, so that a loop that calls them is vectorised with NaN, infinities and
// signed zeros in their places: no -ffast-math. Its results are within 4 ulp.
#pragma once

#if __has_include(<features.h>)
#include <features.h>  // for the version of glibc
#endif

#define __device__
#define __forceinline__ inline __attribute__((always_inline))

// A function that Python calls.
#define GC_EXPORT extern "C" __attribute__((visibility("default")))

// The iterations of the next loop do not depend on each other, whatever the pointers may look like.
#if defined(__clang__)
#define GC_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define GC_INDEPENDENT _Pragma("GCC ivdep")
#endif

// ---------------------------------------------------------------- the C library
// GC_SIMD: in libmvec since it exists (glibc 2.22); GC_SIMD_LATER: since 2.35.
#define GC_SIMD
#define GC_SIMD_LATER
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 22)
#undef GC_SIMD
#define GC_SIMD __attribute__((simd("notinbranch")))
#endif
#if __GLIBC_PREREQ(2, 35)
#undef GC_SIMD_LATER
#define GC_SIMD_LATER __attribute__((simd("notinbranch")))
#endif
#endif

#define GC_C_UNARY(simd, name)                                      \
  simd __attribute__((const)) float name##f(float) noexcept;        \
  simd __attribute__((const)) double name(double) noexcept;
#define GC_C_BINARY(simd, name)                                     \
  simd __attribute__((const)) float name##f(float, float) noexcept; \
  simd __attribute__((const)) double name(double, double) noexcept;

extern "C" {
GC_C_UNARY(GC_SIMD, exp)
GC_C_UNARY(GC_SIMD, log)
GC_C_UNARY(GC_SIMD, sin)
GC_C_UNARY(GC_SIMD, cos)
GC_C_BINARY(GC_SIMD, pow)
GC_C_UNARY(GC_SIMD_LATER, exp2)
GC_C_UNARY(GC_SIMD_LATER, expm1)
GC_C_UNARY(GC_SIMD_LATER, log1p)
GC_C_UNARY(GC_SIMD_LATER, log2)
GC_C_UNARY(GC_SIMD_LATER, log10)
GC_C_UNARY(GC_SIMD_LATER, erf)
GC_C_UNARY(GC_SIMD_LATER, erfc)
GC_C_UNARY(GC_SIMD_LATER, tan)
GC_C_UNARY(GC_SIMD_LATER, asin)
GC_C_UNARY(GC_SIMD_LATER, acos)
GC_C_UNARY(GC_SIMD_LATER, atan)
GC_C_UNARY(GC_SIMD_LATER, sinh)
GC_C_UNARY(GC_SIMD_LATER, cosh)
GC_C_UNARY(GC_SIMD_LATER, tanh)
GC_C_UNARY(GC_SIMD_LATER, asinh)
GC_C_UNARY(GC_SIMD_LATER, acosh)
GC_C_UNARY(GC_SIMD_LATER, atanh)
GC_C_BINARY(GC_SIMD_LATER, atan2)
// Not in libmvec; most are instructions.
GC_C_UNARY(, sqrt)
GC_C_UNARY(, fabs)
GC_C_UNARY(, floor)
GC_C_UNARY(, ceil)
GC_C_UNARY(, rint)
GC_C_UNARY(, trunc)
GC_C_BINARY(, fmod)
GC_C_UNARY(, lgamma)
}
#undef GC_C_UNARY
#undef GC_C_BINARY
#undef GC_SIMD
#undef GC_SIMD_LATER

// ---------------------------------------------------------------- CUDA's own
template <class To, class From>
__forceinline__ To gc_bit_cast(From x) {
  static_assert(sizeof(To) == sizeof(From), "as many bytes");
  To y;
  __builtin_memcpy(&y, &x, sizeof y);
  return y;
}
__forceinline__ float __int_as_float(int x) { return gc_bit_cast<float>(x); }
__forceinline__ int __float_as_int(float x) { return gc_bit_cast<int>(x); }
__forceinline__ double __longlong_as_double(long long x) { return gc_bit_cast<double>(x); }
__forceinline__ long long __double_as_longlong(double x) { return gc_bit_cast<long long>(x); }

__forceinline__ float rsqrtf(float x) { return 1.0f / sqrtf(x); }
__forceinline__ double rsqrt(double x) { return 1.0 / sqrt(x); }

// Newton's method on erf, started from S. Winitzki's approximation (2008), which is good to 2e-3; on erfc in the tails,
// where erf rounds to 1.
__forceinline__ double erfinv(double y) {
  const double a = fabs(y), logarithm = log1p(-a * a), term = 4.3307467508 + logarithm / 2;
  double x = sqrt(sqrt(term * term - logarithm / 0.147) - term);
  for (int i = 0; i < 4; i++) {
    const double error = a > 0.5 ? (1.0 - a) - erfc(x) : erf(x) - a;
    x -= error / (1.1283791670955126 * exp(-x * x));
  }
  const double magnitude = a == 1.0 ? __longlong_as_double(0x7ff0000000000000LL) : x;
  return y < 0 ? -magnitude : magnitude;
}
__forceinline__ float erfinvf(float y) { return static_cast<float>(erfinv(static_cast<double>(y))); }

struct uint2 { unsigned int x, y; };
struct uint4 { unsigned int x, y, z, w; };

namespace gc {

// What Python put into a slot of a kernel's arguments, 8 bytes each: an address, or a number, floats as doubles.
template <class T>
struct Argument {
  static T from(long long slot) { return static_cast<T>(slot); }
};
template <class T>
struct Argument<T *> {
  static T *from(long long slot) { return reinterpret_cast<T *>(slot); }
};
template <>
struct Argument<double> {
  static double from(long long slot) { return gc_bit_cast<double>(slot); }
};
template <>
struct Argument<float> {
  static float from(long long slot) { return static_cast<float>(gc_bit_cast<double>(slot)); }
};

}  // namespace gc
