// Combining values across the threads that share a row.
//
// A block is blockDim.x threads along a row times blockDim.y rows; blockDim.x is a power of two and the block a
// multiple of 32 threads, so a group of up to 32 threads lies in one warp. Values meet in the same order in every run,
// and, where the operation commutes, every thread of the group gets the same bits.
#pragma once

namespace gc {

// Values of another lane of the warp; all 32 lanes must call it.
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int distance) {
  return static_cast<T>(__shfl_xor_sync(0xffffffffu, value, distance));
}

// Combine::of over the group, for every thread of it. All threads of the block must call it.
template <class Combine, class T>
__device__ __forceinline__ T reduce_group(T value) {
  const int threads = blockDim.x;
  for (int distance = min(threads, 32) / 2; distance > 0; distance /= 2)
    value = Combine::of(value, shuffle_xor(value, distance));
  if (threads > 32) {
    __shared__ T parts[32];
    const int thread = threadIdx.y * threads + threadIdx.x;
    __syncthreads();  // an earlier call's parts have been read
    if (thread % 32 == 0) parts[thread / 32] = value;
    __syncthreads();
    const int first = threadIdx.y * threads / 32;
    value = parts[first];
    for (int i = 1; i < threads / 32; i++) value = Combine::of(value, parts[first + i]);
  }
  return value;
}

}  // namespace gc
