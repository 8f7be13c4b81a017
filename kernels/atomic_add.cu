// target[row[i]] += values[i] for rows of `width` elements, where a row may be named any number of times, by atomic
// additions: their order, and so the last bits of the sums, differs from run to run. segments.cu does without them.
//
// Layout: everything is contiguous. blockDim.x threads run along a row, blockDim.y rows share a block.
//
// Given by the launcher: T, float or double.
// Bytes moved: the values once, the named rows of the target twice, in the cache where they are named often, and 8
// bytes for each index.

extern "C" __global__ void __launch_bounds__(256, 1)
    atomic_add(T *__restrict__ target, const T *__restrict__ values, const long long *__restrict__ index,
               const long long n, const long long rows, const long long width) {
  const long long i = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (i >= n) return;
  const long long row = index[i];
  if (row < 0 || row >= rows) return;  // reported by the index check
  const long long step = static_cast<long long>(gridDim.y) * blockDim.x;
  for (long long column = static_cast<long long>(blockIdx.y) * blockDim.x + threadIdx.x; column < width; column += step)
    atomicAdd(target + row * width + column, values[i * width + column]);
}
