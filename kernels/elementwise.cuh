// Elementwise kernels: y[i] = f(x0[i], x1[i], ...) for one or several outputs y.
//
// The maths is a generated struct, the Body: the operands' pointers, how to load the N elements that one thread handles
// (load), the expression (compute) and how to store its results (store). The layouts are two:
//
//   flat       every operand is contiguous, or one single element: the offset is the index.
//   strided    operands broadcast or are views: a Layout gives each operand's offset for every vector of the output.
//
// Work is cut into vectors of VEC elements, at most 16 bytes of the widest operand, and a thread takes UNROLL vectors,
// a block's width apart: neighbouring threads touch neighbouring vectors, and all loads of a thread are in flight
// together. VEC is 1 where a pointer is not aligned to a vector or an operand's innermost dimension is strided.
//
// Bytes moved: each operand once, each output once; an operand that broadcasts is read again from cache.
#pragma once
#include "layout.cuh"
#include "types.cuh"

namespace gc {

enum { BLOCK = 256 };

// The offset of every operand is the index itself.
struct FlatOffsets {
  long long index;
  __device__ __forceinline__ long long operator[](int) const { return index; }
};

template <int N, class Body, class Registers, class Index>
__device__ __forceinline__ void compute_and_store(const Body &body, Registers &r, Index first) {
  // `first` is a multiple of N, so | adds k; written so, the compiler sees that neighbours share a Philox block.
#pragma unroll
  for (int k = 0; k < N; k++) body.compute(r, k, static_cast<unsigned long long>(first) | k);
  body.store(r, first);
}

// n elements: whole vectors, then up to VEC - 1 single elements.
template <int VEC, int UNROLL, class Body>
__device__ __forceinline__ void elementwise_flat(const Body &body, long long n) {
  const long long vectors = n / VEC;
  const long long first = static_cast<long long>(blockIdx.x) * (BLOCK * UNROLL) + threadIdx.x;
  typename Body::template Registers<VEC> r[UNROLL];
#pragma unroll
  for (int u = 0; u < UNROLL; u++) {
    const long long v = first + u * BLOCK;
    if (v < vectors) body.load(r[u], FlatOffsets{v * VEC});
  }
#pragma unroll
  for (int u = 0; u < UNROLL; u++) {
    const long long v = first + u * BLOCK;
    if (v < vectors) compute_and_store<VEC>(body, r[u], v * VEC);
  }
  const long long last = vectors * VEC + threadIdx.x;
  if (VEC > 1 && blockIdx.x == gridDim.x - 1 && last < n) {
    typename Body::template Registers<1> single;
    body.load(single, FlatOffsets{last});
    compute_and_store<1>(body, single, last);
  }
}

// `vectors` counts vectors of VEC elements; the layout's innermost dimension counts vectors too.
template <int VEC, int UNROLL, class Body, int RANK, int OPERANDS, class Index>
__device__ __forceinline__ void elementwise_strided(const Body &body, const Layout<RANK, OPERANDS, Index> &layout,
                                                    Index vectors) {
  const long long first = static_cast<long long>(blockIdx.x) * (BLOCK * UNROLL) + threadIdx.x;
  typename Body::template Registers<VEC> r[UNROLL];
#pragma unroll
  for (int u = 0; u < UNROLL; u++) {
    const long long v = first + u * BLOCK;
    if (v < vectors) body.load(r[u], layout(static_cast<Index>(v)));
  }
#pragma unroll
  for (int u = 0; u < UNROLL; u++) {
    const long long v = first + u * BLOCK;
    if (v < vectors) compute_and_store<VEC>(body, r[u], v * VEC);
  }
}

}  // namespace gc
