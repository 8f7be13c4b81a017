// Reductions on the host: finish(combine over the reduced elements of map(x...)).
//
// The maths is a generated struct, the Kernel: map, which gives the elements of a run, finish, which stores outputs, and
// the numbers that Python gave. The forms are two:
//
//   rows      neighbours in memory are reduced: TILE elements into LANES accumulators, which are then halved, again and
//             again, by combining one half with the other.
//   columns   neighbours in memory are kept: STRIP outputs are accumulated over CHUNK elements each.
//
// What is longer leaves partial results, partials[part][output], which are combined by halving too. So a sum is made
// nearly pairwise, in an order that depends on the layout alone and not on the number of threads.
#pragma once
#include "combine.cuh"
#include "host/runs.h"

namespace gc {

enum { TILE = 2048, LANES = 128, STRIP = 1024, CHUNK = 128 };

// Three numbers, then two layouts.
struct Reduction {
  long long outputs, length, parts;
  const long long *kept, *reduced;

  Reduction(const long long *a, int operands)
      : outputs(a[0]), length(a[1]), parts(a[2]), kept(a + 3), reduced(kept + 1 + kept[0] * (1 + operands)) {}
};

// Combine `count` groups of `unit` values into the first.
template <class Combine, class Acc>
__forceinline__ void halve(Acc *values, long long count, long long unit) {
  while (count > 1) {
    const long long half = (count + 1) / 2, n = (count - half) * unit;
    Acc *const other = values + half * unit;
    GC_INDEPENDENT
    for (long long i = 0; i < n; i++) values[i] = Combine::of(values[i], other[i]);
    count = half;
  }
}

// Combine the values of a run into as many accumulators as it has elements, ...
template <class Combine, class Acc, class Value>
__forceinline__ void accumulate(Acc *to, long long n, long long first, const Value &value) {
  GC_INDEPENDENT
  for (long long i = 0; i < n; i++) to[i] = Combine::of(to[i], value(first + i));
}

// ... or into LANES, each of which takes every LANES-th: a loop of constant length keeps them in registers.
template <class Combine, class Acc, class Value>
__forceinline__ void accumulate_lanes(Acc *to, long long n, const Value &value) {
  long long i = 0;
  if (n >= LANES) {
    Acc lanes[LANES];
    for (int k = 0; k < LANES; k++) lanes[k] = to[k];
    for (; i + LANES <= n; i += LANES)
      for (int k = 0; k < LANES; k++) lanes[k] = Combine::of(lanes[k], value(i + k));
    for (int k = 0; k < LANES; k++) to[k] = lanes[k];
  }
  accumulate<Combine>(to, n - i, i, value);
}

template <class Kernel, class Acc>
inline void finish_or_leave(const Kernel &kernel, const Reduction &shape, long long part, long long output,
                            const Acc *values, long long n) {
  if (shape.parts == 1) {
    kernel.finish(output, values, n);
  } else {
    Acc *const to = kernel.partials + part * shape.outputs + output;
    for (long long i = 0; i < n; i++) to[i] = values[i];
  }
}

// An item is one part of one output.
template <class Kernel>
inline void reduce_rows(const Kernel &kernel, const Reduction &shape, long long begin, long long end) {
  enum { OPERANDS = Kernel::OPERANDS };
  typedef typename Kernel::Combine Combine;
  typedef typename Kernel::Acc Acc;
  alignas(64) Acc lanes[LANES];
  long long output = begin / shape.parts, part = begin % shape.parts;
  Walk<OPERANDS> kept(shape.kept, output);
  for (long long item = begin; item < end; item++) {
    const long long first = part * TILE, last = first + TILE < shape.length ? first + TILE : shape.length;
    const long long used = last - first < LANES ? last - first : LANES;
    for (long long k = 0; k < used; k++) lanes[k] = Combine::template identity<Acc>();
    for (Runs<OPERANDS> run(shape.reduced, first, last); run.more(); run.next())
      kernel.map(kept.offset, run.offset, run, [&](const auto &value) __attribute__((always_inline)) {
        accumulate_lanes<Combine>(lanes, run.length, value);
      });
    if (used == LANES) halve<Combine>(lanes, LANES, 1);
    else halve<Combine>(lanes, used, 1);
    finish_or_leave(kernel, shape, part, output, lanes, 1);
    if (++part == shape.parts) {
      part = 0;
      output++;
      kept.advance(1);
    }
  }
}

// An item is one part of a strip of outputs.
template <class Kernel>
inline void reduce_columns(const Kernel &kernel, const Reduction &shape, long long begin, long long end) {
  enum { OPERANDS = Kernel::OPERANDS };
  typedef typename Kernel::Combine Combine;
  typedef typename Kernel::Acc Acc;
  alignas(64) Acc tile[STRIP];
  const long long strips = (shape.outputs + STRIP - 1) / STRIP;
  for (long long item = begin; item < end; item++) {
    const long long part = item / strips, output = item % strips * STRIP;
    const long long stop = output + STRIP < shape.outputs ? output + STRIP : shape.outputs;
    const long long first = part * CHUNK, last = first + CHUNK < shape.length ? first + CHUNK : shape.length;
    for (long long i = 0; i < stop - output; i++) tile[i] = Combine::template identity<Acc>();
    for (Runs<OPERANDS> run(shape.kept, output, stop); run.more(); run.next()) {
      Acc *const part_of_tile = tile + (stop - output - run.left);
      Walk<OPERANDS> row(shape.reduced, first);
      for (long long r = first; r < last; r++) {
        kernel.map(run.offset, row.offset, run, [&](const auto &value) __attribute__((always_inline)) {
          accumulate<Combine>(part_of_tile, run.length, 0, value);
        });
        row.advance(1);
      }
    }
    finish_or_leave(kernel, shape, part, output, tile, stop - output);
  }
}

}  // namespace gc
