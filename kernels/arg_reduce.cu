// The extreme value along an axis, and the position of the first element that has it; NaN counts as the extreme.
//
// A reduction (reduce.cuh) of pairs (value, position): of two, the more extreme value wins, and of equal values the
// earlier position, so the order of combination does not matter.
//
// Given by the launcher: T, the element type; A, the type it is compared in; KEPT, the rank of the kept dimensions;
// Index; LARGEST, true for the maximum.
// Bytes moved: the array once, a value and a position for each output.
#include "reduce.cuh"

struct Extreme {
  A value;
  long long position;
};

// Found by argument-dependent lookup from gc::reduce_group.
__device__ __forceinline__ Extreme shuffle_xor(Extreme e, int distance) {
  return Extreme{gc::shuffle_xor(e.value, distance), gc::shuffle_xor(e.position, distance)};
}

struct MoreExtreme {
  // A negative position: no element yet.
  template <class E>
  static __device__ __forceinline__ E identity() { return E{A(0), -1}; }
  static __device__ __forceinline__ Extreme of(const Extreme &a, const Extreme &b) {
    if (a.position < 0 || b.position < 0) return a.position < 0 ? b : a;
    const bool nan_a = gc::isnan(a.value), nan_b = gc::isnan(b.value);
    const bool tie = nan_a || nan_b ? nan_a && nan_b : a.value == b.value;
    const bool first_wins = tie            ? a.position < b.position
                            : nan_a || nan_b ? nan_a
                                             : (LARGEST ? a.value > b.value : a.value < b.value);
    return first_wins ? a : b;
  }
};

struct Map {
  const T *x;
  template <int N>
  struct Registers {
    T value;
  };
  template <int N, class At>
  __device__ __forceinline__ void load(Registers<N> &r, const At &at) const { r.value = x[at[0]]; }
  template <int N>
  __device__ __forceinline__ Extreme operator()(const Registers<N> &r, int, long long position) const {
    return Extreme{gc::to<A>(r.value), position};
  }
};

struct Finish {
  typedef Extreme Acc;
  typedef MoreExtreme Combine;
  T *values;
  long long *positions;
  __device__ __forceinline__ void operator()(Extreme e, long long output) const {
    values[output] = gc::to<T>(e.value);
    positions[output] = e.position;
  }
};

extern "C" __global__ void __launch_bounds__(256, 1)
    arg_reduce(const T *x, T *values, long long *positions, const gc::Layout<KEPT, 1, Index> kept,
               const gc::Layout<1, 1, Index> reduced, const Index outputs, const Index length, const Index chunk,
               Extreme *partials) {
  gc::reduce_rows<1, 4>(Map{x}, Finish{values, positions}, kept, reduced, outputs, length, chunk, partials);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    arg_reduce_partials(const Extreme *partials, T *values, long long *positions, const long long outputs,
                        const int splits) {
  gc::reduce_partials(Finish{values, positions}, partials, outputs, splits);
}
