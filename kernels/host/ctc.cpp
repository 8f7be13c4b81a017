// Connectionist temporal classification on the host: kernels/ctc_loss.cu has the formulas.
//
// A. Graves et al., "Connectionist temporal classification", ICML 2006.
//
// Layout: log-probabilities y are (time, batch, classes), alpha (time, batch, places), labels (batch, longest); with
// `places` = 2 longest + 1, of a shorter sequence the first ones. A kernel takes the sequences from `begin` to `end`,
// each as if it were alone; a step of time is a vectorised pass over the places.
//
// Given by the launcher: T and A, both float or both double.
// Bytes moved: alpha is written and read once, y gathered twice and read once, dx written once.
#include "host/python.h"
#include "host/rows.h"
#include "math.cuh"

extern "C" void *memcpy(void *, const void *, __SIZE_TYPE__);

namespace {

constexpr T LOWEST = -static_cast<T>(__builtin_inf());

__forceinline__ T logsum(T a, T b, T c) {
  T top = a > b ? a : b;
  top = top > c ? top : c;
  const T shift = top == LOWEST ? T(0) : top;
  return gc::log(gc::exp(a - shift) + gc::exp(b - shift) + gc::exp(c - shift)) + shift;
}

// A sequence of labels with blanks around each, and room for the places of a step and, beyond both ends, two that none
// reaches.
struct Sequence {
  long long places;
  long long *classes;
  T *skips;  // 0 where a place may be reached from two before it, else minus infinity
  T *emitted, *now, *next;

  Sequence(long long longest)
      : places(2 * longest + 1),
        classes(static_cast<long long *>(malloc(places * sizeof(long long)))),
        skips(static_cast<T *>(malloc(4 * (places + 4) * sizeof(T)))),
        emitted(skips + places + 4),
        now(emitted + places + 4 + 2),
        next(now + places + 4) {
    for (long long s = -2; s < places + 2; s++) now[s] = next[s] = LOWEST;
    skips[places] = skips[places + 1] = LOWEST;
  }
  Sequence(const Sequence &) = delete;
  ~Sequence() {
    free(classes);
    free(skips);
  }

  void read(const long long *labels, long long blank) {
    for (long long s = 0; s < places; s++) {
      classes[s] = s % 2 ? labels[s / 2] : blank;
      skips[s] = s % 2 && s > 2 && labels[s / 2] != labels[s / 2 - 1] ? T(0) : LOWEST;
      now[s] = LOWEST;
    }
  }
  void emit(const T *y) {
    for (long long s = 0; s < places; s++) emitted[s] = y[classes[s]];
  }
  void turn() {
    T *const other = now;
    now = next, next = other;
  }
};

void ctc_alpha(const T *y, const long long *labels, const long long *input_lengths, const long long *label_lengths,
               T *losses, T *alpha, long long begin, long long end, long long steps, long long batch,
               long long classes, long long longest, long long blank) {
  Sequence of(longest);
  const long long places = of.places;
  for (long long b = begin; b < end; b++) {
    of.read(labels + b * longest, blank);
    const long long length = 2 * label_lengths[b];
    T loss = label_lengths[b] ? -LOWEST : T(0);  // without input only the empty sequence is possible
    for (long long t = 0; t < steps; t++) {
      of.emit(y + (t * batch + b) * classes);
      const T *const e = of.emitted, *const before = of.now, *const skips = of.skips;
      T *const after = of.next;
      if (t == 0) {
        for (long long s = 0; s < places; s++) after[s] = s < 2 ? e[s] : LOWEST;
      } else {
        GC_INDEPENDENT
        for (long long s = 0; s < places; s++)
          after[s] = e[s] + logsum(before[s], before[s - 1], before[s - 2] + skips[s]);
      }
      memcpy(alpha + (t * batch + b) * places, after, places * sizeof(T));
      if (t + 1 == input_lengths[b]) loss = -logsum(after[length], after[length - 1], LOWEST);
      of.turn();
    }
    losses[b] = loss;
  }
}

void ctc_gradient(const T *grad, const T *y, const long long *labels, const long long *input_lengths,
                  const long long *label_lengths, const T *losses, const T *alpha, T *dx, long long begin,
                  long long end, long long steps, long long batch, long long classes, long long longest,
                  long long blank, bool zero_infinity) {
  Sequence of(longest);
  const long long places = of.places;
  for (long long b = begin; b < end; b++) {
    of.read(labels + b * longest, blank);
    const long long length = 2 * label_lengths[b], last = input_lengths[b];
    const T loss = losses[b], factor = grad[b];
    const bool none = zero_infinity && loss == -LOWEST;
    for (long long t = steps - 1; t >= 0; t--) {
      const long long row = t * batch + b;
      const T *const from = y + row * classes;
      T *const into = dx + row * classes;
      if (t >= last || none) {
        for (long long c = 0; c < classes; c++) into[c] = 0;
        continue;
      }
      of.emit(from);
      const T *const e = of.emitted, *const after = of.now, *const skips = of.skips;
      T *const before = of.next;
      if (t == last - 1) {  // at its end an alignment is at the last label or at the blank after it
        for (long long s = 0; s < places; s++) before[s] = s == length || s == length - 1 ? e[s] : LOWEST;
      } else {
        GC_INDEPENDENT
        for (long long s = 0; s < places; s++)
          before[s] = e[s] + logsum(after[s], after[s + 1], after[s + 2] + skips[s + 2]);
      }
      for (long long c = 0; c < classes; c++) into[c] = gc::exp(from[c]);
      // How probable each place is at this time, given the labels. They overwrite what was emitted.
      const T *const beginning = alpha + row * places;
      T *const given = of.emitted;
      GC_INDEPENDENT
      for (long long s = 0; s < places; s++) given[s] = gc::exp(beginning[s] + before[s] + loss - given[s]);
      for (long long s = 0; s < places; s++) into[of.classes[s]] -= given[s];
      for (long long c = 0; c < classes; c++) into[c] *= factor;
      of.turn();
    }
  }
}

}  // namespace

GC_PYTHON(ctc_alpha)
GC_PYTHON(ctc_gradient)
