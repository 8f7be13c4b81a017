// All steps of a recurrent layer, and of its backward pass, on the host: at each step a product with the recurrent
// weight and a cell.
//
//   unroll            hidden[t], states[t], kept[t] = forward(gates[t], bias + h weight^T, state), from step to step
//   unroll_backward   inputs[t], gates[t], carried = backward(grad[t], gates[t'] weight, carried, ...), t' the step after
//
// A library product packs the weight again at every step, and has threads wait for each other. Rows have nothing to do
// with each other, so here a thread takes some rows through all steps, with weights that it packed once and, if they are
// small, keeps in its second-level cache. (G. Diamos et al., "Persistent RNNs: stashing recurrent weights on-chip",
// 2016, do so on a GPU.)
//
// Layout: arrays (steps, rows, count * size) are contiguous. Sums are in the order of the second factor's rows, whatever
// the number of threads. Bytes moved: all arrays once, the weights once for each thread.
//
// Given by the launcher: T, the element type; A, the type computed in; GATES and KEPT, the values of a cell; CELL,
// whether it has a state of its own; APART, whether gates from the hidden state have gradients of their own; and
// void forward(const T *const *x, T *const *y, long long rows, long long size) and `backward`, the cells.
// Products and sums are fused.
#include "host/python.h"
#include "host/vectors.h"

namespace {

// The second factor of products (depth, width), in panels of a few vectors of neighbouring columns.
class Factor {
  static constexpr int WIDE = 3;
  const long long depth, width, padded;
  const Room<A> panels, level;
  const Room<A> given, made;  // the first factor, and the product

  // For M rows from `row` and the N vectors of a panel, which begin at `column`.
  template <int M, int N>
  __forceinline__ void tile(long long row, long long column) const {
    Vector acc[M][N];
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) {
      const Vector first = load(level.at + column + n * L);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) acc[m][n] = first;
    }
    const A *x = given.at + row * depth, *w = panels.at + column * depth;
    for (long long k = 0; k < depth; k++, w += N * L)
      add_products(acc, w, [=](int m) { return x[m * depth + k]; });
#pragma GCC unroll 8
    for (int m = 0; m < M; m++)
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) store(made.at + (row + m) * padded + column + n * L, acc[m][n]);
  }

  // All rows meet a panel while it is in the cache.
  template <int N>
  void panel(long long rows, long long column) const {
    for (long long row = 0; row < rows;) {
      const int count = block_of(rows - row);
      if (count == MOST) tile<MOST, N>(row, column);
      else if (count == 4) tile<4, N>(row, column);
      else if (count == 2) tile<2, N>(row, column);
      else tile<1, N>(row, column);
      row += count;
    }
  }

 public:
  // For products of up to `rows` rows. Element (k, n) is from[k * down + n * along]; the bias may be null.
  Factor(const T *from, long long rows, long long depth, long long width, long long down, long long along,
         const T *bias)
      : depth(depth), width(width), padded((width + L - 1) / L * L), panels(depth * padded), level(padded),
        given(rows * depth), made(rows * padded) {
    for (long long first = 0, size; first < padded; first += size) {
      size = padded - first < WIDE * L ? padded - first : WIDE * L;
      A *const to = panels.at + first * depth;
      const auto copy = [=](long long k, long long n) {
        to[k * size + n] = first + n < width ? gc::to<A>(from[k * down + (first + n) * along]) : A(0);
      };
      if (down < along) {  // read along memory
        for (long long n = 0; n < size; n++)
          for (long long k = 0; k < depth; k++) copy(k, n);
      } else {
        for (long long k = 0; k < depth; k++)
          for (long long n = 0; n < size; n++) copy(k, n);
      }
    }
    for (long long n = 0; n < padded; n++) level.at[n] = bias && n < width ? gc::to<A>(bias[n]) : A(0);
  }

  // to = x times this.
  void multiply(const T *x, long long rows, T *to) const {
    for (long long i = 0; i < rows * depth; i++) given.at[i] = gc::to<A>(x[i]);
    long long column = 0;
    for (; column + WIDE * L <= padded; column += WIDE * L) panel<WIDE>(rows, column);
    if (padded - column == 2 * L) panel<2>(rows, column);
    if (padded - column == L) panel<1>(rows, column);
    for (long long row = 0; row < rows; row++)
      for (long long n = 0; n < width; n++) to[row * width + n] = gc::to<T>(made.at[row * padded + n]);
  }
};

// Hidden states have `width` elements, what they are projected from (if `projection` is not null) `size`.
void unroll(const T *gates, const T *h, const T *c, const T *weight, const T *bias, const T *projection, T *out,
            T *hidden, T *states, T *kept, long long begin, long long end, long long steps, long long rows,
            long long size, long long width, bool reverse) {
  const long long own = end - begin;
  const Factor recurrent(weight, own, width, GATES * size, 1, width, bias);
  const Factor projected(projection, own, projection ? size : 0, projection ? width : 0, 1, size, nullptr);
  const Room<T> product(own * GATES * size);
  const T *before = h + begin * width, *state = CELL ? c + begin * size : before;
  for (long long i = 0; i < steps; i++) {
    const long long at = (reverse ? steps - 1 - i : i) * rows + begin;
    recurrent.multiply(before, own, product.at);
    const T *const x[] = {gates + at * GATES * size, product.at, state};
    T *const memory = kept + at * KEPT * size;
    T *const y[] = {hidden + at * size, CELL ? states + at * size : memory, memory};
    forward(x, y, own, size);
    if (projection) projected.multiply(hidden + at * size, own, out + at * width);
    before = out + at * width;
    state = states + at * size;
  }
}

// `last` (rows, width) and `carried` (rows, size) are the gradients of the last states, and become those of the first.
void unroll_backward(const T *grad, const T *first, const T *weight, const T *projection, const T *states,
                     const T *kept, T *inputs, T *gates, T *projected, T *last, T *carried, long long begin,
                     long long end, long long steps, long long rows, long long size, long long width, bool reverse) {
  const long long own = end - begin;
  const Factor recurrent(weight, own, GATES * size, width, width, 1, nullptr);
  const Factor unprojected(projection, own, projection ? width : 0, projection ? size : 0, size, 1, nullptr);
  const Room<T> product(own * size), nothing(own * size);
  for (long long i = 0; i < own * size; i++) nothing.at[i] = gc::to<T>(A(0));
  T *const handed = carried + begin * size, *const later = last + begin * width;
  for (long long i = 0; i < steps; i++) {
    const long long at = (reverse ? i : steps - 1 - i) * rows + begin, before = reverse ? at + rows : at - rows;
    const T *outside = grad + at * width, *recurring = later;
    if (projection) {
      T *const total = projected + at * width;
      for (long long j = 0; j < own * width; j++) total[j] = gc::to<T>(gc::to<A>(outside[j]) + gc::to<A>(later[j]));
      unprojected.multiply(total, own, product.at);
      outside = product.at;
      recurring = nothing.at;
    }
    T *const slopes = gates + at * GATES * size;
    const T *const previous = i + 1 < steps ? states + before * size : first + begin * size;
    const T *const x[] = {outside, recurring, handed, previous, states + at * size, kept + at * KEPT * size};
    T *const y[] = {inputs + at * GATES * size, APART ? slopes : handed, handed};
    backward(x, y, own, size);
    recurrent.multiply(slopes, own, later);
  }
}

}  // namespace

GC_PYTHON(unroll)
GC_PYTHON(unroll_backward)
