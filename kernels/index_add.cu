// target[row[i]] += values[i] for rows of `width` elements, where a row may be named any number of times.
//
// The launcher sorts the row numbers, stably: `sorted` are the numbers in order, `order` where each came from. Equal
// numbers then form a segment, and the threads at a segment's head add up its values in their original order. There are
// no atomics: the result is the same in every run, and each element of the target is rounded once.
//
// Layout: everything is contiguous. blockDim.x threads run along a row, blockDim.y positions of the sorted list share a
// block; threads that are not at a head have nothing to do.
//
// Given by the launcher: T, the element type; A, the type summed in.
// Bytes moved: the values once, the named rows of the target twice, 16 bytes for each index.
#include "types.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)
    index_add(T *__restrict__ target, const T *__restrict__ values, const long long *__restrict__ sorted,
              const long long *__restrict__ order, const long long n, const long long rows, const long long width) {
  const long long head = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (head >= n) return;
  const long long row = sorted[head];
  if (head > 0 && sorted[head - 1] == row) return;
  if (row < 0 || row >= rows) return;  // reported by the index check
  for (long long column = threadIdx.x; column < width; column += blockDim.x) {
    A sum = gc::to<A>(target[row * width + column]);
    for (long long i = head; i < n && sorted[i] == row; i++)
      sum = A(sum + gc::to<A>(values[order[i] * width + column]));
    target[row * width + column] = gc::to<T>(sum);
  }
}
