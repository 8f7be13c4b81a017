// target[row[i]] = combine(target[row[i]], values[i]) for rows of `width` elements, where a row may be named any number
// of times: the gradient of gather, of an embedding and of indexing (sums), scatter (the last value), scatter_reduce.
//
// The launcher sorts the row numbers, stably: `sorted` are the numbers in order, `order` where each came from. Equal
// numbers then form a segment. The sorted list is cut into chunks of a length that depends on n alone. In `segments`
// a chunk's threads combine its values in their original order; a segment inside the chunk is done then. Of one that
// goes on beyond the chunk, the part inside is a partial: the head of a chunk belongs to a segment that began before
// it, the tail to one that begins in it and goes on. `segment_ends` combines each tail with the heads that follow it,
// in order. So no row is too frequent, there are no atomics, the result is the same in every run, and is rounded
// once.
//
// Layout: everything is contiguous. blockDim.x threads run along a row, each with VEC neighbouring elements (VEC
// divides the width, and all pointers are aligned to VEC elements); blockDim.y chunks share a block.
//
// Given by the launcher: T, the element type; A, the type combined in; Combine, how; VEC; LAST, whether what was in the
// target is replaced instead of combined.
// Bytes moved: the values once, the named rows of the target twice (once for LAST), 16 bytes for each index, and two
// rows of partials for each chunk.
#include "combine.cuh"
#include "types.cuh"

namespace {

constexpr int AHEAD = 4;  // values that a thread loads before it combines them

struct Acc {
  A at[VEC];
};

__device__ __forceinline__ Acc widened(const gc::Vec<T, VEC> &v) {
  Acc a;
#pragma unroll
  for (int k = 0; k < VEC; k++) a.at[k] = gc::to<A>(v[k]);
  return a;
}

__device__ __forceinline__ void combine(Acc &a, const Acc &b) {
#pragma unroll
  for (int k = 0; k < VEC; k++) a.at[k] = Combine::of(a.at[k], b.at[k]);
}

__device__ __forceinline__ void finish(T *target, long long row, long long rows, long long width, long long column,
                                       const Acc &acc) {
  if (row < 0 || row >= rows) return;  // reported by the index check
  T *place = target + row * width + column;
  Acc all = acc;
  if (!LAST) {
    all = widened(gc::load_mutable<VEC>(place));
    combine(all, acc);
  }
  gc::Vec<T, VEC> out;
#pragma unroll
  for (int k = 0; k < VEC; k++) out[k] = gc::to<T>(all.at[k]);
  gc::store<VEC>(place, out);
}

__device__ __forceinline__ A *partial(A *partials, long long chunk, int tail, long long width, long long column) {
  return partials + (2 * chunk + tail) * width + column;
}

__device__ __forceinline__ void put(A *place, const Acc &acc) {
#pragma unroll
  for (int k = 0; k < VEC; k++) place[k] = acc.at[k];
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 1)
    segments(T *__restrict__ target, const T *__restrict__ values, const long long *__restrict__ sorted,
             const long long *__restrict__ order, A *__restrict__ partials, const long long n, const long long rows,
             const long long width, const long long chunk) {
  const long long number = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  const long long first = number * chunk;
  if (first >= n) return;
  const long long last = first + chunk < n ? first + chunk : n;
  const long long step = static_cast<long long>(gridDim.y) * blockDim.x * VEC;
  for (long long column = (static_cast<long long>(blockIdx.y) * blockDim.x + threadIdx.x) * VEC; column < width;
       column += step) {
    long long row = sorted[first];
    bool head = first > 0 && sorted[first - 1] == row;
    Acc acc = widened(gc::load<VEC>(values + order[first] * width + column));
    for (long long i = first + 1; i < last; i += AHEAD) {
      long long next[AHEAD];
      gc::Vec<T, VEC> loaded[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) {
        if (i + k < last) {
          next[k] = sorted[i + k];
          loaded[k] = gc::load<VEC>(values + order[i + k] * width + column);
        }
      }
#pragma unroll
      for (int k = 0; k < AHEAD; k++) {
        if (i + k >= last) break;
        const Acc value = widened(loaded[k]);
        if (next[k] == row) {
          combine(acc, value);
          continue;
        }
        if (head) {
          put(partial(partials, number, 0, width, column), acc);
        } else {
          finish(target, row, rows, width, column, acc);
        }
        head = false;
        row = next[k];
        acc = value;
      }
    }
    if (head) {
      put(partial(partials, number, 0, width, column), acc);
    } else if (last < n && sorted[last] == row) {
      put(partial(partials, number, 1, width, column), acc);
    } else {
      finish(target, row, rows, width, column, acc);
    }
  }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    segment_ends(T *__restrict__ target, A *__restrict__ partials, const long long *__restrict__ sorted,
                 const long long n, const long long rows, const long long width, const long long chunk) {
  const long long number = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  const long long first = number * chunk, end = first + chunk;
  if (end >= n) return;
  const long long row = sorted[end - 1];
  if (sorted[end] != row) return;                     // no segment goes on from here
  if (first > 0 && sorted[first - 1] == row) return;  // it began before
  const long long step = static_cast<long long>(gridDim.y) * blockDim.x * VEC;
  for (long long column = (static_cast<long long>(blockIdx.y) * blockDim.x + threadIdx.x) * VEC; column < width;
       column += step) {
    Acc acc;
    const A *place = partial(partials, number, 1, width, column);
#pragma unroll
    for (int k = 0; k < VEC; k++) acc.at[k] = place[k];
    for (long long next = end; next < n && sorted[next] == row; next += chunk) {
      Acc more;
      place = partial(partials, next / chunk, 0, width, column);
#pragma unroll
      for (int k = 0; k < VEC; k++) more.at[k] = place[k];
      combine(acc, more);
    }
    finish(target, row, rows, width, column, acc);
  }
}
