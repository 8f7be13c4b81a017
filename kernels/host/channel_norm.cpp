// The statistics of channels for batch norm and group norm, and the sums that their gradients are made of, on the host.
//
//   channel_moments   mean = sum(x) / n        variance = sum((x - mean)^2) / n
//   channel_sums      first = sum(dy)          second = sum(dy (x - mean) rstd)
//
// Layout: x and dy are (outer, channels, inner), contiguous. A kernel takes the channels from `begin` to `end`, each as
// if it were alone; the sums of the runs of `inner` elements are added up in double, in the order of memory.
//
// Given by the launcher: T, the type stored; A, the type computed in.
// Bytes moved: x twice (channel_moments), dy and x once; the second time out of the cache if a channel fits.
#include "host/python.h"
#include "host/rows.h"

namespace {

void channel_moments(const T *x, A *mean, A *variance, long long begin, long long end, long long outer,
                     long long channels, long long inner) {
  const gc::Scratch room(inner);
  const double count = static_cast<double>(outer) * static_cast<double>(inner);
  for (long long c = begin; c < end; c++) {
    double total = 0;
    for (long long o = 0; o < outer; o++) {
      const A *from = gc::widened(x + (o * channels + c) * inner, room.at, inner);
      total += gc::sum(inner, [=](long long i) { return from[i]; });
    }
    const A center = static_cast<A>(total / count);
    total = 0;
    for (long long o = 0; o < outer; o++) {
      const A *from = gc::widened(x + (o * channels + c) * inner, room.at, inner);
      total += gc::sum(inner, [=](long long i) { return (from[i] - center) * (from[i] - center); });
    }
    mean[c] = center;
    variance[c] = static_cast<A>(total / count);
  }
}

void channel_sums(const T *grad, const T *x, const A *mean, const A *rstd, A *first, A *second, long long begin,
                  long long end, long long outer, long long channels, long long inner) {
  const gc::Scratch room(2 * inner);
  for (long long c = begin; c < end; c++) {
    const A center = mean[c];
    double total = 0, products = 0;
    for (long long o = 0; o < outer; o++) {
      const A *g = gc::widened(grad + (o * channels + c) * inner, room.at, inner);
      const A *from = gc::widened(x + (o * channels + c) * inner, room.at + inner, inner);
      const gc::Sums found = gc::sums(
          inner, [=](long long i) { return g[i]; }, [=](long long i) { return g[i] * (from[i] - center); });
      total += found.first;
      products += found.second;
    }
    first[c] = static_cast<A>(total);
    second[c] = static_cast<A>(products * rstd[c]);
  }
}

}  // namespace

GC_PYTHON(channel_moments)
GC_PYTHON(channel_sums)
