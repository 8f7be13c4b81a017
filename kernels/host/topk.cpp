// The k largest or smallest elements of rows, in order, and where they are, on the host.
//
// Layout: x is (rows, n), values and places (rows, k), contiguous; the rows from `begin` to `end` are worked on. What
// was found so far is kept in order; an element is put in where it is before the last of it. Of equal elements the
// first come first; NaN counts as the largest. In random order k log(n / k) elements are put in.
//
// Given by the launcher: T, the type stored; A, the type compared in.
// Bytes moved: x once, the results once.
#include "host/python.h"
#include "host/rows.h"

namespace {

template <bool LARGEST>
__forceinline__ bool before(A a, A b) {
  return LARGEST ? (a > b) | ((a != a) & (b == b)) : (a < b) | ((b != b) & (a == a));
}

constexpr int WIDTH = 64;

template <bool LARGEST>
void rows(const T *x, T *values, long long *places, long long begin, long long end, long long n, long long k) {
  const gc::Scratch room(n);
  A *const best = static_cast<A *>(malloc(k * sizeof(A)));
  for (long long row = begin; row < end; row++) {
    const A *from = gc::widened(x + row * n, room.at, n);
    long long *const at = places + row * k;
    long long found = 0;
    const auto put = [&](long long i) {
      long long place = found < k ? found++ : k - 1;
      for (; place > 0 && before<LARGEST>(from[i], best[place - 1]); place--) {
        best[place] = best[place - 1];
        at[place] = at[place - 1];
      }
      best[place] = from[i];
      at[place] = i;
    };
    long long i = 0;
    for (; i < k; i++) put(i);
    while (i < n) {
      const long long stop = i + WIDTH < n ? i + WIDTH : n;
      const A last = best[k - 1];
      unsigned int any = 0;
      for (long long j = i; j < stop; j++) any |= before<LARGEST>(from[j], last);
      if (any)
        for (long long j = i; j < stop; j++)
          if (before<LARGEST>(from[j], best[k - 1])) put(j);
      i = stop;
    }
    for (long long j = 0; j < k; j++) values[row * k + j] = x[row * n + at[j]];
  }
  free(best);
}

void topk(const T *x, T *values, long long *places, long long begin, long long end, long long n, long long k,
          bool largest) {
  if (largest) rows<true>(x, values, places, begin, end, n, k);
  else rows<false>(x, values, places, begin, end, n, k);
}

}  // namespace

GC_PYTHON(topk)
