// CUDA's mathematical functions and intrinsics that the host's <math.h> lacks. The fast approximations (__expf, ...)
// give the accurate value here.
#pragma once

#include "emu_device.h"

// ---------------------------------------------------------------- minimum and maximum
#define EMU_MIN_MAX(T, A, B)                                             \
  EMU_INLINE T min(A a, B b) { return (T)b < (T)a ? (T)b : (T)a; }       \
  EMU_INLINE T max(A a, B b) { return (T)a < (T)b ? (T)b : (T)a; }
EMU_MIN_MAX(int, int, int)
EMU_MIN_MAX(unsigned, unsigned, unsigned)
EMU_MIN_MAX(unsigned, int, unsigned)
EMU_MIN_MAX(unsigned, unsigned, int)
EMU_MIN_MAX(long, long, long)
EMU_MIN_MAX(unsigned long, unsigned long, unsigned long)
EMU_MIN_MAX(long long, long long, long long)
EMU_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
EMU_MIN_MAX(unsigned long long, long long, unsigned long long)
EMU_MIN_MAX(unsigned long long, unsigned long long, long long)
// A NaN loses against a number.
EMU_INLINE float min(float a, float b) { return fminf(a, b); }
EMU_INLINE float max(float a, float b) { return fmaxf(a, b); }
EMU_INLINE double min(double a, double b) { return fmin(a, b); }
EMU_INLINE double max(double a, double b) { return fmax(a, b); }
EMU_INLINE double min(float a, double b) { return fmin(a, b); }
EMU_INLINE double max(float a, double b) { return fmax(a, b); }
EMU_INLINE double min(double a, float b) { return fmin(a, b); }
EMU_INLINE double max(double a, float b) { return fmax(a, b); }

// ---------------------------------------------------------------- the bits of a number
template <class To, class From>
static inline To emu_bit_cast(From value) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To result;
  __builtin_memcpy(&result, &value, sizeof result);
  return result;
}
EMU_INLINE int __float_as_int(float a) { return emu_bit_cast<int>(a); }
EMU_INLINE unsigned __float_as_uint(float a) { return emu_bit_cast<unsigned>(a); }
EMU_INLINE float __int_as_float(int a) { return emu_bit_cast<float>(a); }
EMU_INLINE float __uint_as_float(unsigned a) { return emu_bit_cast<float>(a); }
EMU_INLINE long long __double_as_longlong(double a) { return emu_bit_cast<long long>(a); }
EMU_INLINE double __longlong_as_double(long long a) { return emu_bit_cast<double>(a); }
EMU_INLINE int __double2hiint(double a) { return (int)(emu_bit_cast<long long>(a) >> 32); }
EMU_INLINE int __double2loint(double a) { return (int)emu_bit_cast<long long>(a); }
EMU_INLINE double __hiloint2double(int high, int low) {
  return emu_bit_cast<double>((unsigned long long)(unsigned)high << 32 | (unsigned)low);
}

// ---------------------------------------------------------------- functions under names that glibc uses itself
#define __expf emu_expf
#define __exp10f emu_exp10f_fast
#define exp10f emu_exp10f
#define exp10 emu_exp10
#define __logf emu_logf
#define __log2f emu_log2f
#define __log10f emu_log10f
#define __sinf emu_sinf
#define __cosf emu_cosf
#define __tanf emu_tanf
#define __sincosf emu_sincosf
#define __powf emu_powf

EMU_INLINE float __expf(float a) { return expf(a); }
EMU_INLINE float exp10f(float a) { return powf(10.0f, a); }
EMU_INLINE double exp10(double a) { return pow(10.0, a); }
EMU_INLINE float __exp10f(float a) { return powf(10.0f, a); }
EMU_INLINE float __logf(float a) { return logf(a); }
EMU_INLINE float __log2f(float a) { return log2f(a); }
EMU_INLINE float __log10f(float a) { return log10f(a); }
EMU_INLINE float __sinf(float a) { return sinf(a); }
EMU_INLINE float __cosf(float a) { return cosf(a); }
EMU_INLINE float __tanf(float a) { return tanf(a); }
EMU_INLINE void __sincosf(float a, float *sine, float *cosine) {
  *sine = sinf(a);
  *cosine = cosf(a);
}
EMU_INLINE float __powf(float a, float b) { return powf(a, b); }

// ---------------------------------------------------------------- functions that the host lacks
EMU_INLINE float rsqrtf(float a) { return 1.0f / sqrtf(a); }
EMU_INLINE double rsqrt(double a) { return 1.0 / sqrt(a); }
EMU_INLINE float rsqrt(float a) { return rsqrtf(a); }
EMU_INLINE float rcbrtf(float a) { return 1.0f / cbrtf(a); }
EMU_INLINE double rcbrt(double a) { return 1.0 / cbrt(a); }
EMU_INLINE double normcdf(double a) { return 0.5 * erfc(-a * 0.70710678118654752); }
EMU_INLINE float normcdff(float a) { return (float)normcdf((double)a); }
EMU_INLINE float sinpif(float a) { return (float)sin(3.14159265358979324 * fmod((double)a, 2.0)); }
EMU_INLINE float cospif(float a) { return (float)cos(3.14159265358979324 * fmod((double)a, 2.0)); }
EMU_INLINE double sinpi(double a) { return sin(3.14159265358979324 * fmod(a, 2.0)); }
EMU_INLINE double cospi(double a) { return cos(3.14159265358979324 * fmod(a, 2.0)); }
EMU_INLINE void sincospif(float a, float *sine, float *cosine) {
  *sine = sinpif(a);
  *cosine = cospif(a);
}
EMU_INLINE void sincospi(double a, double *sine, double *cosine) {
  *sine = sinpi(a);
  *cosine = cospi(a);
}
// Newton's method on erf, started from Winitzki's approximation (about 2e-3).
EMU_INLINE double erfinv(double y) {
  if (!(y > -1.0 && y < 1.0)) return y == 1.0 || y == -1.0 ? y * __builtin_inf() : __builtin_nan("");
  double logarithm = log1p(-y * y);
  double term = 4.3307467508 + logarithm / 2;
  double x = copysign(sqrt(sqrt(term * term - logarithm / 0.147) - term), y);
  for (int i = 0; i < 4; i++) {
    // Far out in the tail erf rounds to one: solve for erfc instead.
    double error = y > 0.5 ? (1.0 - y) - erfc(x) : y < -0.5 ? erfc(-x) - (1.0 + y) : erf(x) - y;
    x -= error / (1.1283791670955126 * exp(-x * x));
  }
  return x;
}
EMU_INLINE float erfinvf(float y) { return (float)erfinv((double)y); }
EMU_INLINE float normcdfinvf(float p) { return (float)(1.4142135623730951 * erfinv(2.0 * p - 1.0)); }
EMU_INLINE double normcdfinv(double p) { return 1.4142135623730951 * erfinv(2.0 * p - 1.0); }
EMU_INLINE float fdividef(float a, float b) { return a / b; }
EMU_INLINE float rhypotf(float a, float b) { return 1.0f / hypotf(a, b); }

// ---------------------------------------------------------------- arithmetic with a named rounding
EMU_INLINE float __fadd_rn(float a, float b) { return a + b; }
EMU_INLINE float __fsub_rn(float a, float b) { return a - b; }
EMU_INLINE float __fmul_rn(float a, float b) { return a * b; }
EMU_INLINE float __fdiv_rn(float a, float b) { return a / b; }
EMU_INLINE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
EMU_INLINE float __frcp_rn(float a) { return 1.0f / a; }
EMU_INLINE float __fsqrt_rn(float a) { return sqrtf(a); }
EMU_INLINE float __frsqrt_rn(float a) { return rsqrtf(a); }
EMU_INLINE float __fdividef(float a, float b) { return a / b; }
EMU_INLINE double __dadd_rn(double a, double b) { return a + b; }
EMU_INLINE double __dsub_rn(double a, double b) { return a - b; }
EMU_INLINE double __dmul_rn(double a, double b) { return a * b; }
EMU_INLINE double __ddiv_rn(double a, double b) { return a / b; }
EMU_INLINE double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
EMU_INLINE double __drcp_rn(double a) { return 1.0 / a; }
EMU_INLINE double __dsqrt_rn(double a) { return sqrt(a); }
EMU_INLINE float __saturatef(float a) { return a >= 0.0f ? (a > 1.0f ? 1.0f : a) : 0.0f; }

// ---------------------------------------------------------------- conversions
// Out of range the result is the nearest integer, and NaN becomes 0.
template <class Integer>
static inline Integer emu_to_integer(double value) {
  const Integer lowest = Integer(-1) < Integer(0) ? Integer(1ull << (8 * sizeof(Integer) - 1)) : Integer(0);
  const Integer highest = ~lowest;
  if (value != value) return 0;
  if (value <= (double)lowest) return lowest;
  if (value >= (double)highest) return highest;
  return (Integer)value;
}
#define EMU_CONVERSIONS(source, T, name, Integer)                                                      \
  EMU_INLINE Integer __##source##2##name##_rn(T a) { return emu_to_integer<Integer>(rint(a)); }        \
  EMU_INLINE Integer __##source##2##name##_rz(T a) { return emu_to_integer<Integer>(trunc(a)); }       \
  EMU_INLINE Integer __##source##2##name##_rd(T a) { return emu_to_integer<Integer>(floor(a)); }       \
  EMU_INLINE Integer __##source##2##name##_ru(T a) { return emu_to_integer<Integer>(ceil(a)); }
EMU_CONVERSIONS(float, float, int, int)
EMU_CONVERSIONS(float, float, uint, unsigned)
EMU_CONVERSIONS(float, float, ll, long long)
EMU_CONVERSIONS(float, float, ull, unsigned long long)
EMU_CONVERSIONS(double, double, int, int)
EMU_CONVERSIONS(double, double, uint, unsigned)
EMU_CONVERSIONS(double, double, ll, long long)
EMU_CONVERSIONS(double, double, ull, unsigned long long)
EMU_INLINE float __int2float_rn(int a) { return (float)a; }
EMU_INLINE float __uint2float_rn(unsigned a) { return (float)a; }
EMU_INLINE float __ll2float_rn(long long a) { return (float)a; }
EMU_INLINE float __ull2float_rn(unsigned long long a) { return (float)a; }
EMU_INLINE double __int2double_rn(int a) { return (double)a; }
EMU_INLINE double __ll2double_rn(long long a) { return (double)a; }
EMU_INLINE float __double2float_rn(double a) { return (float)a; }

// ---------------------------------------------------------------- integers and bits
EMU_INLINE int __popc(unsigned a) { return __builtin_popcount(a); }
EMU_INLINE int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
EMU_INLINE int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }
EMU_INLINE int __clzll(long long a) { return a ? __builtin_clzll((unsigned long long)a) : 64; }
EMU_INLINE int __ffs(int a) { return __builtin_ffs(a); }
EMU_INLINE int __ffsll(long long a) { return __builtin_ffsll(a); }
EMU_INLINE unsigned __brev(unsigned a) {
  unsigned result = 0;
  for (int i = 0; i < 32; i++) result |= ((a >> i) & 1u) << (31 - i);
  return result;
}
EMU_INLINE unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
EMU_INLINE int __mulhi(int a, int b) { return (int)(((int64_t)a * b) >> 32); }
EMU_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
EMU_INLINE long long __mul64hi(long long a, long long b) { return (long long)(((__int128)a * b) >> 64); }
EMU_INLINE int __mul24(int a, int b) { return a * b; }
EMU_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  shift &= 31;
  return shift ? (high << shift) | (low >> (32 - shift)) : high;
}
EMU_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  shift &= 31;
  return shift ? (low >> shift) | (high << (32 - shift)) : low;
}
EMU_INLINE unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  uint64_t bytes = (uint64_t)high << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) {
    unsigned pick = selector >> (4 * i);
    unsigned byte = (unsigned)(bytes >> (8 * (pick & 7))) & 0xffu;
    if (pick & 8) byte = byte & 0x80u ? 0xffu : 0u;
    result |= byte << (8 * i);
  }
  return result;
}
EMU_INLINE int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; i++) c += (int)(signed char)(a >> (8 * i)) * (int)(signed char)(b >> (8 * i));
  return c;
}

// ---------------------------------------------------------------- loads and stores with a cache hint
#define EMU_LOAD(name) template <class T> static inline T name(const T *address) { return *address; }
#define EMU_STORE(name) template <class T> static inline void name(T *address, T value) { *address = value; }
EMU_LOAD(__ldg)
EMU_LOAD(__ldca)
EMU_LOAD(__ldcg)
EMU_LOAD(__ldcs)
EMU_LOAD(__ldcv)
EMU_LOAD(__ldlu)
EMU_STORE(__stcg)
EMU_STORE(__stcs)
EMU_STORE(__stwb)
EMU_STORE(__stwt)
