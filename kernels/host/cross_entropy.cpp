// Cross-entropy of the rows of a matrix of logits with class indices, and its gradient, on the host.
//
//   loss = a (lse - x_t) + b sum_c w_c (lse - x_c)                 lse = m + log sum_c exp(x_c - m), m = max_c x_c
//   dx_c = g ((a + b W) exp(x_c - lse) - a [c = t] - b w_c)        a = (1 - e) w_t, b = e / C, W = sum_c w_c
//   for the row's target t, the smoothing e and the classes' weights w; both are 0 where t is to be ignored.
//
// Layout: matrices are contiguous; a kernel takes the rows from `begin` to `end`, each as if it were alone. A row goes
// through its passes while it is in the cache.
//
// Given by the launcher: T, the type stored; A, the type computed in.
// Bytes moved: the logits once; backward the logits and their gradient once.
#include "host/python.h"
#include "host/rows.h"

namespace {

// Whether there is no row for a target; an ignored one is in its place.
__forceinline__ bool misplaced(long long target, long long ignored, long long classes) {
  return target != ignored && static_cast<unsigned long long>(target) >= static_cast<unsigned long long>(classes);
}

// Returns the first row whose target is out of range, or -1. `losses` and `row_weights` (those of the targets; 0 where
// ignored) are in the type computed in.
long long cross_entropy(const T *logits, const long long *target, const A *weight, A *losses, A *lse, A *row_weights,
                        long long begin, long long end, long long classes, long long ignored, double smoothing) {
  const gc::Scratch room(classes);
  double weights = 0;
  if (smoothing != 0) weights = weight ? gc::sum(classes, [=](long long c) { return weight[c]; }) : classes;
  for (long long row = begin; row < end; row++) {
    const long long t = target[row];
    if (misplaced(t, ignored, classes)) return row;
    const A *x = gc::widened(logits + row * classes, room.at, classes);
    const A top = gc::largest(x, classes);
    const double total = log(gc::sum(classes, [=](long long c) { return gc::exponential(x[c] - top); })) + top;
    double loss = 0, w = 0;
    if (t != ignored) {
      w = weight ? weight[t] : 1;
      loss = w * (total - x[t]);
      if (smoothing != 0) {
        const double weighted = weight ? gc::sum(classes, [=](long long c) { return weight[c] * x[c]; })
                                       : gc::sum(classes, [=](long long c) { return x[c]; });
        loss = (1 - smoothing) * loss + smoothing / classes * (total * weights - weighted);
      }
    }
    lse[row] = static_cast<A>(total);
    losses[row] = static_cast<A>(loss);
    row_weights[row] = static_cast<A>(w);
  }
  return -1;
}

// The sum of the losses, divided by that of the weights if `mean` is wanted.
void reduce_losses(const A *losses, const A *row_weights, T *loss, A *total, long long rows, bool mean) {
  double sum = 0, weights = 0;
  for (long long row = 0; row < rows; row++) {
    sum += losses[row];
    weights += row_weights[row];
  }
  *total = static_cast<A>(weights);
  *loss = gc::to<T>(static_cast<A>(mean ? sum / weights : sum));
}

// `grad` lies `step` elements apart (0: one for all rows); it is divided by `*total` if there is one.
long long cross_entropy_backward(const T *grad, long long step, const A *total, const T *logits,
                                 const long long *target, const A *weight, const A *lse, T *dx, long long begin,
                                 long long end, long long classes, long long ignored, double smoothing) {
  const gc::Scratch room(classes);
  A weights = static_cast<A>(classes);
  if (weight && smoothing != 0)
    weights = static_cast<A>(gc::sum(classes, [=](long long c) { return weight[c]; }));
  for (long long row = begin; row < end; row++) {
    const long long t = target[row];
    if (misplaced(t, ignored, classes)) return row;
    T *out = dx + row * classes;
    if (t == ignored) {
      // Not 0 times something: an ignored row may hold infinities.
      __builtin_memset(out, 0, classes * sizeof(T));
      continue;
    }
    const A *x = gc::widened(logits + row * classes, room.at, classes);
    A *into = gc::result(out, room.at);
    const A g = total ? gc::to<A>(grad[row * step]) / *total : gc::to<A>(grad[row * step]);
    const A on_target = g * static_cast<A>(1 - smoothing) * (weight ? weight[t] : A(1));
    const A on_all = g * static_cast<A>(smoothing / classes);
    const A scale = on_target + on_all * weights, shift = lse[row];
    if (smoothing == 0) {
      GC_INDEPENDENT
      for (long long c = 0; c < classes; c++) into[c] = scale * gc::exponential(x[c] - shift);
    } else if (weight) {
      GC_INDEPENDENT
      for (long long c = 0; c < classes; c++) into[c] = scale * gc::exponential(x[c] - shift) - on_all * weight[c];
    } else {
      GC_INDEPENDENT
      for (long long c = 0; c < classes; c++) into[c] = scale * gc::exponential(x[c] - shift) - on_all;
    }
    into[t] -= on_target;
    gc::rounded(out, into, classes);
  }
  return -1;
}

}  // namespace

GC_PYTHON(cross_entropy)
GC_PYTHON(reduce_losses)
GC_PYTHON(cross_entropy_backward)
