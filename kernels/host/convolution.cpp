// Convolution, the gradient of its input and that of its weight, on the host, without the columns of "im2col".
//
//   correlate         y[n, o, p] = bias[o] + sum of w[o, c, t] planes[n, c, p + e(t)] over c and t
//   weight_gradient   dw[o, c, t] = sum of g[n, o, p] planes[n, c, p + e(t)] over n and p
//
// The planes of an image are its channels with their padding, taken apart by the remainder of the place modulo the
// stride ("phases"). Then each tap t of the kernel meets neighbouring places of the output at neighbouring elements: a
// constant offset e(t) leads from a place to what it meets, and the convolution is a matrix product whose second
// operand is read where it is. Places count along the rows of the planes; those that lie in the padding between two
// rows are computed and thrown away. The gradient of the input is the correlation of the output's gradient with the
// turned weight, for each remainder of the place modulo the stride with the taps that lead there.
//
// Layout: everything is contiguous; images, groups, channels of a group, three dimensions. `together` images share
// planes, one after the other, so that rows of places are long enough. Each result is computed by one thread, its sums
// in the order of channels and taps (correlate), of images and places (weight_gradient), so the number of threads does
// not matter.
//
// Given by the launcher: T, the element type, float or double. Products and sums are fused.
// Bytes moved: input and result once, the planes through the second-level cache.
#include "host/python.h"
#include "host/vectors.h"

namespace {

long long least(long long a, long long b) { return a < b ? a : b; }

// A dimension of the input: element `i` of phase `f` of the planes is the input's at i * step + f - left.
struct Source {
  long long size, left, step, phases, plane;

  long long first(long long phase) const {
    const long long before = left - phase;
    return before <= 0 ? 0 : least((before + step - 1) / step, plane);
  }
  long long last(long long phase) const {
    const long long there = size - 1 + left - phase;
    return there < 0 ? first(phase) : least(there / step + 1, plane);
  }
};

// A dimension of the result: place p of the planes is the result's at first + p * step.
struct Target {
  long long size, first, step, count;
};

// What the launcher tells of a convolution, beside each tap's phase and offset within an image's plane.
struct Geometry {
  long long images, groups, in, out, count, together;
  Source source[3];
  Target target[3];

  long long volume() const { return source[0].plane * source[1].plane * source[2].plane; }
  long long phases() const { return source[0].phases * source[1].phases * source[2].phases; }
  long long strip() const { return together * volume(); }
  long long strips() const { return (images + together - 1) / together; }
  long long channel() const { return phases() * strip(); }
  long long elements() const { return source[0].size * source[1].size * source[2].size; }
  long long places() const { return target[0].size * target[1].size * target[2].size; }
  // Images of a strip, and places along its rows, to the last one of an image.
  long long filled(long long number) const { return least(together, images - number * together); }
  long long row(long long number) const {
    const Target *t = target;
    const long long height = source[1].plane, width = source[2].plane;
    return (filled(number) - 1) * volume() + ((t[0].count - 1) * height + t[1].count - 1) * width + t[2].count;
  }
  // f(place of the first in the planes, in the result) for each row of the result, of target[2].count elements.
  template <class F>
  __forceinline__ void rows(F f) const {
    const Target *t = target;
    for (long long d = 0; d < t[0].count; d++)
      for (long long h = 0; h < t[1].count; h++) {
        const long long line = (t[0].first + d * t[0].step) * t[1].size + t[1].first + h * t[1].step;
        f((d * source[1].plane + h) * source[2].plane, line * t[2].size + t[2].first);
      }
  }
};

// The planes of some channels of a strip's images, and zeros where the input ends; where taps meet them.
struct Planes {
  const Geometry &of;
  const Room<T> room;
  const Room<long long> offsets;
  // More than the planes: what is computed in vectors may reach beyond the last place.
  Planes(const Geometry &geometry, const long long *taps, long long channels, long long beyond)
      : of(geometry), room(channels * of.channel() + beyond), offsets(of.count) {
    memset(room.at, 0, (channels * of.channel() + beyond) * sizeof(T));
    for (long long t = 0; t < of.count; t++) offsets.at[t] = taps[2 * t] * of.strip() + taps[2 * t + 1];
  }

  // From `x`, the first of the channels of the first of the images.
  void fill(const T *x, long long channels, long long number) {
    const Source *s = of.source;
    const long long each = of.elements(), image = of.groups * of.in * each;
    for (long long c = 0; c < channels; c++) {
      T *plane = room.at + c * of.channel();
      for (long long fd = 0; fd < s[0].phases; fd++)
        for (long long fh = 0; fh < s[1].phases; fh++)
          for (long long fw = 0; fw < s[2].phases; fw++, plane += of.strip()) {
            const long long filled = of.filled(number), rest = of.together - filled;
            for (long long j = 0; j < filled; j++)
              phase(x + (number * of.together + j) * image + c * each, plane + j * of.volume(), fd, fh, fw);
            memset(plane + filled * of.volume(), 0, rest * of.volume() * sizeof(T));
          }
    }
  }

  void phase(const T *x, T *plane, long long fd, long long fh, long long fw) {
    const Source &depth = of.source[0], &height = of.source[1], &width = of.source[2];
    const long long first = width.first(fw), last = width.last(fw), step = width.step;
    for (long long d = depth.first(fd); d < depth.last(fd); d++)
      for (long long h = height.first(fh); h < height.last(fh); h++) {
        const long long line = (d * depth.step + fd - depth.left) * height.size + h * height.step + fh - height.left;
        const T *from = x + line * width.size + fw - width.left;
        T *to = plane + (d * height.plane + h) * width.plane;
        if (step == 1) memcpy(to + first, from + first, (last - first) * sizeof(T));
        else
          for (long long w = first; w < last; w++) to[w] = from[w * step];
      }
  }
};

// ---------------------------------------------------------------- the result, and the gradient of the input
constexpr long long CACHED = 16384 / sizeof(T);

// Vectors of places at a time, for so many rows.
constexpr int across(int rows) {
  if (rows == 8) return 3;
  if (rows == 4) return REGISTERS == 32 ? 6 : 3;
  return REGISTERS == 32 ? 8 : 4;
}

// What a product reads: planes, and where in each channel's the taps begin.
struct Met {
  const T *planes;
  const long long *offsets;
  long long channels, channel, taps;
};

// M rows of the weight times N vectors of places; added to what is there, if there were channels before these.
template <int M, int N>
__forceinline__ void tile(const Met &met, long long place, const T *weight, T *into, long long stride, bool add) {
  Vector acc[M][N] = {};
  const T *planes = met.planes + place;
  for (long long c = 0; c < met.channels; c++, planes += met.channel)
    for (long long t = 0; t < met.taps; t++, weight += M)
      add_products(acc, planes + met.offsets[t], [=](int m) { return weight[m]; });
  into += place;
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) {
      T *to = into + m * stride + n * L;
      store(to, add ? load(to) + acc[m][n] : acc[m][n]);
    }
}

// M rows of the weight for the places from `p` to before `last`.
template <int M>
void product(const Met &met, long long p, long long last, const T *weight, T *into, long long stride, bool add) {
  constexpr int N = across(M);
  for (; last - p > (N - 1) * L; p += N * L) tile<M, N>(met, p, weight, into, stride, add);
  if constexpr (N > 4)
    for (; last - p > 2 * L; p += 4 * L) tile<M, 4>(met, p, weight, into, stride, add);
  for (; last - p > L; p += 2 * L) tile<M, 2>(met, p, weight, into, stride, add);
  for (; p < last; p += L) tile<M, 1>(met, p, weight, into, stride, add);
}

// The rows of a weight (groups, out, terms), block by block with neighbouring rows side by side, as `tile` reads them.
void pack(const T *weight, T *packed, long long groups, long long out, long long terms) {
  for (long long group = 0; group < groups; group++)
    for (long long o = 0; o < out;) {
      const int rows = block_of(out - o);
      const T *from = weight + (group * out + o) * terms;
      T *to = packed + (group * out + o) * terms;
      for (long long k = 0; k < terms; k++)
        for (int m = 0; m < rows; m++) *to++ = from[m * terms + k];
      o += rows;
    }
}

// An item is a strip of images, a group, and `rows` of its channels, a multiple of MOST or all of them.
void correlate(const T *x, T *y, const T *packed, const T *bias, const Geometry *geometry, const long long *taps,
               long long begin, long long end, long long rows) {
  const Geometry of = *geometry;
  const long long groups = of.groups, in = of.in, out = of.out, count = of.count, together = of.together;
  constexpr long long BEYOND = 8 * L;
  Planes planes(of, taps, in, BEYOND);
  const long long stride = of.strip() + BEYOND, chunks = (out + rows - 1) / rows, width = of.target[2].count;
  const long long step = of.target[2].step, slice = of.source[1].plane * of.source[2].plane;
  const Room<T> results(MOST * stride);
  for (long long item = begin, there = -1; item < end; item++) {
    const long long number = item / chunks / groups, group = item / chunks % groups, chunk = item % chunks;
    if (item / chunks != there) planes.fill(x + group * in * of.elements(), in, number);
    there = item / chunks;
    for (long long o = chunk * rows; o < least(out, (chunk + 1) * rows);) {
      const int size = block_of(out - o);
      const T *weight = packed + (group * out + o) * in * count;
      const auto compute = size == 8 ? product<MOST> : size == 4 ? product<4> : size == 2 ? product<2> : product<1>;
      // So many channels at a time that their part of the weight stays in the first-level cache.
      const long long few = count && CACHED / (count * size) ? CACHED / (count * size) : 1;
      // The rows of several images in one; else slice by slice, without the padding between them.
      const long long slices = together > 1 ? 1 : of.target[0].count;
      const long long length = together > 1 ? of.row(number) : (of.target[1].count - 1) * of.source[2].plane + width;
      for (long long d = 0; d < slices; d++)
        for (long long c = 0; c < in; c += few) {
          const long long channel = of.channel(), channels = least(few, in - c);
          const Met met = {planes.room.at + c * channel, planes.offsets.at, channels, channel, count};
          compute(met, d * slice, d * slice + length, weight + c * count * size, results.at, stride, c);
        }
      for (int m = 0; m < size; m++, o++) {
        const T level = bias ? bias[group * out + o] : T(0);
        for (long long j = 0; j < of.filled(number); j++) {
          const T *from = results.at + m * stride + j * of.volume();
          T *to = y + ((number * together + j) * groups * out + group * out + o) * of.places();
          of.rows([=](long long at, long long place) {
            if (step == 1) {
              GC_INDEPENDENT
              for (long long w = 0; w < width; w++) to[place + w] = from[at + w] + level;
            } else {
              for (long long w = 0; w < width; w++) to[place + w * step] = from[at + w] + level;
            }
          });
        }
      }
    }
  }
}

// ---------------------------------------------------------------- the gradient of the weight
constexpr int WIDE = REGISTERS == 32 ? 4 : 2;  // vectors of output channels at a time
constexpr int TERMS = 6;                       // terms of the weight at a time
constexpr long long PLACES = 96;               // whose gradients stay in the first-level cache

// sums[k][o] += sum of g[p][o] planes[where[p] + from[k]] over some places, for K terms and V vectors of channels.
template <int K, int V>
__forceinline__ void outer(const T *const *from, const long long *where, const T *g, long long places, T *sums,
                           long long stride) {
  Vector acc[K][V] = {};
  const T *x[K];
#pragma GCC unroll 8
  for (int k = 0; k < K; k++) x[k] = from[k];
  for (long long p = 0; p < places; p++, g += V * L) {
    const long long at = where[p];
    add_products(acc, g, [&](int k) { return x[k][at]; });
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; k++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) store(sums + k * stride + v * L, load(sums + k * stride + v * L) + acc[k][v]);
}

template <int V>
void all_terms(const T *const *from, long long terms, const long long *where, const T *g, long long places, T *sums,
               long long stride) {
  long long k = 0;
  for (; k + TERMS <= terms; k += TERMS) outer<TERMS, V>(from + k, where, g, places, sums + k * stride, stride);
  for (; k + 3 <= terms; k += 3) outer<3, V>(from + k, where, g, places, sums + k * stride, stride);
  for (; k < terms; k++) outer<1, V>(from + k, where, g, places, sums + k * stride, stride);
}

// An item is an input channel.
void weight_gradient(const T *x, const T *g, T *dw, const Geometry *geometry, const long long *taps, long long begin,
                     long long end) {
  const Geometry of = *geometry;
  const long long groups = of.groups, in = of.in, out = of.out, count = of.count, together = of.together;
  const long long padded = (out + L - 1) / L * L, most = least(end - begin, in), places = of.places();
  Planes planes(of, taps, most, 0);
  const Room<long long> where(places);
  const Room<const T *> from(most * count);
  const Room<T> sums(most * count * padded), turned(PLACES * WIDE * L);
  of.rows([&](long long at, long long place) {
    for (long long w = 0; w < of.target[2].count; w++) where.at[place + w] = at + w;
  });
  for (long long group = begin / in; group * in < end; group++) {
    const long long first = begin > group * in ? begin : group * in, channels = least(end, (group + 1) * in) - first;
    const long long terms = channels * count;
    memset(sums.at, 0, terms * padded * sizeof(T));
    for (long long number = 0; number < of.strips(); number++) {
      planes.fill(x + first * of.elements(), channels, number);
      for (long long j = 0; j < of.filled(number); j++) {
        const T *grad = g + ((number * together + j) * groups + group) * out * places;
        for (long long k = 0; k < terms; k++)
          from.at[k] = planes.room.at + k / count * of.channel() + j * of.volume() + planes.offsets.at[k % count];
        for (long long p = 0; p < places; p += PLACES)
          for (long long o = 0, vectors; o < padded; o += vectors * L) {
            const long long now = least(PLACES, places - p), left = (padded - o) / L;
            vectors = left >= WIDE ? WIDE : left >= 2 ? 2 : 1;
            for (long long k = 0; k < vectors * L; k++)
              for (long long i = 0; i < now; i++)
                turned.at[i * vectors * L + k] = o + k < out ? grad[(o + k) * places + p + i] : T(0);
            const auto add = vectors == 4 ? all_terms<4> : vectors == 2 ? all_terms<2> : all_terms<1>;
            add(from.at, terms, where.at + p, turned.at, now, sums.at + o, padded);
          }
      }
    }
    for (long long o = 0; o < out; o++)
      for (long long k = 0; k < terms; k++)
        dw[(group * out + o) * in * count + (first - group * in) * count + k] = sums.at[k * padded + o];
  }
}

// For weights with few output channels in a group: a dot product for each tap.
template <int K>
void dots(const T *planes, const long long *offsets, const T *g, const T *valid, long long places, double *sums) {
  typedef long long Bits __attribute__((vector_size(BYTES)));
  Vector acc[K] = {};
  for (long long p = 0; p < places; p += L) {
    const Vector grad = load(g + p);
    const Bits mask = (Bits)load(valid + p);  // what is not met may be infinite
#pragma GCC unroll 16
    for (int k = 0; k < K; k++) acc[k] += grad * (Vector)((Bits)load(planes + offsets[k] + p) & mask);
  }
#pragma GCC unroll 16
  for (int k = 0; k < K; k++) {
    T total = 0;
    for (int i = 0; i < L; i++) total += acc[k][i];
    sums[k] += total;
  }
}

// An item is an output channel.
void weight_gradient_by_dots(const T *x, const T *g, T *dw, const Geometry *geometry, const long long *taps,
                             long long begin, long long end) {
  const Geometry of = *geometry;
  const long long groups = of.groups, in = of.in, out = of.out, count = of.count, together = of.together;
  const long long places = of.places(), stride = of.strip() + L, width = of.target[2].count;
  Planes planes(of, taps, in, L);
  const Room<T> rows(stride), valid(stride);
  const Room<double> sums(in * count);
  memset(rows.at, 0, stride * sizeof(T));
  memset(valid.at, 0, stride * sizeof(T));
  for (long long j = 0; j < together; j++)
    of.rows([&](long long at, long long) { memset(valid.at + j * of.volume() + at, 0xff, width * sizeof(T)); });
  for (long long o = begin; o < end; o++) {
    const long long group = o / out;
    memset(sums.at, 0, in * count * sizeof(double));
    for (long long number = 0; number < of.strips(); number++) {
      planes.fill(x + group * in * of.elements(), in, number);
      for (long long j = 0; j < of.filled(number); j++) {
        const T *grad = g + ((number * together + j) * groups * out + o) * places;
        of.rows([&](long long at, long long place) {
          memcpy(rows.at + j * of.volume() + at, grad + place, width * sizeof(T));
        });
      }
      const long long used = of.row(number);
      memset(rows.at + used, 0, (stride - used) * sizeof(T));
      for (long long c = 0; c < in; c++) {
        const T *plane = planes.room.at + c * of.channel();
        const long long *offsets = planes.offsets.at;
        long long t = 0;
        for (; t + 9 <= count; t += 9) dots<9>(plane, offsets + t, rows.at, valid.at, used, sums.at + c * count + t);
        for (; t + 3 <= count; t += 3) dots<3>(plane, offsets + t, rows.at, valid.at, used, sums.at + c * count + t);
        for (; t < count; t++) dots<1>(plane, offsets + t, rows.at, valid.at, used, sums.at + c * count + t);
      }
    }
    for (long long k = 0; k < in * count; k++) dw[o * in * count + k] = static_cast<T>(sums.at[k]);
  }
}

}  // namespace

GC_PYTHON(pack)
GC_PYTHON(correlate)
GC_PYTHON(weight_gradient)
GC_PYTHON(weight_gradient_by_dots)
