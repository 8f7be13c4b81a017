// Attention of heads, o = softmax(q k^T scale + mask) v, and its gradients, without all the scores in memory.
//
//   s = q k^T scale + mask, p = exp(s - lse)            lse = the log-sum-exp of a row of s
//   dv = p^T do        ds = p (do v^T - sum(do o))      dq = ds k scale        dk = ds^T q scale
//
// The largest score so far and the sum of exponentials run along; the gradients compute the scores again from lse.
// (M. Milakov and N. Gimelshein, 2018; T. Dao et al., "FlashAttention", NeurIPS 2022.) A query without any key gets 0,
// and infinity as its lse, so that its p is 0.
//
// With dropout o = drop(p) v, where drop multiplies by a factor d, 0 or 1 / (1 - probability), that random.cuh draws
// again from an element's place among all the scores:
//
//   dv = (d p)^T do        ds = p (d (do v^T) - sum(do o))
//
// Layout: q (heads, n, e), k (heads / group, m, e), v (heads / group, m, f) are contiguous: a head of keys serves
// `group` heads of queries that follow each other. (J. Ainslie et al., "GQA", EMNLP 2023.) A block has ROWS rows of one head, queries
// or, in attention_backward_keys, keys, and goes through the others, COLS at a time, in shared memory. LANES neighbours
// in a warp share a row: each makes every LANES-th of its scores, then every LANES-th element of what is summed. Every
// element of a result is made by one thread, in a fixed order: there are no atomics.
//
// Given by the launcher: T, the element type; A, the type computed in; M, the mask's; D, what e and f are filled up to;
// ROWS and COLS; MASKED, whether there is a mask, BOOLEAN, whether it says which keys count (else it is added); CAUSAL,
// whether query i has the keys up to i; DROPPED, whether there is dropout.
// Bytes moved: q and o once, k and v once for each ROWS queries; backward likewise, with each side once for the other.
#include "group.cuh"
#include "math.cuh"
#include "random.cuh"
#include "types.cuh"

constexpr int LANES = 4, THREADS = ROWS * LANES;

struct Settings {
  unsigned long long seed, offset;          // of the random numbers
  long long mask_head, mask_row, mask_col;  // strides of the mask
  A scale, probability;                     // of the scores; of being dropped
  int n, m, e, f;                           // queries, keys, and what they and the values are long
  int group;                                // heads of queries for one of keys

  // What the weight of a query's key is multiplied by.
  __device__ __forceinline__ A dropout(long long head, int row, int col) const {
    if (!DROPPED) return A(1);
    const long long place = (head * n + row) * m + col;
    const A drawn = static_cast<A>(gc::uniform(seed, offset, static_cast<unsigned long long>(place)));
    return drawn < probability ? A(0) : A(1) / (A(1) - probability);
  }
};

// A row of zeros stands for what is not there; a column more keeps rows in different banks.
template <int N>
struct Tile {
  A at[N][D + 1];
  // The rows of a head from `first` on; it has so many, and they are `width` long.
  __device__ __forceinline__ void load(const T *from, long long head, int first, int rows, int width) {
    from += head * rows * width;
    for (int i = threadIdx.x; i < N * D; i += THREADS) {
      const int row = i / D, column = i % D;
      at[row][column] = first + row < rows && column < width
                            ? gc::to<A>(from[static_cast<long long>(first + row) * width + column])
                            : A(0);
    }
  }
};

// The next rows of what the block goes through: e and f long, and so many in a head.
__device__ __forceinline__ void load(Tile<COLS> &a, const T *from_a, Tile<COLS> &b, const T *from_b, long long head,
                                     int first, int rows, const Settings &given) {
  __syncthreads();  // those before have been read
  a.load(from_a, head, first, rows, given.e);
  b.load(from_b, head, first, rows, given.f);
  __syncthreads();
}

__device__ __forceinline__ A dot(const A *a, const A *b) {
  A sum = A(0);
#pragma unroll 8
  for (int d = 0; d < D; d++) sum += a[d] * b[d];
  return sum;
}

// The score of a query and a key, minus infinity where the key does not count. The mask is the head's.
__device__ __forceinline__ A score(A product, const M *mask, const Settings &given, int row, int col) {
  if (row >= given.n || col >= given.m || (CAUSAL && col > row)) return -gc::infinity<A>();
  A s = product * given.scale;
  if (MASKED) {
    const M own = mask[row * given.mask_row + col * given.mask_col];
    if (BOOLEAN) {
      if (!gc::to<bool>(own)) s = -gc::infinity<A>();
    } else {
      s += gc::to<A>(own);
    }
  }
  return s;
}

struct Max {
  static __device__ __forceinline__ A of(A a, A b) { return gc::maximum(a, b); }
};
struct Sum {
  static __device__ __forceinline__ A of(A a, A b) { return a + b; }
};
template <class Combine>
__device__ __forceinline__ A across(A value) {
#pragma unroll
  for (int distance = LANES / 2; distance > 0; distance /= 2)
    value = Combine::of(value, gc::shuffle_xor(value, distance));
  return value;
}

// What a block works on.
struct Place {
  long long head;
  int first, row, lane;
  __device__ __forceinline__ Place(int rows) {
    const int tiles = (rows + ROWS - 1) / ROWS;
    head = blockIdx.x / tiles;
    first = (blockIdx.x - static_cast<int>(head) * tiles) * ROWS;
    row = threadIdx.x / LANES;
    lane = threadIdx.x % LANES;
  }
  // The key after the last that any of these queries has.
  __device__ __forceinline__ int end(const Settings &given) const {
    return CAUSAL ? min(given.m, first + ROWS) : given.m;
  }
};

// The elements lane, lane + LANES, ... of a row of the result.
struct Sums {
  const int lane;
  A at[D / LANES];
  __device__ __forceinline__ Sums(int lane) : lane(lane) {
#pragma unroll
    for (int i = 0; i < D / LANES; i++) at[i] = A(0);
  }
  __device__ __forceinline__ void shrink(A factor) {
#pragma unroll
    for (int i = 0; i < D / LANES; i++) at[i] *= factor;
  }
  // Adds a row of weights times a tile.
  __device__ __forceinline__ void add(const A *weights, const Tile<COLS> &tile) {
#pragma unroll 4
    for (int j = 0; j < COLS; j++) {
      const A weight = weights[j];
#pragma unroll
      for (int i = 0; i < D / LANES; i++) at[i] += weight * tile.at[j][lane + i * LANES];
    }
  }
  __device__ __forceinline__ void leave(T *to, A factor, int width) const {
#pragma unroll
    for (int i = 0; i < D / LANES; i++) {
      const int column = lane + i * LANES;
      if (column < width) to[column] = gc::to<T>(at[i] * factor);
    }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention(const T *__restrict__ q, const T *__restrict__ k, const T *__restrict__ v, const M *__restrict__ mask,
              T *__restrict__ out, A *__restrict__ lse, const Settings given) {
  __shared__ Tile<ROWS> queries;
  __shared__ Tile<COLS> keys, values;
  __shared__ A weights[ROWS][COLS + 1];
  const Place place(given.n);
  const long long shared = place.head / given.group;  // the head of keys
  const int row = place.first + place.row, lane = place.lane;
  if (MASKED) mask += place.head * given.mask_head;
  queries.load(q, place.head, place.first, given.n, given.e);
  Sums sums(lane);
  A top = -gc::infinity<A>(), total = A(0);
  for (int first = 0; first < place.end(given); first += COLS) {
    load(keys, k, values, v, shared, first, given.m, given);
    A scores[COLS / LANES], highest = top;
#pragma unroll
    for (int j = 0; j < COLS / LANES; j++) {
      const int col = lane + j * LANES;
      scores[j] = score(dot(queries.at[place.row], keys.at[col]), mask, given, row, first + col);
      highest = gc::maximum(highest, scores[j]);
    }
    highest = across<Max>(highest);
    const A base = highest == -gc::infinity<A>() ? A(0) : highest;  // nothing counted yet
    const A shrink = gc::exp(top - base);
    A more = A(0);
#pragma unroll
    for (int j = 0; j < COLS / LANES; j++) {
      const A weight = gc::exp(scores[j] - base);
      const int col = lane + j * LANES;
      weights[place.row][col] = weight * given.dropout(place.head, row, first + col);
      more += weight;
    }
    total = total * shrink + across<Sum>(more);
    top = highest;
    sums.shrink(shrink);
    __syncwarp();
    sums.add(weights[place.row], values);
    __syncwarp();  // the weights have been read
  }
  if (row >= given.n) return;
  const long long at = place.head * given.n + row;
  sums.leave(out + at * given.f, total == A(0) ? A(0) : A(1) / total, given.f);
  if (lane == 0) lse[at] = total == A(0) ? gc::infinity<A>() : top + gc::log(total);
}

// The gradient of the queries. `inner` is sum(do o) of each row.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_backward_queries(const T *__restrict__ grad, const T *__restrict__ q, const T *__restrict__ k,
                               const T *__restrict__ v, const M *__restrict__ mask, const A *__restrict__ lse,
                               const A *__restrict__ inner, T *__restrict__ dq, const Settings given) {
  __shared__ Tile<ROWS> queries, grads;
  __shared__ Tile<COLS> keys, values;
  __shared__ A slopes[ROWS][COLS + 1];
  const Place place(given.n);
  const long long shared = place.head / given.group;  // the head of keys
  const int row = place.first + place.row, lane = place.lane;
  const long long at = place.head * given.n + row;
  const A level = row < given.n ? inner[at] : A(0), log_sum = row < given.n ? lse[at] : gc::infinity<A>();
  if (MASKED) mask += place.head * given.mask_head;
  queries.load(q, place.head, place.first, given.n, given.e);
  grads.load(grad, place.head, place.first, given.n, given.f);
  Sums sums(lane);
  for (int first = 0; first < place.end(given); first += COLS) {
    load(keys, k, values, v, shared, first, given.m, given);
#pragma unroll
    for (int j = 0; j < COLS / LANES; j++) {
      const int col = lane + j * LANES;
      const A s = score(dot(queries.at[place.row], keys.at[col]), mask, given, row, first + col);
      const A factor = given.dropout(place.head, row, first + col);
      slopes[place.row][col] = gc::exp(s - log_sum) * (dot(grads.at[place.row], values.at[col]) * factor - level);
    }
    __syncwarp();
    sums.add(slopes[place.row], keys);
    __syncwarp();  // the slopes have been read
  }
  if (row < given.n) sums.leave(dq + at * given.e, given.scale, given.e);
}

// The gradients of the keys and the values.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_backward_keys(const T *__restrict__ grad, const T *__restrict__ q, const T *__restrict__ k,
                            const T *__restrict__ v, const M *__restrict__ mask, const A *__restrict__ lse,
                            const A *__restrict__ inner, T *__restrict__ dk, T *__restrict__ dv,
                            const Settings given) {
  __shared__ Tile<ROWS> keys, values;
  __shared__ Tile<COLS> queries, grads;
  __shared__ A weights[ROWS][COLS + 1], slopes[ROWS][COLS + 1];
  const Place place(given.m);
  const int row = place.first + place.row, lane = place.lane;
  keys.load(k, place.head, place.first, given.m, given.e);
  values.load(v, place.head, place.first, given.m, given.f);
  Sums to_keys(lane), to_values(lane);
  for (int member = 0; member < given.group; member++) {
    const long long head = place.head * given.group + member, line = head * given.n;
    const M *own_mask = MASKED ? mask + head * given.mask_head : mask;
    for (int first = CAUSAL ? place.first / COLS * COLS : 0; first < given.n; first += COLS) {
      load(queries, q, grads, grad, head, first, given.n, given);
#pragma unroll
      for (int j = 0; j < COLS / LANES; j++) {
        const int col = lane + j * LANES, query = first + col;
        const bool there = query < given.n;
        const A s = score(dot(queries.at[col], keys.at[place.row]), own_mask, given, query, row);
        const A p = gc::exp(s - (there ? lse[line + query] : gc::infinity<A>()));
        const A factor = given.dropout(head, query, row);
        weights[place.row][col] = p * factor;
        slopes[place.row][col] =
            p * (dot(grads.at[col], values.at[place.row]) * factor - (there ? inner[line + query] : A(0)));
      }
      __syncwarp();
      to_values.add(weights[place.row], grads);
      to_keys.add(slopes[place.row], queries);
      __syncwarp();  // weights and slopes have been read
    }
  }
  if (row >= given.m) return;
  const long long at = place.head * given.m + row;
  to_keys.leave(dk + at * given.e, given.scale, given.e);
  to_values.leave(dv + at * given.f, A(1), given.f);
}
