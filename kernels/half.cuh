// __half and __nv_bfloat16: stored only. They are computed in as float and rounded to nearest even when stored.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include "types.cuh"

namespace gc {

template <>
struct Widen<__half> {
  static __device__ __forceinline__ float from(__half x) { return __half2float(x); }
};
template <>
struct Widen<__nv_bfloat16> {
  static __device__ __forceinline__ float from(__nv_bfloat16 x) { return __bfloat162float(x); }
};
template <>
struct Convert<__half> {
  template <class From>
  static __device__ __forceinline__ __half from(From x) { return __float2half_rn(static_cast<float>(x)); }
  // In one rounding: through float there would be two.
  static __device__ __forceinline__ __half from(double x) { return __double2half(x); }
};
template <>
struct Convert<__nv_bfloat16> {
  template <class From>
  static __device__ __forceinline__ __nv_bfloat16 from(From x) { return __float2bfloat16_rn(static_cast<float>(x)); }
  static __device__ __forceinline__ __nv_bfloat16 from(double x) { return __double2bfloat16(x); }
};

}  // namespace gc
