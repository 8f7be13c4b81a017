// Softmax and log-softmax of the rows of a matrix.
//
//   softmax      y = exp(x - m) / s
//   log-softmax  y = x - m - log s        with m = max(x), s = sum(exp(x - m)) over the row
//
// Layout: matrices are contiguous. blockDim.x threads share a row, from 8 to 1024 by the row's length, and each holds
// up to PER_THREAD of its elements in registers: neighbouring threads hold neighbouring vectors of VEC elements. A row
// too long for the registers of a block takes two passes (softmax_long); the first keeps a running maximum and sum.
//
// Given by the launcher: X and Y, the element types; A, the type computed in; VEC; PER_THREAD; BLOCK, the largest
// block; LOG.
// Bytes moved: x and y once; softmax_long reads x twice.
#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    softmax(const X *__restrict__ x, Y *__restrict__ y, const long long rows, const int columns) {
  const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  x += row * columns;
  y += row * columns;
  // Past the row's end: no element is smaller than -inf, and exp(-inf) adds nothing.
  A value[PER_THREAD];
  A top = -gc::infinity<A>();
#pragma unroll
  for (int i = 0; i < PER_THREAD / VEC; i++) {
    const int column = (i * blockDim.x + threadIdx.x) * VEC;
    if (row < rows && column < columns) {
      const gc::Vec<X, VEC> v = gc::load<VEC>(x + column);
#pragma unroll
      for (int k = 0; k < VEC; k++) value[i * VEC + k] = gc::to<A>(v[k]);
    } else {
#pragma unroll
      for (int k = 0; k < VEC; k++) value[i * VEC + k] = -gc::infinity<A>();
    }
  }
#pragma unroll
  for (int j = 0; j < PER_THREAD; j++) top = gc::maximum(top, value[j]);
  top = gc::reduce_group<gc::RowMax>(top);
  A sum = A(0);
#pragma unroll
  for (int j = 0; j < PER_THREAD; j++) {
    const A e = gc::exp(value[j] - top);
    value[j] = LOG ? value[j] - top : e;
    sum += e;
  }
  sum = gc::reduce_group<gc::RowSum>(sum);
  const A logarithm = LOG ? gc::log(sum) : A(0);
#pragma unroll
  for (int i = 0; i < PER_THREAD / VEC; i++) {
    const int column = (i * blockDim.x + threadIdx.x) * VEC;
    if (row < rows && column < columns) {
      gc::Vec<Y, VEC> v;
#pragma unroll
      for (int k = 0; k < VEC; k++) {
        const A e = value[i * VEC + k];
        v[k] = gc::to<Y>(LOG ? e - logarithm : e / sum);
      }
      gc::store<VEC>(y + column, v);
    }
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    softmax_long(const X *__restrict__ x, Y *__restrict__ y, const long long rows, const int columns) {
  const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int step = blockDim.x * VEC;
  x += row * columns;
  y += row * columns;
  typedef gc::Exponentials<A> Exponentials;
  Exponentials e = Exponentials::none();
  if (row < rows)
    for (int column = threadIdx.x * VEC; column < columns; column += step) e.add(gc::load<VEC>(x + column));
  e = gc::reduce_group<gc::CombineExponentials>(e);
  const A logarithm = gc::log(e.sum);
  if (row < rows)
    for (int column = threadIdx.x * VEC; column < columns; column += step) {
      const gc::Vec<X, VEC> v = gc::load<VEC>(x + column);
      gc::Vec<Y, VEC> out;
#pragma unroll
      for (int k = 0; k < VEC; k++) {
        const A shifted = gc::to<A>(v[k]) - e.max;
        out[k] = gc::to<Y>(LOG ? shifted - logarithm : gc::exp(shifted) / e.sum);
      }
      gc::store<VEC>(y + column, out);
    }
}
