// Adam, AdamW and AMSGrad, over all parameters in one launch.
//
//   g += wd p, or decoupled p *= 1 - lr wd;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2;
//   p -= step_size m / (sqrt(v) / root + eps)   with step_size = lr / (1 - beta1^t), root = sqrt(1 - beta2^t);
//   AMSGrad takes the largest v so far.
// (Kingma & Ba, ICLR 2015; Reddi et al., ICLR 2018; Loshchilov & Hutter, ICLR 2019.)
//
// Layout: multi_tensor.cuh. The kinds of arrays are p, g, m, v and, with AMSGrad, the largest v.
//
// Given by the launcher: P, G and S, the types of parameters, gradients and state; A, the type computed in; VEC; CHUNK;
// AMSGRAD.
// Bytes moved for each float32 element: 28, AMSGrad 36.
#include "multi_tensor.cuh"

struct Update {
  P *p;
  const G *g;
  S *m, *v, *largest;
  A step_size, rate1, beta2, rate2, root, eps, weight_decay, shrink, sign;

  template <int N>
  __device__ __forceinline__ void at(int i) const {
    gc::Vec<P, N> param = gc::load_mutable<N>(p + i);
    const gc::Vec<G, N> grad = gc::load<N>(g + i);
    gc::Vec<S, N> first = gc::load_mutable<N>(m + i), second = gc::load_mutable<N>(v + i), top;
    if (AMSGRAD) top = gc::load_mutable<N>(largest + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      A x = gc::to<A>(param[k]) * shrink;
      A d = sign * gc::to<A>(grad[k]);
      if (weight_decay != A(0)) d += weight_decay * x;
      A mean = gc::to<A>(first[k]), square = beta2 * gc::to<A>(second[k]) + rate2 * (d * d);
      mean += rate1 * (d - mean);
      first[k] = gc::to<S>(mean);
      second[k] = gc::to<S>(square);
      if (AMSGRAD) {
        square = gc::maximum(gc::to<A>(top[k]), square);
        top[k] = gc::to<S>(square);
      }
      param[k] = gc::to<P>(x - step_size * (mean / (gc::sqrt(square) / root + eps)));
    }
    gc::store<N>(p + i, param);
    gc::store<N>(m + i, first);
    gc::store<N>(v + i, second);
    if (AMSGRAD) gc::store<N>(largest + i, top);
  }
};

// `weight_decay` is what is added to the gradient, `shrink` what the parameter is multiplied by: one of them has no
// effect.
extern "C" __global__ void __launch_bounds__(256, 1)
    adam(const unsigned long long *__restrict__ addresses, const long long *__restrict__ chunks, const int tensors,
         const A step_size, const A rate1, const A beta2, const A rate2, const A root, const A eps,
         const A weight_decay, const A shrink, const A sign) {
  const Chunk chunk = find_chunk(addresses, chunks, tensors, AMSGRAD ? 5 : 4);
  const Update update = {chunk.array<P>(0), chunk.array<G>(1), chunk.array<S>(2), chunk.array<S>(3),
                         AMSGRAD ? chunk.array<S>(4) : nullptr,
                         step_size, rate1, beta2, rate2, root, eps, weight_decay, shrink, sign};
  for_each(chunk, update);
}
