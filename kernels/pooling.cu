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
#include "space.cuh"
#include "types.cuh"

struct Axis {
  int size, out, step, table;  // `table` is where its tables begin
};
typedef gc::Space<Axis> Axes;

// The windows of one dimension.
struct Table {
  const int *starts, *stops, *counts, *first, *last;
  __device__ __forceinline__ Table(const int *tables, const Axis &axis)
      : starts(tables + axis.table), stops(starts + axis.out), counts(stops + axis.out), first(counts + axis.out),
        last(first + axis.size) {}
};

struct Windows {
  const Axes &axes;
  const Table depth, height, width;
  __device__ __forceinline__ Windows(const int *tables, const Axes &axes)
      : axes(axes), depth(tables, axes.depth), height(tables, axes.height), width(tables, axes.width) {}

  __device__ __forceinline__ int place(int d, int h, int w) const {
    return (d * axes.height.size + h) * axes.width.size + w;
  }
  __device__ __forceinline__ int first(const gc::Position &o) const {
    return place(depth.starts[o.d], height.starts[o.h], width.starts[o.w]);
  }
  __device__ __forceinline__ A count(int d, int h, int w) const {
    return A(depth.counts[d] * height.counts[h] * width.counts[w]);
  }
  // f(i) for the places of window o. Loops with steps known to be 1 are unrolled.
  template <bool STEPS, class F>
  __device__ __forceinline__ void places(const gc::Position &o, F f) const {
    for (int d = depth.starts[o.d]; d < depth.stops[o.d]; d += STEPS ? axes.depth.step : 1)
      for (int h = height.starts[o.h]; h < height.stops[o.h]; h += STEPS ? axes.height.step : 1)
        for (int w = width.starts[o.w]; w < width.stops[o.w]; w += STEPS ? axes.width.step : 1) f(place(d, h, w));
  }
  // f(o, count of o) for the windows that may hold place i.
  template <class F>
  __device__ __forceinline__ void covering(const gc::Position &i, F f) const {
    for (int d = depth.first[i.d]; d < depth.last[i.d]; d++)
      for (int h = height.first[i.h]; h < height.last[i.h]; h++)
        for (int w = width.first[i.w]; w < width.last[i.w]; w++)
          f((d * axes.height.out + h) * axes.width.out + w, count(d, h, w));
  }
};

extern "C" __global__ void __launch_bounds__(256, 1)
    mean_pool(const T *__restrict__ x, T *__restrict__ y, const int *__restrict__ tables, const Axes axes,
              const long long count) {
  const long long at = gc::thread_number();
  if (at >= count) return;
  const Windows windows(tables, axes);
  const gc::Position o = axes.in_output(at);
  x += o.plane * axes.input();
  A sum = A(0);
  windows.places<false>(o, [&](int i) { sum += gc::to<A>(x[i]); });
  y[at] = gc::to<T>(sum / windows.count(o.d, o.h, o.w));
}

extern "C" __global__ void __launch_bounds__(256, 1)
    mean_pool_backward(const T *__restrict__ dy, T *__restrict__ dx, const int *__restrict__ tables, const Axes axes,
                       const long long count) {
  const long long at = gc::thread_number();
  if (at >= count) return;
  const Windows windows(tables, axes);
  const gc::Position i = axes.in_input(at);
  dy += i.plane * axes.output();
  A sum = A(0);
  windows.covering(i, [&](int o, A elements) { sum += gc::to<A>(dy[o]) / elements; });
  dx[at] = gc::to<T>(sum);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    max_pool(const T *__restrict__ x, T *__restrict__ y, long long *__restrict__ places,
             const int *__restrict__ tables, const Axes axes, const long long count) {
  const long long at = gc::thread_number();
  if (at >= count) return;
  const Windows windows(tables, axes);
  const gc::Position o = axes.in_output(at);
  x += o.plane * axes.input();
  int best = windows.first(o);
  A top = gc::to<A>(x[best]);
  windows.places<true>(o, [&](int i) {
    const A value = gc::to<A>(x[i]);
    if (value > top || value != value) {
      top = value;
      best = i;
    }
  });
  y[at] = x[best];
  places[at] = best;
}

extern "C" __global__ void __launch_bounds__(256, 1)
    max_pool_backward(const T *__restrict__ dy, const long long *__restrict__ places, T *__restrict__ dx,
                      const int *__restrict__ tables, const Axes axes, const long long count) {
  const long long at = gc::thread_number();
  if (at >= count) return;
  const Windows windows(tables, axes);
  const gc::Position i = axes.in_input(at);
  const int own = windows.place(i.d, i.h, i.w);
  dy += i.plane * axes.output();
  places += i.plane * axes.output();
  A sum = A(0);
  windows.covering(i, [&](int o, A) {
    if (places[o] == own) sum += gc::to<A>(dy[o]);
  });
  dx[at] = gc::to<T>(sum);
}
