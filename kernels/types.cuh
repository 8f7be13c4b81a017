// Element types: conversions between what is stored and what is computed in, and vector loads and stores.
//
// A value is stored as T and computed as C: float for __half, __nv_bfloat16 and float. to<C>(x) converts either way,
// with NumPy's meaning (to bool: is it not zero; to an integer: towards zero). half.cuh adds the two 16-bit float
// types.
//
// A Vec<T, N> is N neighbouring elements, aligned to their total size, at most 16 bytes: load and store are one
// instruction each, and a warp of 16-byte loads is 512 contiguous bytes.
#pragma once

namespace gc {

// What a stored type widens to on its own, before any other conversion.
template <class T>
struct Widen {
  static __device__ __forceinline__ T from(T x) { return x; }
};

template <class To>
struct Convert {
  template <class From>
  static __device__ __forceinline__ To from(From x) { return static_cast<To>(x); }
};
template <>
struct Convert<bool> {
  template <class From>
  static __device__ __forceinline__ bool from(From x) { return x != static_cast<From>(0); }
};

// Negative floats become small unsigned integers by wrapping around, as integers do, not by saturating.
template <class To>
struct ConvertNarrow {
  template <class From>
  static __device__ __forceinline__ To from(From x) { return static_cast<To>(static_cast<long long>(x)); }
};
template <>
struct Convert<signed char> : ConvertNarrow<signed char> {};
template <>
struct Convert<unsigned char> : ConvertNarrow<unsigned char> {};
template <>
struct Convert<short> : ConvertNarrow<short> {};
template <>
struct Convert<unsigned short> : ConvertNarrow<unsigned short> {};
template <>
struct Convert<unsigned int> : ConvertNarrow<unsigned int> {};

template <class To, class From>
__device__ __forceinline__ To to(From x) {
  return Convert<To>::from(Widen<From>::from(x));
}

template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T at[N];
  __device__ __forceinline__ T &operator[](int k) { return at[k]; }
  __device__ __forceinline__ const T &operator[](int k) const { return at[k]; }
};

// The built-in type of as many bytes: loading through it is what makes the compiler emit one instruction.
template <int BYTES>
struct Raw;
template <>
struct Raw<1> { typedef unsigned char type; };
template <>
struct Raw<2> { typedef unsigned short type; };
template <>
struct Raw<4> { typedef unsigned int type; };
template <>
struct Raw<8> { typedef uint2 type; };
template <>
struct Raw<16> { typedef uint4 type; };

// N elements from p, which is aligned to all of them and not written by the kernel.
template <int N, class T>
__device__ __forceinline__ Vec<T, N> load(const T *p) {
  typedef typename Raw<sizeof(T) * N>::type R;
  const R raw = __ldg(reinterpret_cast<const R *>(p));
  Vec<T, N> v;
  memcpy(&v, &raw, sizeof v);
  return v;
}

// The same where the kernel writes what it reads.
template <int N, class T>
__device__ __forceinline__ Vec<T, N> load_mutable(const T *p) {
  typedef typename Raw<sizeof(T) * N>::type R;
  const R raw = *reinterpret_cast<const R *>(p);
  Vec<T, N> v;
  memcpy(&v, &raw, sizeof v);
  return v;
}

template <int N, class T>
__device__ __forceinline__ void store(T *p, const Vec<T, N> &v) {
  typedef typename Raw<sizeof(T) * N>::type R;
  R raw;
  memcpy(&raw, &v, sizeof v);
  *reinterpret_cast<R *>(p) = raw;
}

}  // namespace gc
