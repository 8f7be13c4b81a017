// Means and maxima of the windows of planes of three dimensions, and their gradients, on the host.
//
//   mean: y[o] = sum of x[i] over i in window o / count[o]        dx[i] = sum of dy[o] / count[o] over o with i in it
//   max:  y[o] = x[place[o]], the largest                         dx[i] = sum of dy[o] over o with place[o] = i
//
// Layout: planes are contiguous; those from `begin` to `end` are worked on, each as if it were alone, so that the number
// of threads does not matter. `geometry` has for each dimension its size, the number of windows and the step within
// them; `tables` the starts, stops and counts of the windows, one dimension after the other.
//
// Given by the launcher: T, the type stored; A, the type computed in.
// Bytes moved: input and result once, 8 bytes for each place.
#include "host/python.h"
#include "host/rows.h"

extern "C" void *memset(void *, int, __SIZE_TYPE__);

namespace {

struct Axis {
  long long size, out, step;
};

// The windows of the three dimensions.
struct Windows {
  const Axis *axes;
  const long long *starts[3], *stops[3], *counts[3];
  Windows(const long long *geometry, const long long *tables) : axes(reinterpret_cast<const Axis *>(geometry)) {
    for (int i = 0; i < 3; i++) {
      starts[i] = tables;
      stops[i] = starts[i] + axes[i].out;
      tables = (counts[i] = stops[i] + axes[i].out) + axes[i].out;
    }
  }
  long long size() const { return axes[0].size * axes[1].size * axes[2].size; }
  long long out() const { return axes[0].out * axes[1].out * axes[2].out; }

  // f(o, d, h, w) for all windows, o being their number.
  template <class F>
  __forceinline__ void each(F f) const {
    long long o = 0;
    for (long long d = 0; d < axes[0].out; d++)
      for (long long h = 0; h < axes[1].out; h++)
        for (long long w = 0; w < axes[2].out; w++, o++) f(o, d, h, w);
  }
  // g(i) for the places of the window (d, h, w), in their order.
  template <class G>
  __forceinline__ void places(long long d, long long h, long long w, G g) const {
    const long long first = starts[2][w], last = stops[2][w], step = axes[2].step;
    for (long long z = starts[0][d]; z < stops[0][d]; z += axes[0].step)
      for (long long y = starts[1][h]; y < stops[1][h]; y += axes[1].step) {
        const long long line = (z * axes[1].size + y) * axes[2].size;
        for (long long x = first; x < last; x += step) g(line + x);
      }
  }
  // Whether every window consists of whole lines, one after the other.
  bool lines() const {
    const bool whole = axes[2].out == 1 && starts[2][0] == 0 && stops[2][0] == axes[2].size;
    return whole && axes[2].step == 1 && axes[1].step == 1;
  }
  // g(i, n) for the n places from i on, where lines() are.
  template <class G>
  __forceinline__ void stretches(long long d, long long h, G g) const {
    for (long long z = starts[0][d]; z < stops[0][d]; z += axes[0].step)
      g((z * axes[1].size + starts[1][h]) * axes[2].size, (stops[1][h] - starts[1][h]) * axes[2].size);
  }
  __forceinline__ A count(long long d, long long h, long long w) const {
    return static_cast<A>(counts[0][d] * counts[1][h] * counts[2][w]);
  }
};

// The windows of a line of windows side by side, place after place: without branches that depend on the values. Empty
// windows make them a multiple of what a vectorised loop takes together.
template <class I>
struct Line {
  const Windows &windows;
  const I width;
  I *const starts, *const stops, *const places;
  A *const values;
  I longest = 0;

  explicit Line(const Windows &all)
      : windows(all),
        width(static_cast<I>(all.axes[2].out + 15) & ~I(15)),
        starts(static_cast<I *>(malloc(width * (3 * sizeof(I) + sizeof(A))))),
        stops(starts + width),
        places(stops + width),
        values(reinterpret_cast<A *>(places + width)) {
    for (I w = 0; w < width; w++) {
      const bool real = w < all.axes[2].out;
      starts[w] = real ? static_cast<I>(all.starts[2][w]) : 0;
      stops[w] = real ? static_cast<I>(all.stops[2][w]) : 0;
      const I count = (stops[w] - starts[w] + step() - 1) / step();
      longest = count > longest ? count : longest;
    }
  }
  Line(const Line &) = delete;
  ~Line() { free(starts); }
  I step() const { return static_cast<I>(windows.axes[2].step); }

  // f(plane, o, d, h) for the lines of windows of the planes from `begin` to `end`, o being the number of the first.
  template <class F>
  __forceinline__ void over(long long begin, long long end, F f) const {
    long long o = begin * windows.out();
    for (long long plane = begin; plane < end; plane++)
      for (long long d = 0; d < windows.axes[0].out; d++)
        for (long long h = 0; h < windows.axes[1].out; h++, o += windows.axes[2].out) f(plane, o, d, h);
  }

  // f(w, i, inside) for each place of the windows in the lines at d and h; outside of a window, i is its first place.
  template <class F>
  __forceinline__ void each(long long d, long long h, F f) const {
    const I count = width;
    const Axis *const axes = windows.axes;
    for (long long z = windows.starts[0][d]; z < windows.stops[0][d]; z += axes[0].step)
      for (long long y = windows.starts[1][h]; y < windows.stops[1][h]; y += axes[1].step) {
        const I line = static_cast<I>((z * axes[1].size + y) * axes[2].size);
        for (I t = 0; t < longest; t++) {
          const I ahead = t * step();
          GC_INDEPENDENT
          for (I w = 0; w < count; w++) {
            const bool inside = starts[w] + ahead < stops[w];
            f(w, line + starts[w] + (inside ? ahead : 0), inside);
          }
        }
      }
  }
};

template <class I>
void mean_pool_in(const Windows &windows, const T *x, T *y, long long begin, long long end) {
  const Line<I> line(windows);
  A *const sums = line.values;
  line.over(begin, end, [&](long long plane, long long o, long long d, long long h) {
    const T *from = x + plane * windows.size();
    memset(sums, 0, line.width * sizeof(A));
    line.each(d, h, [=](I w, I i, bool inside) {
      const A value = gc::to<A>(from[i]);
      sums[w] += inside ? value : A(0);
    });
    for (I w = 0; w < windows.axes[2].out; w++) y[o + w] = gc::to<T>(sums[w] / windows.count(d, h, w));
  });
}

void mean_pool(const T *x, T *y, const long long *geometry, const long long *tables, long long begin, long long end) {
  const Windows windows(geometry, tables);
  if (!windows.lines()) {
    if (windows.size() < 0x7fffffff) mean_pool_in<int>(windows, x, y, begin, end);
    else mean_pool_in<long long>(windows, x, y, begin, end);
    return;
  }
  for (long long plane = begin; plane < end; plane++) {
    const T *from = x + plane * windows.size();
    T *into = y + plane * windows.out();
    windows.each([&](long long o, long long d, long long h, long long w) {
      A sum = 0;
      windows.stretches(d, h, [&](long long first, long long n) {
        sum += static_cast<A>(gc::sum(n, [=](long long i) { return gc::to<A>(from[first + i]); }));
      });
      into[o] = gc::to<T>(sum / windows.count(d, h, w));
    });
  }
}

void mean_pool_backward(const T *dy, T *dx, const long long *geometry, const long long *tables, long long begin,
                        long long end) {
  const Windows windows(geometry, tables);
  const long long size = windows.size();
  const bool lines = windows.lines();
  const gc::Scratch room(size);
  for (long long plane = begin; plane < end; plane++) {
    const T *from = dy + plane * windows.out();
    A *sums = gc::result(dx + plane * size, room.at);
    memset(sums, 0, size * sizeof(A));
    windows.each([&](long long o, long long d, long long h, long long w) {
      const A part = gc::to<A>(from[o]) / windows.count(d, h, w);
      if (lines)
        windows.stretches(d, h, [=](long long first, long long n) {
          for (long long i = first; i < first + n; i++) sums[i] += part;
        });
      else
        windows.places(d, h, w, [&](long long i) { sums[i] += part; });
    });
    gc::rounded(dx + plane * size, sums, size);
  }
}

template <class I>
void max_pool_in(const Windows &windows, const T *x, T *y, long long *places, long long begin, long long end) {
  const Line<I> line(windows);
  A *const top = line.values;
  I *const best = line.places;
  line.over(begin, end, [&](long long plane, long long o, long long d, long long h) {
    const T *from = x + plane * windows.size();
    const I first = static_cast<I>((windows.starts[0][d] * windows.axes[1].size + windows.starts[1][h]) *
                                   windows.axes[2].size);
    for (I w = 0; w < line.width; w++) {
      best[w] = first + line.starts[w];
      top[w] = gc::to<A>(from[best[w]]);
    }
    line.each(d, h, [=](I w, I i, bool inside) {
      const A value = gc::to<A>(from[i]);
      const bool larger = inside & ((value > top[w]) | (value != value));
      top[w] = larger ? value : top[w];
      best[w] = larger ? i : best[w];
    });
    for (I w = 0; w < windows.axes[2].out; w++) {
      y[o + w] = gc::to<T>(top[w]);
      places[o + w] = best[w];
    }
  });
}

void max_pool(const T *x, T *y, long long *places, const long long *geometry, const long long *tables,
              long long begin, long long end) {
  const Windows windows(geometry, tables);
  if (windows.size() < 0x7fffffff) max_pool_in<int>(windows, x, y, places, begin, end);
  else max_pool_in<long long>(windows, x, y, places, begin, end);
}

void max_pool_backward(const T *dy, const long long *places, T *dx, const long long *geometry,
                       const long long *tables, long long begin, long long end) {
  const Windows windows(geometry, tables);
  const long long size = windows.size(), out = windows.out();
  const gc::Scratch room(size);
  for (long long plane = begin; plane < end; plane++) {
    A *sums = gc::result(dx + plane * size, room.at);
    memset(sums, 0, size * sizeof(A));
    for (long long o = plane * out; o < (plane + 1) * out; o++) sums[places[o]] += gc::to<A>(dy[o]);
    gc::rounded(dx + plane * size, sums, size);
  }
}

}  // namespace

GC_PYTHON(mean_pool)
GC_PYTHON(mean_pool_backward)
GC_PYTHON(max_pool)
GC_PYTHON(max_pool_backward)
