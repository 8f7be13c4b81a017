// Stochastic gradient descent over all parameters in one call, on the host.
//
//   g += wd p;  b = first ? g : momentum b + (1 - dampening) g;  p -= lr (nesterov ? g + momentum b : b)
//   without momentum p -= lr g; `sign` is -1 to climb instead.
//
// Layout: the table's columns are p, g and, with momentum, b; a call takes the elements from `begin` to `end` of all.
//
// Given by the launcher: T, the type stored; A, the type computed in.
// Bytes moved for each float32 element: 12, with momentum 20.
#include "host/table.h"
#include "types.cuh"

namespace {

void sgd(const gc::Table &table, long long begin, long long end, double lr_, double momentum_, double rate_,
         double decay_, double sign_, bool nesterov, bool start) {
  const A lr = static_cast<A>(lr_), momentum = static_cast<A>(momentum_), rate = static_cast<A>(rate_);
  const A decay = static_cast<A>(decay_), sign = static_cast<A>(sign_);
  const bool decays = decay_ != 0;
  table.each(begin, end, [=, &table](Py_ssize_t row, long long first, long long last) {
    T *p = table.at<T>(row, gc::PARAMETERS), *b = table.columns > 2 ? table.at<T>(row, 2) : nullptr;
    const T *g = table.at<const T>(row, gc::GRADIENTS);
    const auto gradient = [=](long long i, A x) {
      const A d = sign * gc::to<A>(g[i]);
      return decays ? d + decay * x : d;
    };
    if (!b) {
      GC_INDEPENDENT
      for (long long i = first; i < last; i++) {
        const A x = gc::to<A>(p[i]);
        p[i] = gc::to<T>(x - lr * gradient(i, x));
      }
      return;
    }
    GC_INDEPENDENT
    for (long long i = first; i < last; i++) {
      const A x = gc::to<A>(p[i]), d = gradient(i, x);
      const A average = start ? d : momentum * gc::to<A>(b[i]) + rate * d;
      b[i] = gc::to<T>(average);
      p[i] = gc::to<T>(x - lr * (nesterov ? d + momentum * average : average));
    }
  });
}

}  // namespace

GC_PYTHON(sgd)
