// Values added at indexed places, on the host: the gradient of an embedding, of gather and of indexing, and index_add.
//
//   add_slices     target[o, index[j], i] += values[o, j, i]
//   add_elements   target[o, index[o, j, i], i] += values[o, j, i]
//
// Layout: target (outer, rows, inner), values and the elements' indices (outer, n, inner), all contiguous. Negative
// indices count from the end. What falls on one place is added in the order of j. The threads share out the places:
// those from `begin` to `end` of one dimension, the outer ones, the rows or the inner ones, are this call's, so the
// number of threads does not matter, and no two write to one place. Who shares out rows reads all of the index.
//
// Given by the launcher: T, float or double.
// Bytes moved: the values and the index once, the named rows of the target twice.
#include "host/python.h"

namespace {

struct Part {
  long long outer[2], rows[2], inner[2];
  // `dimension` is 0 for the outer ones, 1 for the rows, 2 for the inner ones.
  Part(long long dimension, long long begin, long long end, long long outers, long long all, long long inners)
      : outer{0, outers}, rows{0, all}, inner{0, inners} {
    long long *const own = dimension == 0 ? outer : dimension == 1 ? rows : inner;
    own[0] = begin, own[1] = end;
  }
  bool has(long long row) const {
    return static_cast<unsigned long long>(row - rows[0]) < static_cast<unsigned long long>(rows[1] - rows[0]);
  }
};

// How far ahead places are fetched: the index tells what no prefetcher can guess.
constexpr long long AHEAD = 16;

__forceinline__ long long from_start(long long row, long long rows) { return row < 0 ? row + rows : row; }

// Slices of one element: one sum after the other.
__forceinline__ long long add_line(T *to, const T *from, const long long *index, const Part &part, long long rows,
                                   long long n) {
  for (long long j = 0; j < n; j++) {
    __builtin_prefetch(to + from_start(index[j + AHEAD < n ? j + AHEAD : j], rows), 1);
    const long long row = from_start(index[j], rows);
    if (part.has(row)) to[row] += from[j];
    else if (row < 0 || row >= rows) return j;
  }
  return -1;
}

// The number of an index that is out of range; -1 if none is.
long long add_slices(T *target, const T *values, const long long *index, long long dimension, long long begin,
                     long long end, long long outer, long long rows, long long n, long long inner) {
  const Part part(dimension, begin, end, outer, rows, inner);
  const long long first = part.inner[0], last = part.inner[1];
  for (long long o = part.outer[0]; o < part.outer[1]; o++) {
    T *const to = target + o * rows * inner;
    const T *const from = values + o * n * inner;
    if (inner == 1) {
      const long long bad = add_line(to, from, index, part, rows, n);
      if (bad >= 0) return bad;
      continue;
    }
    for (long long j = 0; j < n; j++) {
      const long long row = from_start(index[j], rows);
      if (row < 0 || row >= rows) return j;
      if (!part.has(row)) continue;
      T *const into = to + row * inner;
      const T *const what = from + j * inner;
      GC_INDEPENDENT
      for (long long i = first; i < last; i++) into[i] += what[i];
    }
  }
  return -1;
}

long long add_elements(T *target, const T *values, const long long *index, long long dimension, long long begin,
                       long long end, long long outer, long long rows, long long n, long long inner) {
  const Part part(dimension, begin, end, outer, rows, inner);
  for (long long o = part.outer[0]; o < part.outer[1]; o++) {
    T *const to = target + o * rows * inner;
    const long long start = o * n * inner;
    if (inner == 1) {
      const long long bad = add_line(to, values + start, index + start, part, rows, n);
      if (bad >= 0) return start + bad;
      continue;
    }
    for (long long j = 0; j < n; j++)
      for (long long i = part.inner[0]; i < part.inner[1]; i++) {
        const long long at = start + j * inner + i, row = from_start(index[at], rows);
        if (row < 0 || row >= rows) return at;
        if (part.has(row)) to[row * inner + i] += values[at];
      }
  }
  return -1;
}

}  // namespace

GC_PYTHON(add_slices)
GC_PYTHON(add_elements)
