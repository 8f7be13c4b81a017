// Sums of the elements up to each one, or from each one on, on the host.
//
//   cumsum   y[o, j, i] = sum of x[o, k, i] over k <= j, or over k >= j
//
// Layout: x and y are (outer, n, inner), contiguous. An item is a line (inner = 1), or up to WIDTH neighbouring ones;
// each is as if it were alone. Lines are summed in double (16-bit floats in float), four of them at a time: an addition
// has to wait for the one before it.
//
// Given by the launcher: T, the type stored; A, float or double.
// Bytes moved: x and y once.
#include "host/python.h"
#include "types.cuh"

namespace {

constexpr long long WIDTH = 64;
constexpr int TOGETHER = 4;

template <class X>
struct Sum { typedef A type; };
template <>
struct Sum<float> { typedef double type; };
typedef Sum<T>::type S;

template <int LINES>
__forceinline__ void lines(const T *x, T *y, long long n, bool reverse) {
  S total[LINES] = {};
  for (long long k = 0; k < n; k++) {
    const long long j = reverse ? n - 1 - k : k;
    for (int l = 0; l < LINES; l++) {
      total[l] += static_cast<S>(gc::to<A>(x[l * n + j]));
      y[l * n + j] = gc::to<T>(static_cast<A>(total[l]));
    }
  }
}

void cumsum(const T *x, T *y, long long begin, long long end, long long n, long long inner, bool reverse) {
  if (inner == 1) {
    for (; begin + TOGETHER <= end; begin += TOGETHER) lines<TOGETHER>(x + begin * n, y + begin * n, n, reverse);
    for (; begin < end; begin++) lines<1>(x + begin * n, y + begin * n, n, reverse);
    return;
  }
  const long long chunks = (inner + WIDTH - 1) / WIDTH;
  for (long long item = begin; item < end; item++) {
    const long long first = item % chunks * WIDTH, count = inner - first < WIDTH ? inner - first : WIDTH;
    const long long start = item / chunks * n * inner + first;
    S total[WIDTH] = {};
    for (long long k = 0; k < n; k++) {
      const long long at = start + (reverse ? n - 1 - k : k) * inner;
      GC_INDEPENDENT
      for (long long i = 0; i < count; i++) {
        total[i] += static_cast<S>(gc::to<A>(x[at + i]));
        y[at + i] = gc::to<T>(static_cast<A>(total[i]));
      }
    }
  }
}

}  // namespace

GC_PYTHON(cumsum)
