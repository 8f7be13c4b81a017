// Softmax and log-softmax of the rows of a matrix, and their gradients, on the host.
//
//   softmax      y = exp(x - m) / s     dx = y (dy - sum(dy y))    with m = max(x), s = sum(exp(x - m)) over the row
//   log-softmax  y = x - m - log s      dx = dy - exp(y) sum(dy)
//
// Layout: matrices are contiguous; a kernel takes the rows from `begin` to `end`, each as if it were alone. A row goes
// through its passes while it is in the cache.
//
// Given by the launcher: T, the type stored; A, the type computed in.
// Bytes moved: x and y once; backward dy, y and dx once.
#include "host/python.h"
#include "host/rows.h"

namespace {

void softmax(const T *x, T *y, long long begin, long long end, long long columns, bool logarithm) {
  const gc::Scratch room(columns);
  for (long long row = begin; row < end; row++) {
    const A *from = gc::widened(x + row * columns, room.at, columns);
    A *into = gc::result(y + row * columns, room.at);
    const A top = gc::largest(from, columns);
    if (logarithm) {
      const double sum = gc::sum(columns, [=](long long i) { return gc::exponential(from[i] - top); });
      const A shift = static_cast<A>(log(sum));
      GC_INDEPENDENT
      for (long long i = 0; i < columns; i++) into[i] = (from[i] - top) - shift;
    } else {
      const double sum = gc::sum(columns, [=](long long i) { return into[i] = gc::exponential(from[i] - top); });
      const A scale = static_cast<A>(1 / sum);
      GC_INDEPENDENT
      for (long long i = 0; i < columns; i++) into[i] *= scale;
    }
    gc::rounded(y + row * columns, into, columns);
  }
}

void softmax_backward(const T *grad, const T *y, T *dx, long long begin, long long end, long long columns,
                      bool logarithm) {
  const gc::Scratch room(2 * columns);
  for (long long row = begin; row < end; row++) {
    const A *g = gc::widened(grad + row * columns, room.at, columns);
    const A *out = gc::widened(y + row * columns, room.at + columns, columns);
    A *into = gc::result(dx + row * columns, room.at);
    if (logarithm) {
      const A total = static_cast<A>(gc::sum(columns, [=](long long i) { return g[i]; }));
      GC_INDEPENDENT
      for (long long i = 0; i < columns; i++) into[i] = g[i] - gc::exponential(out[i]) * total;
    } else {
      const A dot = static_cast<A>(gc::sum(columns, [=](long long i) { return g[i] * out[i]; }));
      GC_INDEPENDENT
      for (long long i = 0; i < columns; i++) into[i] = out[i] * (g[i] - dot);
    }
    gc::rounded(dx + row * columns, into, columns);
  }
}

}  // namespace

GC_PYTHON(softmax)
GC_PYTHON(softmax_backward)
