"""Representative kernels: vectorised, broadcasting, reducing, tiled; and small ones for a single bug each."""

VECTOR4 = r"""
__device__ __forceinline__ float gelu(float v) {
  return 0.5f * v * (1.f + tanhf(0.7978845608f * (v + 0.044715f * v * v * v)));
}
extern "C" __global__ void __launch_bounds__(256) gelu_axpb(const float* __restrict__ x, float* __restrict__ y,
                                                            float a, float b, long long n) {
  long long stride = (long long)gridDim.x * blockDim.x;
  long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  long long n4 = n >> 2;
  const float4* x4 = reinterpret_cast<const float4*>(x);
  float4* y4 = reinterpret_cast<float4*>(y);
  for (long long i = t; i < n4; i += stride) {
    float4 v = __ldg(x4 + i);
    v.x = gelu(fmaf(v.x, a, b));
    v.y = gelu(fmaf(v.y, a, b));
    v.z = gelu(fmaf(v.z, a, b));
    v.w = gelu(fmaf(v.w, a, b));
    y4[i] = v;
  }
  long long i = (n4 << 2) + t;
  if (i < n) y[i] = gelu(fmaf(x[i], a, b));
}
"""

# meta: shape[NDIM], then the strides of a, b and c in elements
BROADCAST = r"""
template <class T, int NDIM>
__global__ void multiply_add(const T* __restrict__ a, const T* __restrict__ b, const T* __restrict__ c,
                             T* __restrict__ out, const long long* __restrict__ meta, long long n) {
  long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i >= n) return;
  long long q = i, ia = 0, ib = 0, ic = 0;
  #pragma unroll
  for (int d = NDIM - 1; d >= 0; d--) {
    long long s = __ldg(meta + d), r = q % s;
    q /= s;
    ia += r * meta[NDIM + d];
    ib += r * meta[2 * NDIM + d];
    ic += r * meta[3 * NDIM + d];
  }
  out[i] = a[ia] * b[ib] + c[ic];
}
"""

_BLOCK_REDUCE = r"""
#define INF __int_as_float(0x7f800000)
template <class F> __device__ __forceinline__ float warp_reduce(float v, F f) {
  for (int d = 16; d; d >>= 1) v = f(v, __shfl_xor_sync(0xffffffffu, v, d));
  return v;
}
template <class F> __device__ __forceinline__ float block_reduce(float v, float unit, F f) {
  __shared__ float part[32];
  int lane = threadIdx.x & 31, w = threadIdx.x >> 5;
  v = warp_reduce(v, f);
  if (lane == 0) part[w] = v;
  __syncthreads();
  v = warp_reduce(lane < (blockDim.x >> 5) ? part[lane] : unit, f);
  __syncthreads();
  return v;
}
struct Add { __device__ float operator()(float a, float b) const { return a + b; } };
struct Max { __device__ float operator()(float a, float b) const { return fmaxf(a, b); } };
"""

REDUCE = (
    _BLOCK_REDUCE
    + r"""
extern "C" __global__ void row_sum(const float* __restrict__ x, float* __restrict__ y, int cols) {
  float s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) s += x[(long long)blockIdx.x * cols + i];
  s = block_reduce(s, 0.f, Add());
  if (threadIdx.x == 0) y[blockIdx.x] = s;
}
"""
)

SOFTMAX = (
    "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n"
    + _BLOCK_REDUCE
    + r"""
__device__ __forceinline__ float load(const float* p) { return *p; }
__device__ __forceinline__ float load(const __half* p) { return __half2float(*p); }
__device__ __forceinline__ float load(const __nv_bfloat16* p) { return __bfloat162float(*p); }
__device__ __forceinline__ void store(float* p, float v) { *p = v; }
__device__ __forceinline__ void store(__half* p, float v) { *p = __float2half_rn(v); }
__device__ __forceinline__ void store(__nv_bfloat16* p, float v) { *p = __float2bfloat16_rn(v); }
template <class T> __global__ void softmax(const T* __restrict__ x, T* __restrict__ y, int cols) {
  extern __shared__ float row[];
  const T* xr = x + (long long)blockIdx.x * cols;
  T* yr = y + (long long)blockIdx.x * cols;
  float m = -INF;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float v = load(xr + i);
    row[i] = v;
    m = fmaxf(m, v);
  }
  m = block_reduce(m, -INF, Max());
  float s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float e = __expf(row[i] - m);
    row[i] = e;
    s += e;
  }
  s = block_reduce(s, 0.f, Add());
  float r = __frcp_rn(s);
  for (int i = threadIdx.x; i < cols; i += blockDim.x) store(yr + i, row[i] * r);
}
template <class T> __global__ void softmax_backward(const T* __restrict__ y, const T* __restrict__ gy,
                                                    T* __restrict__ gx, int cols) {
  long long o = (long long)blockIdx.x * cols;
  float s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) s += load(y + o + i) * load(gy + o + i);
  s = block_reduce(s, 0.f, Add());
  for (int i = threadIdx.x; i < cols; i += blockDim.x) store(gx + o + i, load(y + o + i) * (load(gy + o + i) - s));
}
"""
)

# The gradient of the scale and shift: block (32, 8) takes 32 columns and rows_per_block rows, then a column sum.
LAYERNORM = (
    _BLOCK_REDUCE
    + r"""
extern "C" __global__ void layernorm_dx(const float* __restrict__ x, const float* __restrict__ g,
                                        const float* __restrict__ gy, const float* __restrict__ mean,
                                        const float* __restrict__ rstd, float* __restrict__ gx, int cols) {
  long long o = (long long)blockIdx.x * cols;
  float mu = mean[blockIdx.x], rs = rstd[blockIdx.x], s1 = 0.f, s2 = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float a = gy[o + i] * g[i];
    s1 += a;
    s2 += a * (x[o + i] - mu) * rs;
  }
  s1 = block_reduce(s1, 0.f, Add()) / cols;
  s2 = block_reduce(s2, 0.f, Add()) / cols;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float xh = (x[o + i] - mu) * rs;
    gx[o + i] = rs * (gy[o + i] * g[i] - s1 - xh * s2);
  }
}
extern "C" __global__ void layernorm_partial(const float* __restrict__ x, const float* __restrict__ gy,
                                             const float* __restrict__ mean, const float* __restrict__ rstd,
                                             float* __restrict__ pg, float* __restrict__ pb,
                                             int rows, int cols, int rows_per_block) {
  __shared__ float sg[8][33], sb[8][33];
  int c = blockIdx.x * 32 + threadIdx.x, r0 = blockIdx.y * rows_per_block, r1 = min(rows, r0 + rows_per_block);
  int tx = threadIdx.x, ty = threadIdx.y;
  float dg = 0.f, db = 0.f;
  if (c < cols)
    for (int r = r0 + ty; r < r1; r += 8) {
      long long k = (long long)r * cols + c;
      float v = gy[k];
      db += v;
      dg += v * (x[k] - mean[r]) * rstd[r];
    }
  sg[ty][tx] = dg;
  sb[ty][tx] = db;
  __syncthreads();
  for (int h = 4; h; h >>= 1) {
    if (ty < h) { sg[ty][tx] += sg[ty + h][tx]; sb[ty][tx] += sb[ty + h][tx]; }
    __syncthreads();
  }
  if (ty == 0 && c < cols) {
    pg[(long long)blockIdx.y * cols + c] = sg[0][tx];
    pb[(long long)blockIdx.y * cols + c] = sb[0][tx];
  }
}
extern "C" __global__ void column_sum(const float* __restrict__ p, float* __restrict__ o, int parts, int cols) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= cols) return;
  float s = 0.f;
  for (int r = 0; r < parts; r++) s += p[(long long)r * cols + c];
  o[c] = s;
}
"""
)

HISTOGRAM = r"""
extern "C" __global__ void histogram(const int* v, int* h, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(&h[v[i]], 1);
}
"""

SWAP_IN_WARP = r"""
extern "C" __global__ void swap(const float* x, float* y) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncwarp();
  y[t] = s[t ^ 1];
}
"""

STENCIL = r"""
extern "C" __global__ void stencil(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] + x[i ? i - 1 : 0];
}
"""

REVERSE = r"""
extern "C" __global__ void reverse(const float* x, float* y, int n) {
  __shared__ float s[128];
  int i = blockIdx.x * 128 + threadIdx.x;
  /*here*/
  s[threadIdx.x] = i < n ? x[i] : 0.f;
  __syncthreads();
  if (i < n) y[i] = s[127 - threadIdx.x];
}
"""

LAST_BLOCK = r"""
extern "C" __global__ void last_block_sum(const float* x, float* part, float* out, unsigned* count) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    part[blockIdx.x] = x[blockIdx.x];
    __threadfence();
    last = atomicInc(count, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    float s = 0;
    for (int i = 0; i < gridDim.x; i++) s += part[i];
    out[0] = s;
  }
}
"""

TRANSPOSE = r"""
extern "C" __global__ void transpose(const float* x, float* y, int rows, int cols) {
  __shared__ float tile[32][33];
  int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8)
    if (r + k < rows && c < cols) tile[threadIdx.y + k][threadIdx.x] = x[(r + k) * cols + c];
  __syncthreads();
  int c2 = blockIdx.y * 32 + threadIdx.x, r2 = blockIdx.x * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8)
    if (r2 + k < cols && c2 < rows) y[(r2 + k) * rows + c2] = tile[threadIdx.x][threadIdx.y + k];
}
"""

POINTER_TABLE = r"""
extern "C" __global__ void scale_all(const unsigned long long* table, const int* sizes, float factor) {
  float* p = (float*)table[blockIdx.x];
  for (int i = threadIdx.x; i < sizes[blockIdx.x]; i += blockDim.x) p[i] *= factor;
}
"""
