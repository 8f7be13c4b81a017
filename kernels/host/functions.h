// exp, log, log1p, erf, tanh and the logistic function of floats, each within 2 ulp, written out.
//
// They have no branches and call nothing, so a loop over them is vectorised by any compiler for any CPU, in short rows
// and at the ends of long ones, too, and takes two thirds of the time of the vector library. Infinities, NaN, the signs
// of zeros and subnormal results are those of the C library. Doubles stay with the C library.
//
// The coefficients were fitted in double for the least largest relative error of the result (least squares with
// Lawson's weights), and rounded to floats one by one, the others fitted anew after each.
#pragma once
#include "host/host.h"

namespace gc {

// a b + c, rounded once where the CPU has an instruction for it.
__forceinline__ float fused(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// x, but no more than a positive limit, and no less than a negative one; by their bits: compilers have instructions
// for the extremes of integers, and split the computation where floats are compared. NaN becomes the limit.
__forceinline__ float at_most(float limit, float x) {
  const int bits = __float_as_int(x), most = __float_as_int(limit);
  return __int_as_float(bits < most ? bits : most);
}
__forceinline__ float at_least(float limit, float x) {
  const unsigned int bits = static_cast<unsigned int>(__float_as_int(x));
  const unsigned int least = static_cast<unsigned int>(__float_as_int(limit));
  return __int_as_float(static_cast<int>(bits < least ? bits : least));
}
__forceinline__ float or_nan(float x, float result) { return x != x ? x : result; }

// The polynomial with these coefficients, the highest power's first: even and odd powers apart, so that half as many
// sums wait for each other as in Horner's rule.
__forceinline__ float pairs(float x, float, float a, float b) { return fused(a, x, b); }
__forceinline__ float pairs(float x, float square, float a, float b, float c) {
  return fused(b, x, fused(a, square, c));
}
template <class... More>
__forceinline__ float pairs(float x, float square, float a, float b, float c, float d, More... more) {
  return pairs(x, square, fused(a, square, c), fused(b, square, d), more...);
}
template <class... Values>
__forceinline__ float polynomial(float x, Values... values) { return pairs(x, x * x, values...); }

// The float with these bits as its exponent, and no others: a power of 2.
__forceinline__ float power_of_2(unsigned int exponent) { return __int_as_float(static_cast<int>(exponent << 23)); }

// What e^x is made of: 2^n e^r with n whole and |r| <= log(2) / 2 (log(2) in two parts: W. J. Cody and W. Waite,
// Software Manual for the Elementary Functions, 1980), and e^r = 1 + r + r^2 q(r) with the polynomial of the least
// error, 3e-9.
// n + BIAS is in the low bits of `exponent`; a shift drops the others.
template <int BIAS>
struct Exponential {
  float r;
  unsigned int exponent;

  __forceinline__ explicit Exponential(float x) {
    const float shift = 0x1.8p23f + BIAS;  // floats are whole numbers there
    const float shifted = fused(x, 0x1.715476p0f, shift), n = shifted - shift;
    r = fused(n, 2.12194440e-4f, fused(n, -0.693359375f, x));
    exponent = static_cast<unsigned int>(__float_as_int(shifted));
  }
  __forceinline__ float q() const {
    return polynomial(r, 1.38143206e-3f, 8.36885162e-3f, 4.16684002e-2f, 0.166665196f, 0.49999994f);
  }
  // e^r, and what it is more than 1.
  __forceinline__ float mantissa() const { return fused(fused(q(), r, 1.0f), r, 1.0f); }
  __forceinline__ float excess() const { return fused(r * r, q(), r); }
};

namespace single {

// 2^n as the product of two powers, for it may be too large for one, or too small.
__forceinline__ float exp(float x) {
  const Exponential<2 * 127> e(at_most(89.0f, at_least(-104.0f, x)));
  const unsigned int half = e.exponent >> 1;
  return or_nan(x, e.mantissa() * power_of_2(half) * power_of_2(e.exponent - half));
}

// The same for x <= 0, the logarithm of a share: 2^(n + 64), and 2^-64, which rounds what becomes subnormal.
__forceinline__ float exp_of_negative(float x) {
  const Exponential<127 + 64> e(x < -104.0f ? -104.0f : x);
  return e.mantissa() * power_of_2(e.exponent) * 0x1p-64f;
}

// 1 / (1 + e^-x), both sides of the fraction times 2^-24, so that no e^-x is infinite where the result is not yet 0.
__forceinline__ float sigmoid(float x) {
  const Exponential<127 - 24> e(at_most(104.0f, at_least(-70.0f, -x)));
  const float power = power_of_2(e.exponent);
  return or_nan(x, 0x1p-24f / (fused(e.excess(), power, 0x1p-24f) + power));
}

// With h = (e^2x - 1) / 2, h / (1 + h), written h - h h / (1 + h), whose second term is small where h is; and
// 1 - 1 / (1 + h) for h > 1, which is 1 from x = 9.02 on.
__forceinline__ float tanh(float x) {
  const Exponential<127 - 1> e(2.0f * at_most(10.0f, fabsf(x)));
  const float power = power_of_2(e.exponent), h = fused(e.excess(), power, power - 0.5f), least = at_most(1.0f, h);
  return or_nan(x, __builtin_copysignf(fused(-least, least / (1.0f + h), least), x));
}

// log(1 + x) for -0.25 <= x <= 0.5, plus n log(2).
__forceinline__ float log_of_near_1(float x, float n) {
  const float p = polynomial(x, 0.0541730821f, -0.120700181f, 0.149830461f, -0.168220878f, 0.199771047f, -0.249934942f,
                             0.333335489f, -0.500000596f);
  return fused(n, 0.693147182f, fused(x * x, p, x));
}

// A number is 2^n m with 0.75 <= m < 1.5; n, as it is in the bits of a float.
__forceinline__ int exponent_bits(float x) { return (__float_as_int(x) - 0x3f400000) & static_cast<int>(0xff800000); }
__forceinline__ float whole(int bits) { return static_cast<float>(bits >> 23); }

// The logarithm of x, given what it is for positive finite numbers.
__forceinline__ float log_or_special(float x, float result) {
  const float positive = x < __builtin_inff() ? result : x;
  return x > 0.0f ? positive : x == 0.0f ? -__builtin_inff() : __builtin_nanf("");
}

__forceinline__ float log(float x) {
  const bool subnormal = x < 0x1p-126f;
  const float scaled = x * (subnormal ? 0x1p23f : 1.0f);
  const int n = exponent_bits(scaled);
  const float m = __int_as_float(__float_as_int(scaled) - n);
  return log_or_special(x, log_of_near_1(m - 1.0f, whole(n) - (subnormal ? 23.0f : 0.0f)));
}

// 1 + x = 2^n m, and m - 1 = 2^-n x + (2^-n - 1), in which x loses no bits (N. Juffa). The result has the sign of x.
__forceinline__ float log1p(float x) {
  const float sum = 1.0f + x;
  const int n = exponent_bits(sum);
  const float scale = __int_as_float(0x40800000 - n);  // 4 2^-n, which is never subnormal
  const float rest = __int_as_float(__float_as_int(x) - n) + fused(0.25f, scale, -1.0f);
  return __builtin_copysignf(log_or_special(sum, log_of_near_1(rest, whole(n))), x);
}

// x + x p(x^2), and 1 - 1 / q(x)^8 from 1.125 on (after M. Abramowitz and I. Stegun, Handbook of Mathematical
// Functions, 1964, 7.1.28), where what the powers make of q's roundings is small beside the 1. Both err by less than
// 1e-8.
__forceinline__ float erf(float x) {
  const float a = at_most(4.0f, fabsf(x));
  const float p = polynomial(a * a, 7.06350183e-05f, -0.000776579662f, 0.00516025908f, -0.0268392228f, 0.112832561f,
                             -0.376126021f, 0.128379166f);
  const float q = polynomial(a, 0.000642843894f, -0.00523039885f, 0.0241552293f, -0.0512662493f, 0.104370311f,
                             0.0190356709f, 0.175690636f, 0.992712736f);
  const float square = q * q, fourth = square * square;
  const float result = a < 1.125f ? fused(a, p, a) : 1.0f - 1.0f / (fourth * fourth);
  return or_nan(x, __builtin_copysignf(result, x));
}

}  // namespace single
}  // namespace gc

// What math.cuh calls for floats.
#define expf gc::single::exp
#define logf gc::single::log
#define log1pf gc::single::log1p
#define erff gc::single::erf
#define tanhf gc::single::tanh
#define sigmoidf gc::single::sigmoid
