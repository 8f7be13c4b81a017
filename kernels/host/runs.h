// Walking operands that broadcast or are views: a layout's elements in order, as runs along its innermost dimension.
//
// A layout is an array of numbers: the rank, the sizes, then the strides of one operand after the other, in elements.
// The host merges dimensions as far as possible: for contiguous operands there is only one.
#pragma once
#include "host/host.h"

namespace gc {

enum {
  MAX_RANK = 64,  // NumPy's limit
  // Runs end at multiples of so many columns. What a vectorised loop makes of an element may differ, in the last bits,
  // with its place in the loop; so the loops, and the pieces that threads take, are cut by the layout alone.
  RUN = 4096,
};

// The offsets of the operands at one element.
template <int OPERANDS>
struct Walk {
  int rank;
  const long long *sizes, *strides;
  long long offset[OPERANDS] = {};
  long long at[MAX_RANK];

  Walk(const long long *layout, long long element)
      : rank(static_cast<int>(layout[0])), sizes(layout + 1), strides(layout + 1 + rank) {
    for (int d = rank - 1; d >= 0; d--) {
      at[d] = 0;
      step(d, element % sizes[d]);
      element /= sizes[d];
    }
  }

  // `count` elements on, at most to the end of the innermost dimension.
  void advance(long long count) {
    step(rank - 1, count);
    for (int d = rank - 1; d > 0 && at[d] == sizes[d]; d--) {
      step(d, -sizes[d]);
      step(d - 1, 1);
    }
  }

  void step(int d, long long count) {
    at[d] += count;
    for (int p = 0; p < OPERANDS; p++) offset[p] += count * strides[p * rank + d];
  }

  // From one element of a run to the next.
  long long stride(int p) const { return strides[p * rank + rank - 1]; }
};

// The runs that make up the elements begin, ..., end - 1: each starts at the offsets and has `length` elements.
template <int OPERANDS>
struct Runs : Walk<OPERANDS> {
  long long left, length;

  Runs(const long long *layout, long long begin, long long end) : Walk<OPERANDS>(layout, begin), left(end - begin) {
    measure();
  }

  bool more() const { return left > 0; }
  void next() {
    left -= length;
    this->advance(length);
    measure();
  }

  void measure() {
    const long long column = this->at[this->rank - 1], columns = this->sizes[this->rank - 1];
    const long long cut = (column / RUN + 1) * RUN, stop = cut < columns ? cut : columns;
    length = left < stop - column ? left : stop - column;
  }
};

// The first element of a run, counted from 0.
inline long long first_of_run(const long long *layout, long long run) {
  const long long columns = layout[layout[0]], runs = (columns + RUN - 1) / RUN;
  return run / runs * columns + run % runs * RUN;
}

}  // namespace gc
