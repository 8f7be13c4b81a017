// __half and __nv_bfloat16: NVIDIA's own headers have a host side; what they offer on a device only is added here.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "emu_atomics.h"

#define EMU_HALF_FUNCTION(name, expression)              \
  EMU_INLINE __half name(__half a) {                     \
    float x = __half2float(a);                           \
    return __float2half(expression);                     \
  }                                                      \
  EMU_INLINE __nv_bfloat16 name(__nv_bfloat16 a) {       \
    float x = __bfloat162float(a);                       \
    return __float2bfloat16(expression);                 \
  }

EMU_HALF_FUNCTION(hexp, expf(x))
EMU_HALF_FUNCTION(hexp2, exp2f(x))
EMU_HALF_FUNCTION(hlog, logf(x))
EMU_HALF_FUNCTION(hlog2, log2f(x))
EMU_HALF_FUNCTION(hsqrt, sqrtf(x))
EMU_HALF_FUNCTION(hrsqrt, 1.0f / sqrtf(x))
EMU_HALF_FUNCTION(hrcp, 1.0f / x)
EMU_HALF_FUNCTION(htanh, tanhf(x))
EMU_HALF_FUNCTION(hsin, sinf(x))
EMU_HALF_FUNCTION(hcos, cosf(x))
EMU_HALF_FUNCTION(hfloor, floorf(x))
EMU_HALF_FUNCTION(hceil, ceilf(x))
EMU_HALF_FUNCTION(htrunc, truncf(x))
EMU_HALF_FUNCTION(hrint, rintf(x))

// The product of two halves is exact in double, so only the final rounding is left.
EMU_INLINE __half __hfma(__half a, __half b, __half c) {
  return __double2half((double)__half2float(a) * __half2float(b) + __half2float(c));
}
EMU_INLINE __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c) {
  return __double2bfloat16((double)__bfloat162float(a) * __bfloat162float(b) + __bfloat162float(c));
}

EMU_INLINE __half atomicAdd(__half *address, __half value) {
  return ::emu::atomic_update(address, [=](__half old) { return __hadd(old, value); });
}
EMU_INLINE __nv_bfloat16 atomicAdd(__nv_bfloat16 *address, __nv_bfloat16 value) {
  return ::emu::atomic_update(address, [=](__nv_bfloat16 old) { return __hadd(old, value); });
}
EMU_INLINE __half2 atomicAdd(__half2 *address, __half2 value) {
  return ::emu::atomic_update(address, [=](__half2 old) { return __hadd2(old, value); });
}
EMU_INLINE __nv_bfloat162 atomicAdd(__nv_bfloat162 *address, __nv_bfloat162 value) {
  return ::emu::atomic_update(address, [=](__nv_bfloat162 old) { return __hadd2(old, value); });
}
