// Vectors of the widest registers, and scratch memory, for products whose accumulators stay in registers.
//
// Given by the launcher: A, the type computed in, float or double.
#pragma once
#include "host/host.h"

extern "C" {
void *malloc(__SIZE_TYPE__);
void free(void *);
void *memset(void *, int, __SIZE_TYPE__);
void *memcpy(void *, const void *, __SIZE_TYPE__);
}

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int BYTES = 32, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int BYTES = 16, REGISTERS = 32;
#else
constexpr int BYTES = 16, REGISTERS = 16;
#endif
constexpr int L = BYTES / sizeof(A);  // elements of a vector
typedef A Vector __attribute__((vector_size(BYTES)));
typedef A Loose __attribute__((vector_size(BYTES), aligned(sizeof(A)), may_alias));

__forceinline__ Vector load(const A *from) { return *reinterpret_cast<const Loose *>(from); }
__forceinline__ void store(A *to, Vector v) { *reinterpret_cast<Loose *>(to) = v; }

// acc[m][n] += factor(m) * x[n], the vectors that begin at `x`.
template <int M, int N, class F>
__forceinline__ void add_products(Vector (&acc)[M][N], const A *x, F factor) {
  Vector neighbours[N];
#pragma GCC unroll 8
  for (int n = 0; n < N; n++) neighbours[n] = load(x + n * L);
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) acc[m][n] += factor(m) * neighbours[n];
}

// Rows of the first factor at a time, at most: with three vectors of the second, they fill the registers.
constexpr int MOST = REGISTERS == 32 ? 8 : 4;

// How rows are cut: the size of the next block.
int block_of(long long left) { return left >= MOST ? MOST : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

template <class X>
struct Room {
  X *at;
  explicit Room(long long elements) : at(static_cast<X *>(malloc((elements + 1) * sizeof(X)))) {}
  Room(const Room &) = delete;
  ~Room() { free(at); }
};

}  // namespace
