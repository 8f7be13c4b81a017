// How reductions combine two values, and what they start from. NaN goes through all of them.
#pragma once
#include "math.cuh"

namespace gc {

struct Sum {
  template <class A>
  static __device__ __forceinline__ A identity() { return A(0); }
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) { return A(a + b); }
  // Integers wrap around: in unsigned arithmetic, where overflow is defined.
  static __device__ __forceinline__ int of(int a, int b) { return static_cast<unsigned int>(a) + b; }
  static __device__ __forceinline__ long long of(long long a, long long b) {
    return static_cast<unsigned long long>(a) + b;
  }
};
struct Prod {
  template <class A>
  static __device__ __forceinline__ A identity() { return A(1); }
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) { return A(a * b); }
  static __device__ __forceinline__ int of(int a, int b) { return static_cast<unsigned int>(a) * b; }
  static __device__ __forceinline__ long long of(long long a, long long b) {
    return static_cast<unsigned long long>(a) * b;
  }
};
struct Max {
  template <class A>
  static __device__ __forceinline__ A identity() { return lowest<A>(); }
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) { return maximum(a, b); }
};
struct Min {
  template <class A>
  static __device__ __forceinline__ A identity() { return highest<A>(); }
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) { return minimum(a, b); }
};
// The later of two.
struct Last {
  template <class A>
  static __device__ __forceinline__ A of(A, A b) { return b; }
};
// | and & of truth values: without branches, which would keep loops from being vectorised.
struct Any {
  template <class A>
  static __device__ __forceinline__ A identity() { return false; }
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) { return a | b; }
};
struct All {
  template <class A>
  static __device__ __forceinline__ A identity() { return true; }
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) { return a & b; }
};

}  // namespace gc
