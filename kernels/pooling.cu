// Means and maxima of the windows of planes of three dimensions, and their gradients.
//
//   mean: y[o] = sum of x[i] over i in window o / count[o]        dx[i] = sum of dy[o] / count[o] over o with i in it
//   max:  y[o] = x[place[o]], the largest                         dx[i] = sum of dy[o] over o with place[o] = i
//
// Layout: planes are contiguous. A thread makes one element of the result, neighbouring threads neighbouring ones: a
// gradient looks through the windows that may hold its element, in their order, so there are no atomics. `tables` holds
// for each dimension the starts, stops and counts of its windows, then for each of its places the first window that may
// hold it and the one after the last.
//
// Given by the launcher: T, the element type; A, the type summed in.
// Bytes moved: input and result once, 8 bytes for each place, and what overlapping windows read again from the cache.
#include "math.cuh"
#include "types.cuh"

struct Axis {
  int size, out, step, table;  // `table` is where its tables begin
};
struct Axes {
  Axis depth, height, width;
};

// The windows of one dimension.
struct Table {
  const int *starts, *stops, *counts, *first, *last;
  __device__ __forceinline__ Table(const int *tables, const Axis &axis)
      : starts(tables + axis.table), stops(starts + axis.out), counts(stops + axis.out), first(counts + axis.out),
        last(first + axis.size) {}
};

// A plane and a place in it.
struct Position {
  int w, h, d;
  long long plane;
  __device__ __forceinline__ Position(long long at, int depth, int height, int width) {
    long long rest = at / width;
    w = static_cast<int>(at - rest * width);
    at = rest / height;
    h = static_cast<int>(rest - at * height);
    plane = at / depth;
    d = static_cast<int>(at - plane * depth);
  }
};

#define GC_POOL                                                                                                \
  const Table depth(tables, axes.depth), height(tables, axes.height), width(tables, axes.width);               \
  const long long at = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;                          \
  if (at >= count) return;

extern "C" __global__ void __launch_bounds__(256, 1)
    mean_pool(const T *__restrict__ x, T *__restrict__ y, const int *__restrict__ tables, const Axes axes,
              const long long count) {
  GC_POOL
  const int inner = axes.height.size * axes.width.size;
  const Position p(at, axes.depth.out, axes.height.out, axes.width.out);
  x += p.plane * axes.depth.size * inner;
  A sum = A(0);
  for (int d = depth.starts[p.d]; d < depth.stops[p.d]; d++)
    for (int h = height.starts[p.h]; h < height.stops[p.h]; h++)
      for (int w = width.starts[p.w]; w < width.stops[p.w]; w++) sum += gc::to<A>(x[d * inner + h * axes.width.size + w]);
  y[at] = gc::to<T>(sum / A(depth.counts[p.d] * height.counts[p.h] * width.counts[p.w]));
}

extern "C" __global__ void __launch_bounds__(256, 1)
    mean_pool_backward(const T *__restrict__ dy, T *__restrict__ dx, const int *__restrict__ tables, const Axes axes,
                       const long long count) {
  GC_POOL
  const int outer = axes.height.out * axes.width.out;
  const Position p(at, axes.depth.size, axes.height.size, axes.width.size);
  dy += p.plane * axes.depth.out * outer;
  A sum = A(0);
  for (int d = depth.first[p.d]; d < depth.last[p.d]; d++)
    for (int h = height.first[p.h]; h < height.last[p.h]; h++)
      for (int w = width.first[p.w]; w < width.last[p.w]; w++)
        sum += gc::to<A>(dy[d * outer + h * axes.width.out + w]) / A(depth.counts[d] * height.counts[h] * width.counts[w]);
  dx[at] = gc::to<T>(sum);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    max_pool(const T *__restrict__ x, T *__restrict__ y, long long *__restrict__ places,
             const int *__restrict__ tables, const Axes axes, const long long count) {
  GC_POOL
  const int inner = axes.height.size * axes.width.size;
  const Position p(at, axes.depth.out, axes.height.out, axes.width.out);
  x += p.plane * axes.depth.size * inner;
  int best = depth.starts[p.d] * inner + height.starts[p.h] * axes.width.size + width.starts[p.w];
  A top = gc::to<A>(x[best]);
  for (int d = depth.starts[p.d]; d < depth.stops[p.d]; d += axes.depth.step)
    for (int h = height.starts[p.h]; h < height.stops[p.h]; h += axes.height.step)
      for (int w = width.starts[p.w]; w < width.stops[p.w]; w += axes.width.step) {
        const int place = d * inner + h * axes.width.size + w;
        const A value = gc::to<A>(x[place]);
        if (value > top || value != value) {
          top = value;
          best = place;
        }
      }
  y[at] = x[best];
  places[at] = best;
}

extern "C" __global__ void __launch_bounds__(256, 1)
    max_pool_backward(const T *__restrict__ dy, const long long *__restrict__ places, T *__restrict__ dx,
                      const int *__restrict__ tables, const Axes axes, const long long count) {
  GC_POOL
  const int inner = axes.height.size * axes.width.size;
  const int outer = axes.height.out * axes.width.out;
  const Position p(at, axes.depth.size, axes.height.size, axes.width.size);
  const long long own = p.d * inner + p.h * axes.width.size + p.w;
  dy += p.plane * axes.depth.out * outer;
  places += p.plane * axes.depth.out * outer;
  A sum = A(0);
  for (int d = depth.first[p.d]; d < depth.last[p.d]; d++)
    for (int h = height.first[p.h]; h < height.last[p.h]; h++)
      for (int w = width.first[p.w]; w < width.last[p.w]; w++) {
        const int o = d * outer + h * axes.width.out + w;
        if (places[o] == own) sum += gc::to<A>(dy[o]);
      }
  dx[at] = gc::to<T>(sum);
}
