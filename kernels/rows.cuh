// What kernels over the rows of a matrix share: vectors along a row, the running log-sum-exp, the running moments.
//
// A block is blockDim.x threads along a row times blockDim.y rows (group.cuh).
#pragma once
#include "group.cuh"
#include "math.cuh"
#include "types.cuh"

namespace gc {

struct RowSum {
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) { return a + b; }
};
struct RowMax {
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) { return maximum(a, b); }
};

// max = the largest x so far, sum = the sum of exp(x - max): both in one pass, whatever the order.
// (M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax", 2018.)
template <class A>
struct Exponentials {
  A max, sum;

  // exp(x - max), but 0 while nothing but -inf has been seen, where it would be NaN.
  static __device__ __forceinline__ A term(A x, A max) { return max == -infinity<A>() ? A(0) : gc::exp(x - max); }

  static __device__ __forceinline__ Exponentials none() { return Exponentials{-infinity<A>(), A(0)}; }

  template <class T, int N>
  __device__ __forceinline__ void add(const Vec<T, N> &x) {
    A top = max;
#pragma unroll
    for (int k = 0; k < N; k++) top = maximum(top, to<A>(x[k]));
    A total = sum * term(max, top);
#pragma unroll
    for (int k = 0; k < N; k++) total += term(to<A>(x[k]), top);
    max = top;
    sum = total;
  }

  static __device__ __forceinline__ Exponentials of(const Exponentials &a, const Exponentials &b) {
    const A top = maximum(a.max, b.max);
    return Exponentials{top, a.sum * term(a.max, top) + b.sum * term(b.max, top)};
  }
};

template <class A>
__device__ __forceinline__ Exponentials<A> shuffle_xor(const Exponentials<A> &e, int distance) {
  return Exponentials<A>{shuffle_xor(e.max, distance), shuffle_xor(e.sum, distance)};
}

struct CombineExponentials {
  template <class A>
  static __device__ __forceinline__ Exponentials<A> of(const Exponentials<A> &a, const Exponentials<A> &b) {
    return Exponentials<A>::of(a, b);
  }
};

// The mean of `count` numbers and the sum of their squared distances to it, in one pass, without the cancellation of
// sum(x^2) - sum(x)^2. Not CENTERED, the mean counts as 0. (T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae
// and a pairwise algorithm for computing sample variances", 1979.)
template <class A, bool CENTERED>
struct Moments {
  A count, mean, squares;

  static __device__ __forceinline__ Moments none() { return Moments{A(0), A(0), A(0)}; }

  template <class T, int N>
  __device__ __forceinline__ void add(const Vec<T, N> &x) {
    Moments own = Moments{A(N), A(0), A(0)};
    if (CENTERED) {
#pragma unroll
      for (int k = 0; k < N; k++) own.mean += to<A>(x[k]);
      own.mean /= A(N);
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
      const A distance = to<A>(x[k]) - own.mean;
      own.squares += distance * distance;
    }
    *this = of(*this, own);
  }

  static __device__ __forceinline__ Moments of(const Moments &a, const Moments &b) {
    const A count = a.count + b.count;
    A squares = a.squares + b.squares;
    if (!CENTERED || count == A(0)) return Moments{count, A(0), squares};
    const A distance = b.mean - a.mean, share = b.count / count;
    return Moments{count, a.mean + distance * share, squares + distance * (a.count * share) * distance};
  }
};

template <class A, bool CENTERED>
__device__ __forceinline__ Moments<A, CENTERED> shuffle_xor(const Moments<A, CENTERED> &m, int distance) {
  return Moments<A, CENTERED>{shuffle_xor(m.count, distance), shuffle_xor(m.mean, distance),
                              shuffle_xor(m.squares, distance)};
}

}  // namespace gc
