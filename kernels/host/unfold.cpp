// The columns of a convolution ("im2col") and their transpose ("col2im"), on the host.
//
//   columns[(c, k), (n, o)] = x[n, c, o * stride - padding + k * dilation]     0 outside of x
//   x[n, c, i] = sum of columns[(c, k), (n, o)] over k and o with o * stride - padding + k * dilation = i
//
// Layout: both are contiguous; k, o and i have three dimensions. Unfolding takes the rows from `begin` to `end` of the
// columns, folding the channels of all images, image by image; each is written by one thread, the sum in the order of k.
//
// Given by the launcher: T, the element type.
// Bytes moved: the columns once, x once for each k, out of the cache if a channel fits.
#include "host/python.h"
#include "host/host.h"

extern "C" void *memset(void *, int, __SIZE_TYPE__);
extern "C" void *memcpy(void *, const void *, __SIZE_TYPE__);

namespace {

struct Axis {
  long long size, out, kernel, stride, padding, dilation;

  long long offset(long long k) const { return k * dilation - padding; }
  // The places of the output at which k meets the input are those from first to before last.
  long long first(long long k) const {
    const long long before = -offset(k);
    return before <= 0 ? 0 : least((before + stride - 1) / stride, out);
  }
  long long last(long long k) const {
    const long long left = size - offset(k);
    return left <= 0 ? first(k) : most(least((left + stride - 1) / stride, out), first(k));
  }
  static long long least(long long a, long long b) { return a < b ? a : b; }
  static long long most(long long a, long long b) { return a > b ? a : b; }
};

// For each run of places along the last dimension that a row of the columns has: f(run, x) with where it begins in the
// columns and in a channel of the input; f(run, -1) where nothing is met.
template <class F>
__forceinline__ void runs(const Axis *axes, long long kd, long long kh, F f) {
  const Axis &depth = axes[0], &height = axes[1], &width = axes[2];
  for (long long d = 0; d < depth.out; d++) {
    const long long z = d * depth.stride + depth.offset(kd);
    for (long long h = 0; h < height.out; h++) {
      const long long y = h * height.stride + height.offset(kh);
      const bool inside = z >= 0 && z < depth.size && y >= 0 && y < height.size;
      f((d * height.out + h) * width.out, inside ? (z * height.size + y) * width.size : -1);
    }
  }
}

void unfold(const T *x, T *columns, const long long *geometry, long long begin, long long end, long long images,
            long long channels) {
  const Axis *axes = reinterpret_cast<const Axis *>(geometry);
  const Axis &width = axes[2];
  const long long places = axes[0].out * axes[1].out * width.out, plane = axes[0].size * axes[1].size * width.size;
  for (long long row = begin; row < end; row++) {
    const long long kw = row % width.kernel, kh = row / width.kernel % axes[1].kernel;
    const long long kd = row / (width.kernel * axes[1].kernel) % axes[0].kernel;
    const long long channel = row / (width.kernel * axes[1].kernel * axes[0].kernel);
    const long long first = width.first(kw), last = width.last(kw), stride = width.stride;
    for (long long n = 0; n < images; n++) {
      const T *from = x + (n * channels + channel) * plane;
      T *into = columns + (row * images + n) * places;
      runs(axes, kd, kh, [=](long long run, long long start) {
        T *out = into + run;
        if (start < 0) {
          memset(out, 0, width.out * sizeof(T));
          return;
        }
        const T *in = from + start + width.offset(kw);
        if (first) memset(out, 0, first * sizeof(T));
        if (stride == 1) memcpy(out + first, in + first, (last - first) * sizeof(T));
        else
          for (long long o = first; o < last; o++) out[o] = in[o * stride];
        if (last < width.out) memset(out + last, 0, (width.out - last) * sizeof(T));
      });
    }
  }
}

void fold(const T *columns, T *x, const long long *geometry, long long begin, long long end, long long images,
          long long channels) {
  const Axis *axes = reinterpret_cast<const Axis *>(geometry);
  const Axis &width = axes[2];
  const long long places = axes[0].out * axes[1].out * width.out, plane = axes[0].size * axes[1].size * width.size;
  for (long long item = begin; item < end; item++) {
    const long long n = item / channels, channel = item % channels;
    T *into = x + item * plane;
    memset(into, 0, plane * sizeof(T));
    long long row = channel * axes[0].kernel * axes[1].kernel * width.kernel;
    for (long long kd = 0; kd < axes[0].kernel; kd++)
      for (long long kh = 0; kh < axes[1].kernel; kh++)
        for (long long kw = 0; kw < width.kernel; kw++, row++) {
          const T *from = columns + (row * images + n) * places;
          const long long first = width.first(kw), last = width.last(kw), stride = width.stride;
          runs(axes, kd, kh, [=](long long run, long long start) {
            if (start < 0) return;
            T *to = into + start + width.offset(kw);
            const T *in = from + run;
            if (stride == 1) {
              GC_INDEPENDENT
              for (long long o = first; o < last; o++) to[o] += in[o];
            } else {
              for (long long o = first; o < last; o++) to[o * stride] += in[o];
            }
          });
        }
  }
}

}  // namespace

GC_PYTHON(unfold)
GC_PYTHON(fold)
