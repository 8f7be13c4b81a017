// Cross-entropy of the rows of logits against class indices, with class weights w, ignored rows and label smoothing e.
//
//   lse  = log sum_c exp(x_c)
//   loss = (1 - e) w_t (lse - x_t) + e / C sum_c w_c (lse - x_c)          0 where the target t is ignored
//   dx_c = g ((a + b W) p_c - a [c = t] - b w_c)    p_c = exp(x_c - lse), W = sum_c w_c, a = (1 - e) w_t, b = e / C
//
// Layout: logits are contiguous rows of C columns. blockDim.x threads share a row (group.cuh) and run along it in
// vectors of VEC elements. Forward keeps a running maximum and sum (rows.cuh), so a row of any length is read once;
// backward computes the probabilities again from lse.
//
// Given by the launcher: T, the logits' type; W, the weights' type; A, the type computed in; VEC; WEIGHTED and
// SMOOTHED. A target out of range is reported (error.cuh) and its row treated as ignored.
// Bytes moved: forward the logits once; backward the logits and their gradient once.
#include "error.cuh"
#include "rows.cuh"

__device__ __forceinline__ A class_weight(const W *weight, int c) { return WEIGHTED ? gc::to<A>(weight[c]) : A(1); }

extern "C" __global__ void __launch_bounds__(512, 1)
    cross_entropy(const T *__restrict__ logits, const long long *__restrict__ target, const W *__restrict__ weight,
                  T *__restrict__ loss, A *__restrict__ lse, A *__restrict__ row_weight, const long long rows,
                  const int columns, const long long ignore_index, const A smoothing, const unsigned long long op,
                  gc::ErrorWord *word) {
  const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  const T *x = logits + row * columns;
  typedef gc::Exponentials<A> Exponentials;
  Exponentials e = Exponentials::none();
  A weights = A(0), weighted = A(0);  // the sums of w_c and of w_c x_c
  if (row < rows)
    for (int column = threadIdx.x * VEC; column < columns; column += blockDim.x * VEC) {
      const gc::Vec<T, VEC> v = gc::load<VEC>(x + column);
      e.add(v);
      if (SMOOTHED) {
#pragma unroll
        for (int k = 0; k < VEC; k++) {
          const A w = class_weight(weight, column + k);
          weights += w;
          weighted += w * gc::to<A>(v[k]);
        }
      }
    }
  e = gc::reduce_group<gc::CombineExponentials>(e);
  if (SMOOTHED) {
    weights = gc::reduce_group<gc::RowSum>(weights);
    weighted = gc::reduce_group<gc::RowSum>(weighted);
  }
  if (threadIdx.x == 0 && row < rows) {
    const A total = e.max + gc::log(e.sum);
    const long long t = target[row];
    const bool valid = t >= 0 && t < columns;
    A value = A(0), w = A(0);
    if (t != ignore_index) {
      if (valid) {
        w = class_weight(weight, static_cast<int>(t));
        value = w * (total - gc::to<A>(x[t]));
        if (SMOOTHED) value = (A(1) - smoothing) * value + smoothing / columns * (total * weights - weighted);
      } else {
        gc::report(word, op, row, t, columns, 1);
      }
    }
    loss[row] = gc::to<T>(value);
    lse[row] = total;
    row_weight[row] = w;
  }
}

extern "C" __global__ void __launch_bounds__(512, 1)
    cross_entropy_backward(const T *__restrict__ grad, const T *__restrict__ logits,
                           const long long *__restrict__ target, const W *__restrict__ weight,
                           const A *__restrict__ lse, T *__restrict__ dx, const long long rows, const int columns,
                           const long long ignore_index, const A smoothing) {
  const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  A weights = columns;
  if (SMOOTHED && WEIGHTED) {
    weights = A(0);
    for (int c = threadIdx.x; c < columns; c += blockDim.x) weights += class_weight(weight, c);
    weights = gc::reduce_group<gc::RowSum>(weights);
  }
  if (row >= rows) return;
  const T *x = logits + row * columns;
  dx += row * columns;
  const long long t = target[row];
  const bool counts = t != ignore_index && t >= 0 && t < columns;
  const A g = counts ? gc::to<A>(grad[row]) : A(0);
  const A total = lse[row];
  const A on_target = counts ? g * (A(1) - smoothing) * class_weight(weight, static_cast<int>(t)) : A(0);
  const A on_all = SMOOTHED ? g * smoothing / columns : A(0);
  const A scale = on_target + on_all * weights;
  for (int column = threadIdx.x * VEC; column < columns; column += blockDim.x * VEC) {
    gc::Vec<T, VEC> out;
    if (counts) {
      const gc::Vec<T, VEC> v = gc::load<VEC>(x + column);
#pragma unroll
      for (int k = 0; k < VEC; k++) {
        A d = scale * gc::exp(gc::to<A>(v[k]) - total);
        if (column + k == t) d -= on_target;
        if (SMOOTHED) d -= on_all * class_weight(weight, column + k);
        out[k] = gc::to<T>(d);
      }
    } else {
      // Not 0 times something: an ignored row may hold infinities.
#pragma unroll
      for (int k = 0; k < VEC; k++) out[k] = gc::to<T>(A(0));
    }
    gc::store<VEC>(dx + column, out);
  }
}
