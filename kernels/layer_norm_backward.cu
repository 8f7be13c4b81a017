// The backward pass of layer norm and RMS norm, from the gradient dy, the input x, and the rows' mean and rstd.
//
//   dx = rstd (g - m(g) - h m(g h))    with g = dy w, h = (x - mean) rstd, and m() the mean over the row
//   dw = sum(dy h), db = sum(dy)       over the rows
//
// For RMS norm the mean counts as 0, and dx has no m(g).
//
// Layout: dy and x are read once. blockDim.x threads share a row, as in softmax.cu, and blockDim.y rows a block, which
// goes on to the rows gridDim.x * blockDim.y further. A thread meets the same columns in every row and adds up their dw
// and db in registers; what the block has in the end goes to `partials`, (1 or 2, gridDim.x, columns), dw's before db's,
// and layer_norm_parameters adds those up in a second launch. The grid depends on the shape alone, so the sums do too.
// layer_norm_backward_long takes rows too long for the registers of a block; it makes dx alone, in two passes.
//
// Given by the launcher: DY, X and W, the element types (dx is X, dw and db are W); A, the type computed in; VEC;
// PER_THREAD; BLOCK, the largest block; CENTERED, false for RMS norm; WEIGHTED, whether there are weights; TO_WEIGHT and
// TO_BIAS, whether partials of dw and db are wanted.
// Bytes moved: dy, x and dx once, each partial twice; layer_norm_backward_long reads dy and x twice.
#include "rows.cuh"

// The sums of g and of g h over a row.
struct Sums {
  A g, gh;
  static __device__ __forceinline__ Sums of(const Sums &a, const Sums &b) { return Sums{a.g + b.g, a.gh + b.gh}; }
};

// Found by gc::reduce_group: its argument's namespace is not gc.
__device__ __forceinline__ Sums shuffle_xor(const Sums &s, int distance) {
  return Sums{CENTERED ? gc::shuffle_xor(s.g, distance) : A(0), gc::shuffle_xor(s.gh, distance)};
}

__device__ __forceinline__ gc::Vec<W, VEC> weights(const W *weight, int column) {
  gc::Vec<W, VEC> w;
  if (WEIGHTED) w = gc::load<VEC>(weight + column);
  return w;
}

// A row as it is being worked on.
struct Row {
  A mean, rstd, count;
  Sums sums;

  __device__ __forceinline__ A normal(X x) const { return (gc::to<A>(x) - mean) * rstd; }
  static __device__ __forceinline__ A weighted(DY dy, W w) {
    return WEIGHTED ? gc::to<A>(dy) * gc::to<A>(w) : gc::to<A>(dy);
  }
  __device__ __forceinline__ void add(DY dy, X x, W w) {
    const A g = weighted(dy, w);
    sums.g += g;
    sums.gh += g * normal(x);
  }
  __device__ __forceinline__ X gradient(DY dy, X x, W w) const {
    const A slope = normal(x) * sums.gh;
    return gc::to<X>(rstd * (weighted(dy, w) - (CENTERED ? sums.g + slope : slope) / count));
  }
};

__device__ __forceinline__ Row row_of(const A *mean, const A *rstd, long long row, bool there, int columns) {
  return Row{CENTERED && there ? mean[row] : A(0), there ? rstd[row] : A(0), A(columns), Sums{A(0), A(0)}};
}

// The sums over the rows of the block, to its line of the partials.
__device__ __forceinline__ void leave(A *partials, const A (&sums)[PER_THREAD], int columns) {
  __shared__ A others[BLOCK];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
  for (int j = 0; j < PER_THREAD; j++) {
    A total = sums[j];
    if (blockDim.y > 1) {
      __syncthreads();  // the last sums have been read
      others[thread] = total;
      __syncthreads();
      if (threadIdx.y == 0)
        for (int y = 1; y < blockDim.y; y++) total += others[y * blockDim.x + threadIdx.x];
    }
    const int column = (j / VEC * blockDim.x + threadIdx.x) * VEC + j % VEC;
    if (threadIdx.y == 0 && column < columns) partials[static_cast<long long>(blockIdx.x) * columns + column] = total;
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1024 / BLOCK)
    layer_norm_backward(const DY *__restrict__ dy, const X *__restrict__ x, const A *__restrict__ mean,
                        const A *__restrict__ rstd, const W *__restrict__ weight, X *__restrict__ dx,
                        A *__restrict__ partials, const long long rows, const int columns) {
  A to_weight[PER_THREAD], to_bias[PER_THREAD];
#pragma unroll
  for (int j = 0; j < PER_THREAD; j++) to_weight[j] = to_bias[j] = A(0);
  const long long step = static_cast<long long>(gridDim.x) * blockDim.y;
  for (long long first = static_cast<long long>(blockIdx.x) * blockDim.y; first < rows; first += step) {
    const long long at = first + threadIdx.y, start = at * columns;
    const bool there = at < rows;
    Row row = row_of(mean, rstd, at, there, columns);
    gc::Vec<DY, VEC> grad[PER_THREAD / VEC];
    gc::Vec<X, VEC> value[PER_THREAD / VEC];
#pragma unroll
    for (int i = 0; i < PER_THREAD / VEC; i++) {
      const int column = (i * blockDim.x + threadIdx.x) * VEC;
      if (there && column < columns) {
        grad[i] = gc::load<VEC>(dy + start + column);
        value[i] = gc::load<VEC>(x + start + column);
      }
    }
#pragma unroll
    for (int i = 0; i < PER_THREAD / VEC; i++) {
      const int column = (i * blockDim.x + threadIdx.x) * VEC;
      if (there && column < columns) {
        const gc::Vec<W, VEC> w = weights(weight, column);
#pragma unroll
        for (int k = 0; k < VEC; k++) {
          row.add(grad[i][k], value[i][k], w[k]);
          if (TO_WEIGHT) to_weight[i * VEC + k] += gc::to<A>(grad[i][k]) * row.normal(value[i][k]);
          if (TO_BIAS) to_bias[i * VEC + k] += gc::to<A>(grad[i][k]);
        }
      }
    }
    row.sums = gc::reduce_group<Sums>(row.sums);
#pragma unroll
    for (int i = 0; i < PER_THREAD / VEC; i++) {
      const int column = (i * blockDim.x + threadIdx.x) * VEC;
      if (there && column < columns) {
        const gc::Vec<W, VEC> w = weights(weight, column);
        gc::Vec<X, VEC> out;
#pragma unroll
        for (int k = 0; k < VEC; k++) out[k] = row.gradient(grad[i][k], value[i][k], w[k]);
        gc::store<VEC>(dx + start + column, out);
      }
    }
  }
  if (TO_WEIGHT) leave(partials, to_weight, columns);
  if (TO_BIAS) leave(partials + (TO_WEIGHT ? static_cast<long long>(gridDim.x) * columns : 0), to_bias, columns);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1024 / BLOCK)
    layer_norm_backward_long(const DY *__restrict__ dy, const X *__restrict__ x, const A *__restrict__ mean,
                             const A *__restrict__ rstd, const W *__restrict__ weight, X *__restrict__ dx,
                             const long long rows, const int columns) {
  const long long at = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int step = blockDim.x * VEC;
  const bool there = at < rows;
  Row row = row_of(mean, rstd, at, there, columns);
  dy += at * columns;
  x += at * columns;
  dx += at * columns;
  if (there)
    for (int column = threadIdx.x * VEC; column < columns; column += step) {
      const gc::Vec<DY, VEC> g = gc::load<VEC>(dy + column);
      const gc::Vec<X, VEC> v = gc::load<VEC>(x + column);
      const gc::Vec<W, VEC> w = weights(weight, column);
#pragma unroll
      for (int k = 0; k < VEC; k++) row.add(g[k], v[k], w[k]);
    }
  row.sums = gc::reduce_group<Sums>(row.sums);
  if (there)
    for (int column = threadIdx.x * VEC; column < columns; column += step) {
      const gc::Vec<DY, VEC> g = gc::load<VEC>(dy + column);
      const gc::Vec<X, VEC> v = gc::load<VEC>(x + column);
      const gc::Vec<W, VEC> w = weights(weight, column);
      gc::Vec<X, VEC> out;
#pragma unroll
      for (int k = 0; k < VEC; k++) out[k] = row.gradient(g[k], v[k], w[k]);
      gc::store<VEC>(dx + column, out);
    }
}

// The second launch: the sums of the partials of each column. 32 columns a block; blockIdx.y is 0 for `first`, 1 for
// `second`.
extern "C" __global__ void __launch_bounds__(1024, 1)
    layer_norm_parameters(const A *__restrict__ partials, W *__restrict__ first, W *__restrict__ second,
                          const int blocks, const int columns) {
  const int column = blockIdx.x * 32 + threadIdx.x;
  A sum = A(0);
  if (column < columns)
    for (int i = threadIdx.y; i < blocks; i += blockDim.y)
      sum += partials[(static_cast<long long>(blockIdx.y) * blocks + i) * columns + column];
  __shared__ A sums[32][32];
  sums[threadIdx.y][threadIdx.x] = sum;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
  }
  if (threadIdx.y == 0 && column < columns) (blockIdx.y ? second : first)[column] = gc::to<W>(sums[0][threadIdx.x]);
}
