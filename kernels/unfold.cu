// The columns of a convolution ("im2col") and their transpose ("col2im").
//
//   columns[(c, k), (n, o)] = x[n, c, o * stride - padding + k * dilation]     0 outside of x
//   x[n, c, i] = sum of columns[(c, k), (n, o)] over k and o with o * stride - padding + k * dilation = i
//
// Layout: both are contiguous; k, o and i have three dimensions. In `unfold` a thread writes what one channel of the
// kernel meets at one place, neighbouring threads neighbouring places; in `fold` it makes one element of x, adding in
// the order of k: no two threads write the same element, and there are no atomics.
//
// Given by the launcher: T, the element type; A, the type summed in.
// Bytes moved: the columns once; x once, and more often where it has left the cache.
#include "space.cuh"
#include "types.cuh"

struct Axis {
  int size, out, kernel, stride, padding, dilation;
};
typedef gc::Space<Axis> Axes;

__device__ __forceinline__ int taps(const Axes &axes) {
  return axes.depth.kernel * axes.height.kernel * axes.width.kernel;
}

extern "C" __global__ void __launch_bounds__(256, 1)
    unfold(const T *__restrict__ x, T *__restrict__ columns, const Axes axes, const int images,
           const int channels) {
  const Axis &depth = axes.depth, &height = axes.height, &width = axes.width;
  const long long row = axes.output() * images, at = gc::thread_number();
  if (at >= row * channels) return;
  const long long channel = at / row;
  const gc::Position place = axes.in_output(at - channel * row);  // of the image number `place.plane`
  x += (place.plane * channels + channel) * axes.input();
  columns += channel * taps(axes) * row + (at - channel * row);
  for (int kd = 0; kd < depth.kernel; kd++) {
    const int d = place.d * depth.stride - depth.padding + kd * depth.dilation;
    for (int kh = 0; kh < height.kernel; kh++) {
      const int h = place.h * height.stride - height.padding + kh * height.dilation;
      const bool inside = d >= 0 && d < depth.size && h >= 0 && h < height.size;
      const long long line = (static_cast<long long>(d) * height.size + h) * width.size;
      for (int kw = 0; kw < width.kernel; kw++, columns += row) {
        const int w = place.w * width.stride - width.padding + kw * width.dilation;
        *columns = inside && w >= 0 && w < width.size ? x[line + w] : gc::to<T>(0.0f);
      }
    }
  }
}

// The place of the output at which k meets i, or -1.
__device__ __forceinline__ int meets(const Axis &axis, int i, int k) {
  const int distance = i + axis.padding - k * axis.dilation;
  if (distance < 0 || distance % axis.stride) return -1;
  const int place = distance / axis.stride;
  return place < axis.out ? place : -1;
}

extern "C" __global__ void __launch_bounds__(256, 1)
    fold(const T *__restrict__ columns, T *__restrict__ x, const Axes axes, const int images,
         const int channels) {
  const Axis &depth = axes.depth, &height = axes.height, &width = axes.width;
  const long long row = axes.output() * images, at = gc::thread_number();
  if (at >= axes.input() * images * channels) return;
  const gc::Position place = axes.in_input(at);
  const long long image = place.plane / channels, channel = place.plane - image * channels;
  columns += channel * taps(axes) * row + image * axes.output();
  A sum = A(0);
  for (int kd = 0; kd < depth.kernel; kd++) {
    const int d = meets(depth, place.d, kd);
    for (int kh = 0; kh < height.kernel; kh++) {
      const int h = meets(height, place.h, kh);
      for (int kw = 0; kw < width.kernel; kw++, columns += row) {
        const int w = meets(width, place.w, kw);
        if (d >= 0 && h >= 0 && w >= 0)
          sum += gc::to<A>(columns[(static_cast<long long>(d) * height.out + h) * width.out + w]);
      }
    }
  }
  x[at] = gc::to<T>(sum);
}
