// The backward pass of softmax and log-softmax, from the gradient dy and the result y.
//
//   softmax      dx = y (dy - sum(dy y))
//   log-softmax  dx = dy - exp(y) sum(dy)        the sums over the row
//
// Layout: as in softmax.cu, with two rows in registers; softmax_backward_long takes two passes.
//
// Given by the launcher: DY, Y and DX, the element types; A, the type computed in; VEC; PER_THREAD; BLOCK; LOG.
// Bytes moved: dy, y and dx once; softmax_backward_long reads dy and y twice.
#include "rows.cuh"

__device__ __forceinline__ A summand(A dy, A y) { return LOG ? dy : dy * y; }
__device__ __forceinline__ A gradient(A dy, A y, A sum) { return LOG ? dy - gc::exp(y) * sum : y * (dy - sum); }

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    softmax_backward(const DY *__restrict__ dy, const Y *__restrict__ y, DX *__restrict__ dx, const long long rows,
                     const int columns) {
  const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  dy += row * columns;
  y += row * columns;
  dx += row * columns;
  gc::Vec<DY, VEC> grad[PER_THREAD / VEC];
  gc::Vec<Y, VEC> result[PER_THREAD / VEC];
  A sum = A(0);
#pragma unroll
  for (int i = 0; i < PER_THREAD / VEC; i++) {
    const int column = (i * blockDim.x + threadIdx.x) * VEC;
    if (row < rows && column < columns) {
      grad[i] = gc::load<VEC>(dy + column);
      result[i] = gc::load<VEC>(y + column);
#pragma unroll
      for (int k = 0; k < VEC; k++) sum += summand(gc::to<A>(grad[i][k]), gc::to<A>(result[i][k]));
    }
  }
  sum = gc::reduce_group<gc::RowSum>(sum);
#pragma unroll
  for (int i = 0; i < PER_THREAD / VEC; i++) {
    const int column = (i * blockDim.x + threadIdx.x) * VEC;
    if (row < rows && column < columns) {
      gc::Vec<DX, VEC> v;
#pragma unroll
      for (int k = 0; k < VEC; k++)
        v[k] = gc::to<DX>(gradient(gc::to<A>(grad[i][k]), gc::to<A>(result[i][k]), sum));
      gc::store<VEC>(dx + column, v);
    }
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    softmax_backward_long(const DY *__restrict__ dy, const Y *__restrict__ y, DX *__restrict__ dx,
                          const long long rows, const int columns) {
  const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int step = blockDim.x * VEC;
  dy += row * columns;
  y += row * columns;
  dx += row * columns;
  A sum = A(0);
  if (row < rows)
    for (int column = threadIdx.x * VEC; column < columns; column += step) {
      const gc::Vec<DY, VEC> g = gc::load<VEC>(dy + column);
      const gc::Vec<Y, VEC> r = gc::load<VEC>(y + column);
#pragma unroll
      for (int k = 0; k < VEC; k++) sum += summand(gc::to<A>(g[k]), gc::to<A>(r[k]));
    }
  sum = gc::reduce_group<gc::RowSum>(sum);
  if (row < rows)
    for (int column = threadIdx.x * VEC; column < columns; column += step) {
      const gc::Vec<DY, VEC> g = gc::load<VEC>(dy + column);
      const gc::Vec<Y, VEC> r = gc::load<VEC>(y + column);
      gc::Vec<DX, VEC> v;
#pragma unroll
      for (int k = 0; k < VEC; k++) v[k] = gc::to<DX>(gradient(gc::to<A>(g[k]), gc::to<A>(r[k]), sum));
      gc::store<VEC>(dx + column, v);
    }
}
