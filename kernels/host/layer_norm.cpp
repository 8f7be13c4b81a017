// Layer norm and RMS norm of the rows of a matrix, and their gradients, on the host.
//
//   y = c rstd w + b            with c = x - mean, rstd = 1 / sqrt(m(c^2) + eps), and m() the mean over the n of a row
//   dx = rstd (g - m(g) - c rstd^2 m(g c))      with g = dy w; without m(g) where the mean is taken to be 0: RMS norm
//   dw = sum over rows of rstd dy c                db = sum over rows of dy
// (Ba et al., 2016; Zhang & Sennrich, NeurIPS 2019.)
//
// Layout: matrices are contiguous. Forward takes the rows from `begin` to `end`, each as if it were alone; a row goes
// through its passes while it is in the cache. Backward takes blocks of `height` rows, a matter of the shape alone, so
// that dw and db do not depend on the number of threads: a block has its own sums, in double, of sums over 32 rows.
//
// Given by the launcher: T, the type stored; A, the type computed in, which is that of w, b and the rows' statistics.
// Bytes moved: x and y once; backward dy, x and dx once.
#include "host/python.h"
#include "host/rows.h"

namespace {

void layer_norm(const T *x, const A *weight, const A *bias, T *y, A *mean, A *rstd, long long begin, long long end,
                long long columns, double eps) {
  const gc::Scratch room(columns);
  for (long long row = begin; row < end; row++) {
    const A *from = gc::widened(x + row * columns, room.at, columns);
    A *into = gc::result(y + row * columns, room.at);
    A middle = 0;
    if (mean) mean[row] = middle = static_cast<A>(gc::sum(columns, [=](long long i) { return from[i]; }) / columns);
    const double squares = gc::sum(columns, [=](long long i) { return (from[i] - middle) * (from[i] - middle); });
    const A scale = rstd[row] = static_cast<A>(1 / sqrt(squares / columns + eps));
    if (weight && bias) {
      GC_INDEPENDENT
      for (long long i = 0; i < columns; i++) into[i] = (from[i] - middle) * scale * weight[i] + bias[i];
    } else {
      GC_INDEPENDENT
      for (long long i = 0; i < columns; i++) into[i] = (from[i] - middle) * scale;
      if (weight) {
        GC_INDEPENDENT
        for (long long i = 0; i < columns; i++) into[i] *= weight[i];
      }
      if (bias) {
        GC_INDEPENDENT
        for (long long i = 0; i < columns; i++) into[i] += bias[i];
      }
    }
    gc::rounded(y + row * columns, into, columns);
  }
}

// Adds what was summed over a few rows to the sums of a block.
void flush(A *few, double *all, long long columns) {
  if (!all) return;
  GC_INDEPENDENT
  for (long long i = 0; i < columns; i++) all[i] += few[i];
  __builtin_memset(few, 0, columns * sizeof(A));
}

// `dweight` and `dbias` have a row for each block, zeros at first; each of the three results may be left out.
void layer_norm_backward(const T *grad, const T *x, const A *mean, const A *rstd, const A *weight, T *dx,
                         double *dweight, double *dbias, long long begin, long long end, long long height,
                         long long rows, long long columns) {
  A *room = static_cast<A *>(malloc(4 * columns * sizeof(A)));
  A *by_weight = room, *by_bias = room + columns;  // sums over a few rows
  __builtin_memset(room, 0, 2 * columns * sizeof(A));
  for (long long block = begin; block < end; block++) {
    const long long first = block * height, last = first + height < rows ? first + height : rows;
    for (long long row = first; row < last; row++) {
      const A *dy = gc::widened(grad + row * columns, room + 2 * columns, columns);
      const A *from = gc::widened(x + row * columns, room + 3 * columns, columns);
      const A middle = mean ? mean[row] : A(0), scale = rstd[row];
      if (dweight) {
        GC_INDEPENDENT
        for (long long i = 0; i < columns; i++) {
          by_weight[i] += dy[i] * ((from[i] - middle) * scale);
          by_bias[i] += dy[i];
        }
      } else if (dbias) {
        GC_INDEPENDENT
        for (long long i = 0; i < columns; i++) by_bias[i] += dy[i];
      }
      if ((row + 1 - first) % 32 == 0 || row + 1 == last) {
        flush(by_weight, dweight ? dweight + block * columns : nullptr, columns);
        flush(by_bias, dbias ? dbias + block * columns : nullptr, columns);
      }
      if (!dx) continue;
      A *into = gc::result(dx + row * columns, room + 2 * columns);
      const auto finish = [=](auto g) {
        const gc::Sums sums = gc::sums(columns, g, [=](long long i) { return g(i) * (from[i] - middle); });
        const A level = mean ? static_cast<A>(sums.first / columns) : A(0);
        const A slope = static_cast<A>(sums.second / columns) * scale * scale;
        GC_INDEPENDENT
        for (long long i = 0; i < columns; i++) into[i] = scale * (g(i) - level - (from[i] - middle) * slope);
      };
      if (weight) finish([=](long long i) { return dy[i] * weight[i]; });
      else finish([=](long long i) { return dy[i]; });
      gc::rounded(dx + row * columns, into, columns);
    }
  }
  free(room);
}

// The sums over the blocks, in their order.
void sum_blocks(const double *blocks, A *sums, long long count, long long columns) {
  for (long long i = 0; i < columns; i++) {
    double total = 0;
    for (long long block = 0; block < count; block++) total += blocks[block * columns + i];
    sums[i] = static_cast<A>(total);
  }
}

}  // namespace

GC_PYTHON(layer_norm)
GC_PYTHON(layer_norm_backward)
GC_PYTHON(sum_blocks)
