// Layer norm and RMS norm of the rows of a matrix.
//
//   layer norm  y = (x - mean) rstd w + b    with mean = sum(x) / n and rstd = 1 / sqrt(sum((x - mean)^2) / n + eps)
//   RMS norm    y = x rstd w                 the same with 0 in the mean's place
//
// (J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016; B. Zhang and R. Sennrich, "Root mean square layer
// normalization", 2019.)
//
// Layout: as in softmax.cu. A row in registers is gone over twice, as the formulas say; one too long for them is read
// twice (layer_norm_long), the first time keeping the running mean and squares of gc::Moments.
//
// Given by the launcher: X, W and Y, the element types of x, of weight and bias, and of y; A, the type computed in; VEC;
// PER_THREAD; BLOCK, the largest block; CENTERED, false for RMS norm; WEIGHTED and BIASED, whether there are weights and
// a bias.
// Bytes moved: x and y once; layer_norm_long reads x twice. weight, bias, mean and rstd are small.
#include "rows.cuh"

__device__ __forceinline__ gc::Vec<Y, VEC> scaled(const gc::Vec<A, VEC> &centered, A scale, const W *weight,
                                                  const W *bias, int column) {
  gc::Vec<W, VEC> w, b;
  if (WEIGHTED) w = gc::load<VEC>(weight + column);
  if (BIASED) b = gc::load<VEC>(bias + column);
  gc::Vec<Y, VEC> y;
#pragma unroll
  for (int k = 0; k < VEC; k++) {
    A value = centered[k] * scale;
    if (WEIGHTED) value *= gc::to<A>(w[k]);
    if (BIASED) value += gc::to<A>(b[k]);
    y[k] = gc::to<Y>(value);
  }
  return y;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm(const X *__restrict__ x, const W *__restrict__ weight, const W *__restrict__ bias, Y *__restrict__ y,
               A *__restrict__ mean, A *__restrict__ rstd, const A eps, const long long rows, const int columns) {
  const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  x += row * columns;
  y += row * columns;
  gc::Vec<A, VEC> value[PER_THREAD / VEC];
  A sum = A(0);
#pragma unroll
  for (int i = 0; i < PER_THREAD / VEC; i++) {
    const int column = (i * blockDim.x + threadIdx.x) * VEC;
    if (row < rows && column < columns) {
      const gc::Vec<X, VEC> v = gc::load<VEC>(x + column);
#pragma unroll
      for (int k = 0; k < VEC; k++) sum += value[i][k] = gc::to<A>(v[k]);
    }
  }
  const A mu = CENTERED ? gc::reduce_group<gc::RowSum>(sum) / columns : A(0);
  A squares = A(0);
#pragma unroll
  for (int i = 0; i < PER_THREAD / VEC; i++) {
    const int column = (i * blockDim.x + threadIdx.x) * VEC;
    if (row < rows && column < columns) {
#pragma unroll
      for (int k = 0; k < VEC; k++) {
        value[i][k] -= mu;
        squares += value[i][k] * value[i][k];
      }
    }
  }
  const A scale = gc::rsqrt(gc::reduce_group<gc::RowSum>(squares) / columns + eps);
#pragma unroll
  for (int i = 0; i < PER_THREAD / VEC; i++) {
    const int column = (i * blockDim.x + threadIdx.x) * VEC;
    if (row < rows && column < columns) gc::store<VEC>(y + column, scaled(value[i], scale, weight, bias, column));
  }
  if (row < rows && threadIdx.x == 0) {
    if (CENTERED) mean[row] = mu;
    rstd[row] = scale;
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_long(const X *__restrict__ x, const W *__restrict__ weight, const W *__restrict__ bias,
                    Y *__restrict__ y, A *__restrict__ mean, A *__restrict__ rstd, const A eps, const long long rows,
                    const int columns) {
  const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int step = blockDim.x * VEC;
  x += row * columns;
  y += row * columns;
  typedef gc::Moments<A, CENTERED> Moments;
  Moments moments = Moments::none();
  if (row < rows)
    for (int column = threadIdx.x * VEC; column < columns; column += step) moments.add(gc::load<VEC>(x + column));
  moments = gc::reduce_group<Moments>(moments);
  const A mu = moments.mean, scale = gc::rsqrt(moments.squares / columns + eps);
  if (row < rows) {
    for (int column = threadIdx.x * VEC; column < columns; column += step) {
      const gc::Vec<X, VEC> v = gc::load<VEC>(x + column);
      gc::Vec<A, VEC> centered;
#pragma unroll
      for (int k = 0; k < VEC; k++) centered[k] = gc::to<A>(v[k]) - mu;
      gc::store<VEC>(y + column, scaled(centered, scale, weight, bias, column));
    }
    if (threadIdx.x == 0) {
      if (CENTERED) mean[row] = mu;
      rstd[row] = scale;
    }
  }
}
