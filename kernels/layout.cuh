// From a linear index to the offsets of several operands: the shape and the strides are arguments of the kernel.
//
// Dimensions are merged on the host as far as possible, so RANK is small. The index is taken apart from the innermost
// dimension outwards, once for all operands: index = (((i0 * size1) + i1) * size2 + i2) ...; offset = sum of i_d *
// stride_d. Offsets are in elements, and negative where a stride is.
//
// Division by a size known only at run time is a multiplication: with s = ceil(log2 d) and
// m = floor(2^32 (2^s - d) / d) + 1,  n / d = (mulhi(n, m) + n) >> s  for all n < 2^31
// (T. Granlund and P. L. Montgomery, "Division by invariant integers using multiplication", PLDI 1994).
#pragma once

namespace gc {

template <int OPERANDS, class Index>
struct Offsets {
  Index of[OPERANDS];
  __device__ __forceinline__ Index operator[](int operand) const { return of[operand]; }
};

// Index = int: everything fits in 31 bits. Index = long long: the same with real divisions.
template <int RANK, int OPERANDS, class Index>
struct Layout;

template <int RANK, int OPERANDS>
struct Layout<RANK, OPERANDS, int> {
  unsigned int size[RANK], magic[RANK], shift[RANK];
  int stride[OPERANDS][RANK];

  __device__ __forceinline__ Offsets<OPERANDS, int> operator()(int index) const {
    Offsets<OPERANDS, int> offsets = {};
    unsigned int rest = static_cast<unsigned int>(index);
#pragma unroll
    for (int d = RANK - 1; d > 0; d--) {
      const unsigned int quotient = (__umulhi(rest, magic[d]) + rest) >> shift[d];
      const int i = static_cast<int>(rest - quotient * size[d]);
#pragma unroll
      for (int p = 0; p < OPERANDS; p++) offsets.of[p] += i * stride[p][d];
      rest = quotient;
    }
#pragma unroll
    for (int p = 0; p < OPERANDS; p++) offsets.of[p] += static_cast<int>(rest) * stride[p][0];
    return offsets;
  }
};

template <int RANK, int OPERANDS>
struct Layout<RANK, OPERANDS, long long> {
  long long size[RANK];
  long long stride[OPERANDS][RANK];

  __device__ __forceinline__ Offsets<OPERANDS, long long> operator()(long long index) const {
    Offsets<OPERANDS, long long> offsets = {};
#pragma unroll
    for (int d = RANK - 1; d > 0; d--) {
      const long long quotient = index / size[d], i = index - quotient * size[d];
#pragma unroll
      for (int p = 0; p < OPERANDS; p++) offsets.of[p] += i * stride[p][d];
      index = quotient;
    }
#pragma unroll
    for (int p = 0; p < OPERANDS; p++) offsets.of[p] += index * stride[p][0];
    return offsets;
  }
};

}  // namespace gc
