// Rows on the host: 16-bit floats widened and rounded a row at a time, sums and maxima that are vectorised.
//
// The lanes of a sum are accumulators of their own, added up at the end of every block of 1024 elements, and the
// blocks in double: what is rounded, and how often, depends on the row's length alone, and is no more than in pairwise
// summation. Without lanes no loop over a sum may be vectorised, as additions may not be reordered.
//
// Given by the launcher: T, what is stored, and A, what is computed in.
#pragma once
#include "host/functions.h"
#include "types.cuh"

extern "C" {
void *malloc(__SIZE_TYPE__);
void free(void *);
}

namespace gc {

constexpr int LANES = 32;
constexpr long long BLOCK = 1024;

template <class X, class Y>
constexpr bool same = false;
template <class X>
constexpr bool same<X, X> = true;

constexpr bool NARROW = !same<T, A>;

// Room for rows in the type that is computed in; none where that is the type stored.
struct Scratch {
  A *at;
  explicit Scratch(long long elements) : at(NARROW ? static_cast<A *>(malloc(elements * sizeof(A))) : nullptr) {}
  ~Scratch() {
    if (NARROW) free(at);
  }
};

// The row as it is computed with, in `room` where it has to be converted.
template <class X>
__forceinline__ const A *widened(const X *row, A *room, long long n) {
  if constexpr (same<X, A>) {
    return row;
  } else {
    for (long long i = 0; i < n; i++) room[i] = to<A>(row[i]);
    return room;
  }
}
// Where to compute a result, and what puts it into its place.
template <class X>
__forceinline__ A *result(X *row, A *room) {
  if constexpr (same<X, A>) return row;
  else return room;
}
template <class X>
__forceinline__ void rounded(X *row, const A *room, long long n) {
  if constexpr (!same<X, A>)
    for (long long i = 0; i < n; i++) row[i] = to<X>(room[i]);
}

// exp(x) for x <= 0.
__forceinline__ float exponential(float x) { return single::exp_of_negative(x); }
__forceinline__ double exponential(double x) { return exp(x); }

struct Sums {
  double first, second;
};

// The sums of f(i) and of g(i) for i below n; they may store what they compute.
template <class F, class G>
__forceinline__ Sums sums(long long n, F f, G g) {
  Sums total = {0, 0};
  long long i = 0;
  while (i + LANES <= n) {
    A first[LANES] = {}, second[LANES] = {};
    for (const long long end = i + BLOCK < n ? i + BLOCK : n; i + LANES <= end; i += LANES)
      for (int k = 0; k < LANES; k++) {
        first[k] += f(i + k);
        second[k] += g(i + k);
      }
    for (int half = LANES / 2; half; half /= 2)
      for (int k = 0; k < half; k++) {
        first[k] += first[k + half];
        second[k] += second[k + half];
      }
    total.first += first[0];
    total.second += second[0];
  }
  A first[LANES], second[LANES];
  const int left = static_cast<int>(n - i);
  for (int k = 0; k < left; k++) {
    first[k] = f(i + k);
    second[k] = g(i + k);
  }
  for (int k = 0; k < left; k++) {
    total.first += first[k];
    total.second += second[k];
  }
  return total;
}

template <class F>
__forceinline__ double sum(long long n, F f) {
  return sums(n, f, [](long long) { return A(0); }).first;
}

// The largest element, minus infinity of none. A NaN may go unseen: what is computed next finds it.
__forceinline__ A largest(const A *x, long long n) {
  A top = -static_cast<A>(__builtin_inf());
  long long i = 0;
  if (n >= LANES) {
    A lane[LANES];
    for (int k = 0; k < LANES; k++) lane[k] = x[k];
    for (i = LANES; i + LANES <= n; i += LANES)
      for (int k = 0; k < LANES; k++) lane[k] = lane[k] > x[i + k] ? lane[k] : x[i + k];
    for (int half = LANES / 2; half; half /= 2)
      for (int k = 0; k < half; k++) lane[k] = lane[k] > lane[k + half] ? lane[k] : lane[k + half];
    top = lane[0];
  }
  for (; i < n; i++) top = top > x[i] ? top : x[i];
  return top;
}

}  // namespace gc
