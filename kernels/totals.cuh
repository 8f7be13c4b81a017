// What a reduction accumulates where it makes several results in one pass: several totals, or the moments of values.
#pragma once
#include "combine.cuh"
#include "group.cuh"

namespace gc {

// Several accumulators, each combined by Each.
template <class A, int N>
struct Several {
  A at[N];
};
template <class Each>
struct Together {
  template <class S>
  static __device__ __forceinline__ S identity() { return filled(S()); }
  template <class A, int N>
  static __device__ __forceinline__ Several<A, N> of(Several<A, N> a, const Several<A, N> &b) {
#pragma unroll
    for (int i = 0; i < N; i++) a.at[i] = Each::of(a.at[i], b.at[i]);
    return a;
  }

 private:
  template <class A, int N>
  static __device__ __forceinline__ Several<A, N> filled(Several<A, N> s) {
#pragma unroll
    for (int i = 0; i < N; i++) s.at[i] = Each::template identity<A>();
    return s;
  }
};
template <class A, int N>
__device__ __forceinline__ Several<A, N> shuffle_xor(Several<A, N> s, int distance) {
#pragma unroll
  for (int i = 0; i < N; i++) s.at[i] = shuffle_xor(s.at[i], distance);
  return s;
}

// The mean of so many values, and the sum of their squared distances from it. (B. P. Welford, 1962; T. F. Chan, G. H.
// Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.)
template <class A>
struct Deviations {
  A mean, squares, count;
};
struct Welford {
  template <class M>
  static __device__ __forceinline__ M identity() { return M{0, 0, 0}; }
  template <class A>
  static __device__ __forceinline__ Deviations<A> of(Deviations<A> a, A value) {
    a.count += A(1);
    const A off = value - a.mean;
    a.mean += off / a.count;
    a.squares += off * (value - a.mean);
    return a;
  }
  template <class A>
  static __device__ __forceinline__ Deviations<A> of(const Deviations<A> &a, const Deviations<A> &b) {
    if (b.count == A(0)) return a;
    if (a.count == A(0)) return b;
    const A count = a.count + b.count, off = b.mean - a.mean, share = b.count / count;
    return Deviations<A>{a.mean + off * share, a.squares + b.squares + off * off * (a.count * share), count};
  }
};
template <class A>
__device__ __forceinline__ Deviations<A> shuffle_xor(Deviations<A> m, int distance) {
  return Deviations<A>{shuffle_xor(m.mean, distance), shuffle_xor(m.squares, distance), shuffle_xor(m.count, distance)};
}

}  // namespace gc
