// One launch over many tensors: the optimizers update every parameter of a model at once.
//
// Layout: two tables of 64-bit words describe the tensors. `addresses`: where they lie, for each kind of array (parameter,
// gradient, state ...) in turn; it changes where gradients move. `chunks`: the tensors' sizes; then, for each block of the
// grid, which tensor it works on and from which element; it stays. A block updates CHUNK elements, in vectors of VEC where
// all of a tensor's addresses are aligned.
#pragma once
#include "math.cuh"
#include "types.cuh"

// The part of one tensor that a block works on.
struct Chunk {
  const unsigned long long *address;  // of the first kind of array; the next kind's is `tensors` words on
  int tensors;
  long long begin;
  int count;
  bool aligned;

  template <class T>
  __device__ __forceinline__ T *array(int kind) const {
    return reinterpret_cast<T *>(address[static_cast<long long>(kind) * tensors]) + begin;
  }
};

__device__ __forceinline__ Chunk find_chunk(const unsigned long long *addresses, const long long *chunks, int tensors,
                                            int kinds) {
  const long long *chunk = chunks + tensors + 2LL * blockIdx.x;
  const int tensor = static_cast<int>(chunk[0]);
  const long long begin = chunk[1], left = chunks[tensor] - begin;
  const unsigned long long *address = addresses + tensor;
  unsigned long long bits = 0;
  for (int kind = 0; kind < kinds; kind++) bits |= address[static_cast<long long>(kind) * tensors];
  return Chunk{address, tensors, begin, left < CHUNK ? static_cast<int>(left) : CHUNK, bits % 16 == 0};
}

// Calls update.at<N>(i) for the chunk's elements: vectors, then the rest one by one.
template <class Update>
__device__ __forceinline__ void for_each(const Chunk &chunk, const Update &update) {
  int done = 0;
  if (VEC > 1 && chunk.aligned) {
    done = chunk.count / VEC * VEC;
    for (int i = threadIdx.x * VEC; i < done; i += blockDim.x * VEC) update.template at<VEC>(i);
  }
  for (int i = done + threadIdx.x; i < chunk.count; i += blockDim.x) update.template at<1>(i);
}
