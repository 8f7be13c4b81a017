// Stochastic gradient descent with momentum, over all parameters in one launch.
//
//   d = g + wd p;  b = momentum b + (1 - dampening) d  (b = d in the first step);
//   p -= lr (d + momentum b if nesterov, else b; d without momentum)
//
// Layout: multi_tensor.cuh. The kinds of arrays are p, g and, with momentum, b.
//
// Given by the launcher: P, G and S, the types of parameters, gradients and state; A, the type computed in; VEC; CHUNK;
// MOMENTUM.
// Bytes moved for each float32 element: 12, with momentum 20.
#include "multi_tensor.cuh"

struct Update {
  P *p;
  const G *g;
  S *b;
  A lr, momentum, keep, weight_decay, sign;
  bool nesterov, first;

  template <int N>
  __device__ __forceinline__ void at(int i) const {
    gc::Vec<P, N> param = gc::load_mutable<N>(p + i);
    const gc::Vec<G, N> grad = gc::load<N>(g + i);
    gc::Vec<S, N> buffer;
    if (MOMENTUM && !first) buffer = gc::load_mutable<N>(b + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      const A x = gc::to<A>(param[k]);
      A d = sign * gc::to<A>(grad[k]);
      if (weight_decay != A(0)) d += weight_decay * x;
      if (MOMENTUM) {
        const A moving = first ? d : momentum * gc::to<A>(buffer[k]) + keep * d;
        buffer[k] = gc::to<S>(moving);
        d = nesterov ? d + momentum * moving : moving;
      }
      param[k] = gc::to<P>(x - lr * d);
    }
    gc::store<N>(p + i, param);
    if (MOMENTUM) gc::store<N>(b + i, buffer);
  }
};

extern "C" __global__ void __launch_bounds__(256, 1)
    sgd(const unsigned long long *__restrict__ addresses, const long long *__restrict__ chunks, const int tensors,
        const A lr, const A momentum, const A keep, const A weight_decay, const A sign, const bool nesterov,
        const bool first) {
  const Chunk chunk = find_chunk(addresses, chunks, tensors, MOMENTUM ? 3 : 2);
  const Update update = {chunk.array<P>(0), chunk.array<G>(1), MOMENTUM ? chunk.array<S>(2) : nullptr,
                         lr, momentum, keep, weight_decay, sign, nesterov, first};
  for_each(chunk, update);
}
