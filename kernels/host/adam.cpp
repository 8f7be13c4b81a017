// Adam, AdamW and AMSGrad, over all parameters in one call, on the host.
//
//   g += wd p, or decoupled p *= 1 - lr wd;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2;
//   p -= step_size m / (sqrt(v) + floor)   with step_size = lr root / (1 - beta1^t), floor = eps root,
//   root = sqrt(1 - beta2^t); AMSGrad takes the largest v so far; `sign` is -1 to climb instead.
// (Kingma & Ba, ICLR 2015; Reddi et al., ICLR 2018; Loshchilov & Hutter, ICLR 2019.)
//
// Layout: the table's columns are p, g, m, v and, for AMSGrad, the largest v; a call takes the elements from `begin` to
// `end` of all.
//
// Given by the launcher: T, the type stored; A, the type computed in.
// Bytes moved for each float32 element: 28, AMSGrad 36.
#include "host/table.h"
#include "types.cuh"

namespace {

__forceinline__ float square_root(float x) { return sqrtf(x); }
__forceinline__ double square_root(double x) { return sqrt(x); }

// `decay` is what is added to the gradient, `shrink` what the parameter is multiplied by: one of them has no effect.
void adam(const gc::Table &table, long long begin, long long end, double step_size_, double rate1_, double beta2_,
          double rate2_, double floor_, double decay_, double shrink_, double sign_) {
  const A step_size = static_cast<A>(step_size_), rate1 = static_cast<A>(rate1_), beta2 = static_cast<A>(beta2_);
  const A rate2 = static_cast<A>(rate2_), floor = static_cast<A>(floor_), decay = static_cast<A>(decay_);
  const A shrink = static_cast<A>(shrink_), sign = static_cast<A>(sign_);
  const bool decays = decay_ != 0;
  table.each(begin, end, [=, &table](Py_ssize_t row, long long first, long long last) {
    T *p = table.at<T>(row, gc::PARAMETERS), *m = table.at<T>(row, 2), *v = table.at<T>(row, 3);
    const T *g = table.at<const T>(row, gc::GRADIENTS);
    const auto update = [=](long long i, auto largest) {
      const A x = gc::to<A>(p[i]) * shrink;
      A d = sign * gc::to<A>(g[i]);
      d = decays ? d + decay * x : d;
      A mean = gc::to<A>(m[i]);
      mean += rate1 * (d - mean);
      A square = beta2 * gc::to<A>(v[i]) + rate2 * (d * d);
      m[i] = gc::to<T>(mean);
      v[i] = gc::to<T>(square);
      square = largest(square);
      p[i] = gc::to<T>(x - step_size * (mean / (square_root(square) + floor)));
    };
    if (table.columns < 5) {
      GC_INDEPENDENT
      for (long long i = first; i < last; i++) update(i, [](A square) { return square; });
      return;
    }
    T *top = table.at<T>(row, 4);
    GC_INDEPENDENT
    for (long long i = first; i < last; i++)
      update(i, [=](A square) {
        const A before = gc::to<A>(top[i]);
        const A now = before > square || before != before ? before : square;
        top[i] = gc::to<T>(now);
        return now;
      });
  });
}

}  // namespace

GC_PYTHON(adam)
