// The functions that scalar expressions call: one name for float, double and the integer types.
//
// gradcore/expr/primitives.py names them in its CUDA texts. float goes to the single-precision function, never through
// double. NaN goes through every function as in PyTorch; maximum and minimum return NaN if either operand is NaN, where
// fmaxf and fminf would drop it.
#pragma once

namespace gc {

template <class T>
__device__ __forceinline__ T infinity();
template <>
__device__ __forceinline__ float infinity<float>() { return __int_as_float(0x7f800000); }
template <>
__device__ __forceinline__ double infinity<double>() { return __longlong_as_double(0x7ff0000000000000LL); }

template <class T>
__device__ __forceinline__ T nan();
template <>
__device__ __forceinline__ float nan<float>() { return __int_as_float(0x7fc00000); }
template <>
__device__ __forceinline__ double nan<double>() { return __longlong_as_double(0x7ff8000000000000LL); }

// The smallest value of a type: minus infinity where there is one.
template <class T>
__device__ __forceinline__ T lowest() { return T(-1) < T(0) ? T(1ULL << (8 * sizeof(T) - 1)) : T(0); }
template <>
__device__ __forceinline__ float lowest<float>() { return -infinity<float>(); }
template <>
__device__ __forceinline__ double lowest<double>() { return -infinity<double>(); }

template <class T>
__device__ __forceinline__ T highest() { return T(~lowest<T>()); }
template <>
__device__ __forceinline__ bool highest<bool>() { return true; }
template <>
__device__ __forceinline__ float highest<float>() { return infinity<float>(); }
template <>
__device__ __forceinline__ double highest<double>() { return infinity<double>(); }

template <class T>
__device__ __forceinline__ bool negative(T x) { return x < T(0); }
__device__ __forceinline__ bool negative(bool) { return false; }
__device__ __forceinline__ bool negative(unsigned char) { return false; }
__device__ __forceinline__ bool negative(unsigned short) { return false; }
__device__ __forceinline__ bool negative(unsigned int) { return false; }
__device__ __forceinline__ bool negative(unsigned long long) { return false; }

#define GC_UNARY(name, single_name, double_name)                                    \
  __device__ __forceinline__ float name(float x) { return ::single_name(x); }       \
  __device__ __forceinline__ double name(double x) { return ::double_name(x); }

// ---------------------------------------------------------------- exponentials, roots, error functions
GC_UNARY(exp, expf, exp)
GC_UNARY(exp2, exp2f, exp2)
GC_UNARY(expm1, expm1f, expm1)
GC_UNARY(log, logf, log)
GC_UNARY(log1p, log1pf, log1p)
GC_UNARY(log2, log2f, log2)
GC_UNARY(log10, log10f, log10)
GC_UNARY(sqrt, sqrtf, sqrt)
GC_UNARY(rsqrt, rsqrtf, rsqrt)
GC_UNARY(erf, erff, erf)
GC_UNARY(erfc, erfcf, erfc)
GC_UNARY(erfinv, erfinvf, erfinv)
GC_UNARY(lgamma, lgammaf, lgamma)

// exp(-x) is infinite for very negative x, and the quotient 0: no branch is needed. The host has its own for floats.
#ifdef sigmoidf
__forceinline__ float sigmoid(float x) { return ::sigmoidf(x); }
#else
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + ::expf(-x)); }
#endif
__device__ __forceinline__ double sigmoid(double x) { return 1.0 / (1.0 + ::exp(-x)); }

// ---------------------------------------------------------------- trigonometric and hyperbolic
GC_UNARY(sin, sinf, sin)
GC_UNARY(cos, cosf, cos)
GC_UNARY(tan, tanf, tan)
GC_UNARY(asin, asinf, asin)
GC_UNARY(acos, acosf, acos)
GC_UNARY(atan, atanf, atan)
GC_UNARY(sinh, sinhf, sinh)
GC_UNARY(cosh, coshf, cosh)
GC_UNARY(tanh, tanhf, tanh)
GC_UNARY(asinh, asinhf, asinh)
GC_UNARY(acosh, acoshf, acosh)
GC_UNARY(atanh, atanhf, atanh)
__device__ __forceinline__ float atan2(float a, float b) { return ::atan2f(a, b); }
__device__ __forceinline__ double atan2(double a, double b) { return ::atan2(a, b); }

// ---------------------------------------------------------------- rounding (round: to even); integers are round
// already
GC_UNARY(floor, floorf, floor)
GC_UNARY(ceil, ceilf, ceil)
GC_UNARY(round, rintf, rint)
GC_UNARY(trunc, truncf, trunc)
template <class T>
__device__ __forceinline__ T floor(T x) { return x; }
template <class T>
__device__ __forceinline__ T ceil(T x) { return x; }
template <class T>
__device__ __forceinline__ T round(T x) { return x; }
template <class T>
__device__ __forceinline__ T trunc(T x) { return x; }

// ---------------------------------------------------------------- sign and magnitude
GC_UNARY(abs, fabsf, fabs)
// Negation in the unsigned type: the lowest integer is its own negative, and no overflow is undefined.
template <class T>
__device__ __forceinline__ T abs(T x) { return negative(x) ? T(0ULL - static_cast<unsigned long long>(x)) : x; }
// 0 for NaN, as in PyTorch.
template <class T>
__device__ __forceinline__ T sign(T x) { return T((T(0) < x) - negative(x)); }
#undef GC_UNARY

// ---------------------------------------------------------------- tests
__device__ __forceinline__ bool isnan(float x) { return x != x; }
__device__ __forceinline__ bool isnan(double x) { return x != x; }
template <class T>
__device__ __forceinline__ bool isnan(T) { return false; }
__device__ __forceinline__ bool isinf(float x) { return ::fabsf(x) == infinity<float>(); }
__device__ __forceinline__ bool isinf(double x) { return ::fabs(x) == infinity<double>(); }
template <class T>
__device__ __forceinline__ bool isinf(T) { return false; }
// Written so that NaN is not finite.
__device__ __forceinline__ bool isfinite(float x) { return ::fabsf(x) < infinity<float>(); }
__device__ __forceinline__ bool isfinite(double x) { return ::fabs(x) < infinity<double>(); }
template <class T>
__device__ __forceinline__ bool isfinite(T) { return true; }

template <class T>
__device__ __forceinline__ T maximum(T a, T b) { return isnan(a) || a > b ? a : b; }
template <class T>
__device__ __forceinline__ T minimum(T a, T b) { return isnan(a) || a < b ? a : b; }

template <class T>
__device__ __forceinline__ T bitwise_not(T x) { return T(~x); }
template <>
__device__ __forceinline__ bool bitwise_not<bool>(bool x) { return !x; }

// ---------------------------------------------------------------- division: the quotient rounded down, and what is
// left The remainder has the divisor's sign (Python, PyTorch). Integers divided by zero give 0, as in NumPy.
__device__ __forceinline__ float fmod(float a, float b) { return ::fmodf(a, b); }
__device__ __forceinline__ double fmod(double a, double b) { return ::fmod(a, b); }
template <class T>
__device__ __forceinline__ T fmod(T a, T b) {
  // b == -1 apart: the quotient of the lowest integer would overflow.
  return b == T(0) || (T(-1) < T(0) && b == T(-1)) ? T(0) : T(a % b);
}

template <class T>
__device__ __forceinline__ T remainder(T a, T b) {
  const T rest = fmod(a, b);
  return rest != T(0) && negative(b) != negative(rest) ? T(rest + b) : rest;
}

template <class T>
__device__ __forceinline__ T floor_divide_float(T a, T b) {
  if (b == T(0)) return a / b;
  const T rest = fmod(a, b);
  T quotient = (a - rest) / b;
  if (rest != T(0) && negative(b) != negative(rest)) quotient -= T(1);
  if (quotient == T(0)) return T(0) * (a / b);  // the zero with the quotient's sign
  // (a - rest) / b is a whole number up to rounding: take the nearest.
  const T whole = floor(quotient);
  return quotient - whole > T(0.5) ? whole + T(1) : whole;
}
__device__ __forceinline__ float floor_divide(float a, float b) { return floor_divide_float(a, b); }
__device__ __forceinline__ double floor_divide(double a, double b) { return floor_divide_float(a, b); }
template <class T>
__device__ __forceinline__ T floor_divide(T a, T b) {
  if (b == T(0)) return T(0);
  if (T(-1) < T(0) && b == T(-1)) return T(0ULL - static_cast<unsigned long long>(a));
  const T quotient = a / b;
  return T(quotient * b) != a && negative(a) != negative(b) ? T(quotient - 1) : quotient;
}

// ---------------------------------------------------------------- powers
__device__ __forceinline__ float pow(float a, float b) { return ::powf(a, b); }
__device__ __forceinline__ double pow(double a, double b) { return ::pow(a, b); }
// Integers by repeated squaring, wrapping around; a negative exponent leaves only the powers of 1 and -1.
template <class T>
__device__ __forceinline__ T pow(T a, T b) {
  if (negative(b)) return a == T(1) ? T(1) : a == T(-1) ? T(b % T(2) != T(0) ? -1 : 1) : T(0);
  unsigned long long base = static_cast<unsigned long long>(a), result = 1;
  for (unsigned long long e = static_cast<unsigned long long>(b); e; e >>= 1) {
    if (e & 1) result *= base;
    base *= base;
  }
  return T(result);
}

}  // namespace gc
