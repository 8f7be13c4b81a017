// Connectionist temporal classification: the loss of label sequences that are not aligned to their inputs.
//
// A. Graves et al., "Connectionist temporal classification", ICML 2006. The places of a sequence are its labels with
// blanks before, between and after them: l(0) = blank, l(1) = label 0, l(2) = blank, ... With y the log-probabilities,
// in logarithms throughout,
//
//   alpha(t, s) = y(t, l(s)) + logsum(alpha(t-1, s), alpha(t-1, s-1), alpha(t-1, s-2))   beginnings of alignments
//   beta(t, s)  = y(t, l(s)) + logsum(beta(t+1, s), beta(t+1, s+1), beta(t+1, s+2))      their ends
//   loss        = -logsum(alpha(T-1, S-1), alpha(T-1, S-2))                              S places, T steps
//   dx(t, c)    = (exp(y(t, c)) - sum over l(s) = c of exp(alpha(t, s) + beta(t, s) + loss - y(t, c))) dloss
//
// where the third summand is there only from one label to another that differs. dx is the gradient of the scores that y
// is the log-softmax of.
//
// Layout: alpha and beta are (time, batch, places). ctc_alpha and ctc_beta: a block for each sequence, one step of time
// after another, its threads along the places. ctc_gradient: a block for each step of each sequence.
//
// Given by the launcher: T, the type of everything but labels and lengths.
// Bytes moved: ctc_alpha and ctc_beta write what they make and read it once, from the cache, and gather y; ctc_gradient
// reads y, alpha and beta, and writes dx.
#include "group.cuh"
#include "math.cuh"

constexpr int BLOCK = 256;

__device__ __forceinline__ T lowest() { return -gc::infinity<T>(); }

__device__ __forceinline__ T logsum(T a, T b, T c) {
  const T top = gc::maximum(a, gc::maximum(b, c));
  if (top == lowest()) return top;
  return gc::log(gc::exp(a - top) + gc::exp(b - top) + gc::exp(c - top)) + top;
}

__device__ __forceinline__ long long label_at(const long long *labels, int place, long long blank) {
  return place % 2 ? labels[place / 2] : blank;
}

// Whether an alignment may go from two places before to this one.
__device__ __forceinline__ bool skips(const long long *labels, int place) {
  return place % 2 && place > 2 && labels[place / 2] != labels[place / 2 - 1];
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    ctc_alpha(const T *__restrict__ y, const long long *__restrict__ labels,
              const long long *__restrict__ input_lengths, const long long *__restrict__ label_lengths, T *loss,
              T *alpha, const int batch, const int classes, const int longest, const long long blank) {
  const int sequence = blockIdx.x, places = 2 * static_cast<int>(label_lengths[sequence]) + 1;
  const int steps = static_cast<int>(input_lengths[sequence]);
  const long long stride = static_cast<long long>(batch) * (2 * longest + 1);
  labels += static_cast<long long>(sequence) * longest;
  y += static_cast<long long>(sequence) * classes;
  alpha += static_cast<long long>(sequence) * (2 * longest + 1);
  for (int t = 0; t < steps; t++) {
    const T *before = alpha + (t - 1) * stride;
    for (int s = threadIdx.x; s < places; s += blockDim.x) {
      T sum = s < 2 ? T(0) : lowest();
      if (t > 0)
        sum = logsum(before[s], s > 0 ? before[s - 1] : lowest(), skips(labels, s) ? before[s - 2] : lowest());
      alpha[t * stride + s] = sum + y[static_cast<long long>(t) * batch * classes + label_at(labels, s, blank)];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    const T *last = alpha + (steps - 1) * stride;
    // Without input only the empty sequence is possible.
    T total = places == 1 ? T(0) : lowest();
    if (steps > 0) total = logsum(last[places - 1], places > 1 ? last[places - 2] : lowest(), lowest());
    loss[sequence] = -total;
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    ctc_beta(const T *__restrict__ y, const long long *__restrict__ labels,
             const long long *__restrict__ input_lengths, const long long *__restrict__ label_lengths, T *beta,
             const int batch, const int classes, const int longest, const long long blank) {
  const int sequence = blockIdx.x, places = 2 * static_cast<int>(label_lengths[sequence]) + 1;
  const int steps = static_cast<int>(input_lengths[sequence]);
  const long long stride = static_cast<long long>(batch) * (2 * longest + 1);
  labels += static_cast<long long>(sequence) * longest;
  y += static_cast<long long>(sequence) * classes;
  beta += static_cast<long long>(sequence) * (2 * longest + 1);
  for (int t = steps - 1; t >= 0; t--) {
    const T *after = beta + (t + 1) * stride;
    for (int s = threadIdx.x; s < places; s += blockDim.x) {
      T sum = s >= places - 2 ? T(0) : lowest();
      if (t < steps - 1)
        sum = logsum(after[s], s + 1 < places ? after[s + 1] : lowest(),
                     s + 2 < places && skips(labels, s + 2) ? after[s + 2] : lowest());
      beta[t * stride + s] = sum + y[static_cast<long long>(t) * batch * classes + label_at(labels, s, blank)];
    }
    __syncthreads();
  }
}

struct Sum {
  static __device__ __forceinline__ T of(T a, T b) { return a + b; }
};

// beta is overwritten.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    ctc_gradient(const T *__restrict__ dloss, const T *__restrict__ y, const long long *__restrict__ labels,
                 const long long *__restrict__ input_lengths, const long long *__restrict__ label_lengths,
                 const T *__restrict__ loss, const T *__restrict__ alpha, T *beta, T *dx, const int batch,
                 const int classes, const int longest, const long long blank, const int zero_infinity) {
  const int t = blockIdx.x / batch, sequence = blockIdx.x % batch;
  const int length = static_cast<int>(label_lengths[sequence]), places = 2 * length + 1;
  const T total = loss[sequence], scale = dloss[sequence];
  const bool nothing = t >= input_lengths[sequence] || (zero_infinity && gc::isinf(total));
  labels += static_cast<long long>(sequence) * longest;
  y += static_cast<long long>(blockIdx.x) * classes;
  dx += static_cast<long long>(blockIdx.x) * classes;
  alpha += static_cast<long long>(blockIdx.x) * (2 * longest + 1);
  beta += static_cast<long long>(blockIdx.x) * (2 * longest + 1);
  for (int c = threadIdx.x; c < classes; c += blockDim.x) dx[c] = nothing ? T(0) : gc::exp(y[c]);
  if (nothing) return;  // the whole block
  T blanks = T(0);
  for (int s = threadIdx.x; s < places; s += blockDim.x) {
    const T given = gc::exp(alpha[s] + beta[s] + total - y[label_at(labels, s, blank)]);
    if (s % 2) beta[s] = given;
    else blanks += given;
  }
  __syncthreads();
  // The first of equal labels sums up for all of them, in their order.
  for (int i = threadIdx.x; i < length; i += blockDim.x) {
    bool first = true;
    for (int k = 0; k < i; k++) first = first && labels[k] != labels[i];
    if (!first) continue;
    T sum = T(0);
    for (int k = i; k < length; k++)
      if (labels[k] == labels[i]) sum += beta[2 * k + 1];
    dx[labels[i]] -= sum;
  }
  blanks = gc::reduce_group<Sum>(blanks);
  __syncthreads();
  if (threadIdx.x == 0) dx[blank] -= blanks;
  __syncthreads();
  for (int c = threadIdx.x; c < classes; c += blockDim.x) dx[c] *= scale;
}
