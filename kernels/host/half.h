// float16 and bfloat16 on the host, stored as their bits and computed in as float; rounded to nearest even when stored.
//
// Written in integer and float arithmetic, without branches, so that loops are vectorised whatever the CPU has.
#pragma once
#include "host/host.h"
#include "types.cuh"

struct __half { unsigned short bits; };
struct __nv_bfloat16 { unsigned short bits; };

namespace gc {

template <>
struct Widen<__half> {
  static __device__ __forceinline__ float from(__half x) {
    const int magnitude = x.bits & 0x7fff, sign = (x.bits & 0x8000) << 16;
    // The exponent is moved up by 112; a product with 2^112 also makes normal numbers of subnormal ones.
    const float normal = __int_as_float(magnitude << 13) * 0x1p112f;
    const int bits = magnitude >= 0x7c00 ? (magnitude << 13) | 0x7f800000 : __float_as_int(normal);
    return __int_as_float(bits | sign);
  }
};

template <>
struct Widen<__nv_bfloat16> {
  static __device__ __forceinline__ float from(__nv_bfloat16 x) { return __int_as_float(x.bits << 16); }
};

template <>
struct Convert<__half> {
  static __device__ __forceinline__ __half from(float x) {
    const int bits = __float_as_int(x), magnitude = bits & 0x7fffffff;
    // Subnormal results: adding 0.5 leaves multiples of 2^-24 in the low bits, rounded by the addition.
    const int subnormal = __float_as_int(__int_as_float(magnitude) + 0.5f) - 0x3f000000;
    const int normal = (magnitude - (112 << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    const int finite = magnitude < 0x38800000 ? subnormal : normal;
    const int large = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    const int half = magnitude >= 0x477ff000 ? large : finite;
    return {static_cast<unsigned short>(half | ((bits >> 16) & 0x8000))};
  }
  template <class From>
  static __device__ __forceinline__ __half from(From x) { return from(static_cast<float>(x)); }
};

template <>
struct Convert<__nv_bfloat16> {
  static __device__ __forceinline__ __nv_bfloat16 from(float x) {
    const unsigned int bits = static_cast<unsigned int>(__float_as_int(x));
    const unsigned int rounded = bits + 0x7fff + ((bits >> 16) & 1);
    const unsigned int quiet = bits | 0x400000;
    return {static_cast<unsigned short>(((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded) >> 16)};
  }
  template <class From>
  static __device__ __forceinline__ __nv_bfloat16 from(From x) { return from(static_cast<float>(x)); }
};

}  // namespace gc
