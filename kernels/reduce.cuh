// Reductions: out[o] = finish(combine over r of map(x0[o, r], x1[o, r], ...)), in one pass over the operands.
//
// The generated parts are two structs. Map: the operands and the expression for one element. Finish: the type
// accumulated in (Acc), what combines two of them (Combine), and what is done with the result. The operands' dimensions
// are split into those kept and those reduced, each with its Layout; an element's offset is the sum of both.
//
//   rows      neighbouring threads run along the reduced dimensions: blockDim.x threads for each output.
//   columns   neighbouring threads run along the kept dimensions: each thread takes VEC outputs, and blockDim.y threads
//             share them.
//
// Where there are too few outputs to fill the device, blockIdx.y cuts the reduced length into chunks: each leaves a
// partial result, and reduce_partials combines them in a second launch. There are no atomics, and the cuts depend on
// the shape alone, so the result is the same in every run and on every device.
//
// Bytes moved: each operand once, each output once; the partials are a few thousand numbers.
#pragma once
#include "group.cuh"
#include "layout.cuh"
#include "math.cuh"
#include "totals.cuh"
#include "types.cuh"

namespace gc {

enum { REDUCE_BLOCK = 256 };

template <class Kept, class Index>
struct ReduceOffsets {
  const Kept &kept;
  const Kept &reduced;
  __device__ __forceinline__ Index operator[](int operand) const { return kept[operand] + reduced[operand]; }
};

// The offset of a single element along a reduced dimension whose layout counts vectors of VEC.
template <int VEC, class Kept, class Reduced, class Index>
struct ElementOffsets {
  const Kept &kept;
  const Reduced &reduced;
  Index element;
  __device__ __forceinline__ Index operator[](int operand) const {
    return kept[operand] + reduced.stride[operand][0] / VEC * element;
  }
};

template <class Finish, class Index>
__device__ __forceinline__ void finish_or_leave(const Finish &finish, typename Finish::Acc acc, Index output,
                                                typename Finish::Acc *partials) {
  if (gridDim.y == 1)
    finish(acc, output);
  else
    partials[static_cast<long long>(output) * gridDim.y + blockIdx.y] = acc;
}

// `length` elements are reduced for each of `outputs`, `chunk` vectors in each block of a column of the grid.
template <int VEC, int UNROLL, class Map, class Finish, int KEPT, int REDUCED, int OPERANDS, class Index>
__device__ __forceinline__ void reduce_rows(const Map &map, const Finish &finish,
                                            const Layout<KEPT, OPERANDS, Index> &kept_layout,
                                            const Layout<REDUCED, OPERANDS, Index> &reduced_layout, Index outputs,
                                            Index length, Index chunk, typename Finish::Acc *partials) {
  typedef typename Finish::Acc Acc;
  typedef typename Finish::Combine Combine;
  typedef Offsets<OPERANDS, Index> At;
  const Index output = static_cast<Index>(blockIdx.x) * blockDim.y + threadIdx.y;
  Acc acc[VEC];
#pragma unroll
  for (int k = 0; k < VEC; k++) acc[k] = Combine::template identity<Acc>();
  if (output < outputs) {
    const At kept = kept_layout(output);
    const Index vectors = length / VEC, step = blockDim.x;
    const Index begin = blockIdx.y * chunk, end = min(begin + chunk, vectors);
    Index v = begin + threadIdx.x;
    for (; v + (UNROLL - 1) * step < end; v += UNROLL * step) {
      typename Map::template Registers<VEC> r[UNROLL];
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        const At reduced = reduced_layout(v + u * step);
        map.load(r[u], ReduceOffsets<At, Index>{kept, reduced});
      }
#pragma unroll
      for (int u = 0; u < UNROLL; u++)
#pragma unroll
        for (int k = 0; k < VEC; k++) acc[k] = Combine::of(acc[k], map(r[u], k, (v + u * step) * VEC + k));
    }
    for (; v < end; v += step) {
      typename Map::template Registers<VEC> r;
      const At reduced = reduced_layout(v);
      map.load(r, ReduceOffsets<At, Index>{kept, reduced});
#pragma unroll
      for (int k = 0; k < VEC; k++) acc[k] = Combine::of(acc[k], map(r, k, v * VEC + k));
    }
    if (VEC > 1 && blockIdx.y == gridDim.y - 1) {
      for (Index element = vectors * VEC + threadIdx.x; element < length; element += step) {
        typename Map::template Registers<1> r;
        map.load(r, ElementOffsets<VEC, At, Layout<REDUCED, OPERANDS, Index>, Index>{kept, reduced_layout, element});
        acc[0] = Combine::of(acc[0], map(r, 0, element));
      }
    }
  }
#pragma unroll
  for (int k = 1; k < VEC; k++) acc[0] = Combine::of(acc[0], acc[k]);
  const Acc total = reduce_group<Combine>(acc[0]);
  if (threadIdx.x == 0 && output < outputs) finish_or_leave(finish, total, output, partials);
}

// `columns` counts vectors of VEC outputs, as the kept layout's innermost dimension does; a block takes `chunk` rows.
template <int VEC, int UNROLL, class Map, class Finish, int KEPT, int REDUCED, int OPERANDS, class Index>
__device__ __forceinline__ void reduce_columns(const Map &map, const Finish &finish,
                                               const Layout<KEPT, OPERANDS, Index> &kept_layout,
                                               const Layout<REDUCED, OPERANDS, Index> &reduced_layout, Index columns,
                                               Index length, Index chunk, typename Finish::Acc *partials) {
  typedef typename Finish::Acc Acc;
  typedef typename Finish::Combine Combine;
  typedef Offsets<OPERANDS, Index> At;
  const Index column = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  Acc acc[VEC];
#pragma unroll
  for (int k = 0; k < VEC; k++) acc[k] = Combine::template identity<Acc>();
  if (column < columns) {
    const At kept = kept_layout(column);
    const Index begin = blockIdx.y * chunk, end = min(begin + chunk, length), step = blockDim.y;
    Index row = begin + threadIdx.y;
    for (; row + (UNROLL - 1) * step < end; row += UNROLL * step) {
      typename Map::template Registers<VEC> r[UNROLL];
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        const At reduced = reduced_layout(row + u * step);
        map.load(r[u], ReduceOffsets<At, Index>{kept, reduced});
      }
#pragma unroll
      for (int u = 0; u < UNROLL; u++)
#pragma unroll
        for (int k = 0; k < VEC; k++) acc[k] = Combine::of(acc[k], map(r[u], k, row + u * step));
    }
    for (; row < end; row += step) {
      typename Map::template Registers<VEC> r;
      const At reduced = reduced_layout(row);
      map.load(r, ReduceOffsets<At, Index>{kept, reduced});
#pragma unroll
      for (int k = 0; k < VEC; k++) acc[k] = Combine::of(acc[k], map(r, k, row));
    }
  }
  __shared__ Acc parts[VEC][REDUCE_BLOCK];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
  for (int k = 0; k < VEC; k++) parts[k][thread] = acc[k];
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) {
#pragma unroll
      for (int k = 0; k < VEC; k++)
        parts[k][thread] = Combine::of(parts[k][thread], parts[k][thread + half * blockDim.x]);
    }
  }
  if (threadIdx.y == 0 && column < columns) {
#pragma unroll
    for (int k = 0; k < VEC; k++) finish_or_leave(finish, parts[k][thread], column * VEC + k, partials);
  }
}

// The second launch: 32 threads for each output.
template <class Finish>
__device__ __forceinline__ void reduce_partials(const Finish &finish, const typename Finish::Acc *partials,
                                                long long outputs, int splits) {
  typedef typename Finish::Acc Acc;
  typedef typename Finish::Combine Combine;
  const long long output = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  Acc acc = Combine::template identity<Acc>();
  if (output < outputs)
    for (int s = threadIdx.x; s < splits; s += blockDim.x) acc = Combine::of(acc, partials[output * splits + s]);
  acc = reduce_group<Combine>(acc);
  if (threadIdx.x == 0 && output < outputs) finish(acc, output);
}

}  // namespace gc
