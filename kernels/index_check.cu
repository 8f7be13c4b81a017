// Are all indices of an array within lowest <= index < size?
//
// Layout: `index` is contiguous; a grid-stride loop reads it once, and the first thread that finds a bad index reports
// it.
// Bytes moved: 8 for each index.
#include "error.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)
    index_check(const long long *__restrict__ index, const long long n, const long long lowest, const long long size,
                const long long dim, const unsigned long long op, gc::ErrorWord *word) {
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const long long value = index[i];
    if (value < lowest || value >= size) gc::report(word, op, i, value, size, dim);
  }
}
