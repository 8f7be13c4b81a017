// Where a thread is in planes of three dimensions, along which windows slide. Planes are contiguous.
#pragma once

namespace gc {

// The number of a thread among those of all blocks.
__device__ __forceinline__ long long thread_number() {
  return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// A plane and a place in it.
struct Position {
  int d, h, w;
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

// What a kernel is told of each dimension: of an Axis, `size` is the input's and `out` the output's.
template <class Axis>
struct Space {
  Axis depth, height, width;

  // Elements of a plane.
  __device__ __forceinline__ long long input() const {
    return static_cast<long long>(depth.size) * height.size * width.size;
  }
  __device__ __forceinline__ long long output() const {
    return static_cast<long long>(depth.out) * height.out * width.out;
  }
  // Where the element of a number lies.
  __device__ __forceinline__ Position in_input(long long at) const {
    return Position(at, depth.size, height.size, width.size);
  }
  __device__ __forceinline__ Position in_output(long long at) const {
    return Position(at, depth.out, height.out, width.out);
  }
};

}  // namespace gc
