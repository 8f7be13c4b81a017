"""Modules, arguments and limits of launches."""

from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends.emulator import CompileError, KernelError, UnsupportedError, config, using
from gradcore.backends.emulator import api as xp

FILL = """
extern "C" __global__ void fill(float* x, float value, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = value;
}
"""


@pytest.fixture(params=["fast", "check"], autouse=True)
def mode(request):
    with using(mode=request.param):
        yield request.param


def call(code, name, *args, grid=(1,), block=(1,), options=(), **kwargs):
    xp.RawKernel(code, name, options)(grid, block, args, **kwargs)


def store(kind):
    return f'extern "C" __global__ void store({kind} value, {kind}* out) {{ *out = value; }}'


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bool", np.bool_(True)),
        ("signed char", np.int8(-3)),
        ("unsigned short", np.uint16(65000)),
        ("int", np.int32(-5)),
        ("unsigned", np.uint32(2**32 - 1)),
        ("long long", np.int64(-(2**40))),
        ("unsigned long long", np.uint64(2**64 - 1)),
        ("float", np.float32(1.5)),
        ("double", np.float64(0.1)),
        ("long long", 7),
        ("double", 2.5),
        ("bool", False),
    ],
)
def test_scalars(kind, value):
    out = xp.empty(1, np.asarray(value).dtype)
    call(store(kind), "store", value, out)
    assert out.item() == value


@pytest.mark.usefixtures("half_headers")
def test_half_scalars():
    for kind, dtype in (("__half", np.float16), ("__nv_bfloat16", ml_dtypes.bfloat16)):
        out = xp.empty(1, dtype)
        call("#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n" + store(kind), "store", dtype(1.5), out)
        assert float(out.item()) == 1.5


def test_parameters_of_many_sizes_are_laid_out_as_in_c():
    code = """
extern "C" __global__ void sum(char a, double b, bool c, float d, short e, double* out, char f, long long g) {
  *out = a + b + c + d + e + f + g;
}"""
    out = xp.empty(1, np.float64)
    call(code, "sum", np.int8(1), 2.0, True, np.float32(4), np.int16(8), out, np.int8(16), np.int64(32))
    assert out.item() == 64


def test_struct_by_value():
    code = """
struct Table { float* arrays[3]; int sizes[3]; float factor; };
extern "C" __global__ void scale(Table table) {
  for (int i = threadIdx.x; i < table.sizes[blockIdx.x]; i += blockDim.x) table.arrays[blockIdx.x][i] *= table.factor;
}"""
    arrays = [xp.ones(n, np.float32) for n in (3, 50, 7)]
    dtype = np.dtype([("arrays", np.uint64, 3), ("sizes", np.int32, 3), ("factor", np.float32)], align=True)
    table = np.zeros(1, dtype)
    table["arrays"] = [array.data.ptr for array in arrays]
    table["sizes"] = [array.size for array in arrays]
    table["factor"] = 2.5
    call(code, "scale", table, grid=(3,), block=(32,))
    for array in arrays:
        assert (array == 2.5).all()
    with pytest.raises(KernelError, match=r"argument 0 is float32 \(4 bytes\), the kernel has a struct \(40 bytes\)"):
        call(code, "scale", np.float32(1))


def test_pointers_given_as_numbers():
    x = xp.empty(10, np.float32)
    for pointer in (np.uint64(x.data.ptr), x.data, x.data.ptr, np.array([x.data.ptr], np.uint64)):
        x.fill(0)
        call(FILL, "fill", pointer, np.float32(1), np.int32(10), block=(32,))
        assert (x == 1).all()
    with pytest.raises(KernelError, match="argument 0 is the address 0x10, which is in no live device array"):
        call(FILL, "fill", np.uint64(16), np.float32(1), np.int32(10))


def test_none_is_a_null_pointer():
    out = xp.empty(1, np.int32)
    call('extern "C" __global__ void k(const float* p, int* out) { *out = p == nullptr; }', "k", None, out)
    assert out.item() == 1


def test_host_arrays_are_refused():
    with pytest.raises(TypeError, match="argument 0 is a host array"):
        call(FILL, "fill", np.zeros(4, np.float32), np.float32(1), np.int32(4))
    with pytest.raises(TypeError, match="argument 1 is a host array .* of 4 elements"):
        call(FILL, "fill", xp.zeros(4, np.float32), np.zeros(4, np.float32), np.int32(4))


def test_arguments_that_mean_nothing():
    with pytest.raises(KernelError, match="argument 1 is str 'x', the kernel has float32: pass np.float32"):
        call(FILL, "fill", xp.zeros(4, np.float32), "x", np.int32(4))
    with pytest.raises(KernelError, match="argument 1 is an array, the kernel has float32 there"):
        call(FILL, "fill", xp.zeros(4, np.float32), xp.zeros(1, np.float32), np.int32(4))


def test_arguments_are_checked_before_anything_runs():
    x = xp.zeros(4, np.float32)
    with pytest.raises(KernelError):
        call(FILL, "fill", x, np.float32(1), np.int64(4))
    assert (x == 0).all()


def test_grid_and_block_limits():
    x = xp.zeros(4, np.float32)
    rest = (x, np.float32(1), np.int32(4))
    with pytest.raises(KernelError, match=r"a block of \(1025, 1, 1\) threads"):
        call(FILL, "fill", *rest, block=(1025,))
    with pytest.raises(KernelError, match=r"64 in z"):
        call(FILL, "fill", *rest, block=(1, 1, 65))
    with pytest.raises(KernelError, match=r"a grid of \(1, 65536, 1\) blocks"):
        call(FILL, "fill", *rest, grid=(1, 65536))
    call(FILL, "fill", *rest, grid=(0,), block=(4,))  # 0 counts as 1, as with CuPy
    assert (x == 1).all()


def test_dynamic_shared_memory_limit():
    code = """
extern "C" __global__ void k(int* out, int n) {
  extern __shared__ __align__(16) unsigned char bytes[];
  int* ints = (int*)bytes;
  ints[n - 1] = n;
  *out = ints[n - 1];
}"""
    kernel = xp.RawKernel(code, "k")
    out = xp.empty(1, np.int32)
    with pytest.raises(KernelError, match="50000 bytes of dynamic shared memory, 49152 are allowed"):
        kernel((1,), (1,), (out, np.int32(12500)), shared_mem=50000)
    kernel.max_dynamic_shared_size_bytes = 99 * 1024
    kernel((1,), (1,), (out, np.int32(12500)), shared_mem=50000)
    assert out.item() == 12500
    with pytest.raises(KernelError, match="the device has 101376"):
        kernel.max_dynamic_shared_size_bytes = 99 * 1024 + 1


def test_templates_and_name_expressions():
    code = "template <class T, int N> __global__ void k(T* x) { x[threadIdx.x] = N; }"
    names = ("k<float, 3>", "k<double, 5>")
    module = xp.RawModule(code=code, name_expressions=names)
    for name, dtype, value in zip(names, (np.float32, np.float64), (3, 5), strict=True):
        x = xp.zeros(4, dtype)
        module.get_function(name)((1,), (4,), (x,))
        assert x.tolist() == [value] * 4
    with pytest.raises(KeyError, match="no kernel 'k<int, 1>'"):
        module.get_function("k<int, 1>")
    x = xp.zeros(4, np.int32)
    xp.RawKernel(code, "k<int, 2>")((1,), (4,), (x,))
    assert x.tolist() == [2] * 4


def test_kernels_made_by_macros():
    code = """
#define KERNEL(T) \\
  extern "C" __global__ void set_##T(T* x) { *x = 1; }
KERNEL(float)
KERNEL(int)"""
    module = xp.RawModule(code=code)
    for name, dtype in (("set_float", np.float32), ("set_int", np.int32)):
        x = xp.zeros(1, dtype)
        module.get_function(name)((1,), (1,), (x,))
        assert x.item() == 1


def test_definitions():
    code = 'extern "C" __global__ void k(int* x) { *x = A + B; }'
    x = xp.zeros(1, np.int32)
    call(code, "k", x, options=("--std=c++17", "-DA=40", "-D", "B=2", "--use_fast_math"))
    assert x.item() == 42


def test_constants_and_variables_of_a_module():
    code = """
__constant__ float table[3] = {1.f, 2.f, 4.f};
__device__ int calls;
extern "C" __global__ void k(float* x) {
  x[threadIdx.x] = table[threadIdx.x];
  if (threadIdx.x == 0) atomicAdd(&calls, 1);
}
extern "C" __global__ void count(int* x) { *x = calls; }"""
    module = xp.RawModule(code=code)
    x, n = xp.zeros(3, np.float32), xp.zeros(1, np.int32)
    for _ in range(2):
        module.get_function("k")((1,), (3,), (x,))
    module.get_function("count")((1,), (1,), (n,))
    assert (x.tolist(), n.item()) == ([1, 2, 4], 2)


def test_a_compiler_error_names_the_line():
    with pytest.raises(CompileError, match=r"kernel\.cu:3:.*nonsense"):
        call('\nextern "C" __global__ void k(int* x) {\n  *x = nonsense;\n}', "k", xp.zeros(1, np.int32))
    with pytest.raises(CompileError, match="INFINITY"):  # as NVRTC does
        call('extern "C" __global__ void k(float* x) { *x = INFINITY; }', "k", xp.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("construct", "text"),
    [
        ("inline PTX", 'asm volatile("bar.sync 0;");'),
        ("cooperative groups", "namespace cg = cooperative_groups;"),
        ("asynchronous copies", "__pipeline_commit();"),
        ("tensor cores", "nvcuda::wmma::fill_fragment(f, 0);"),
        ("launches from a kernel", "k<<<1, 1>>>(x);"),
        ("without _sync", "*x = __shfl_down(*x, 1);"),
        ("textures", "*x = tex2D(t, 0, 0);"),
    ],
)
def test_unsupported_constructs_are_named(construct, text):
    with pytest.raises(UnsupportedError, match=rf"does not know .*{construct}.*\(line 3: "):
        call(f'// asm\nextern "C" __global__ void k(int* x) {{\n{text}\n}}', "k", xp.zeros(1, np.int32))


def test_comments_do_not_count():
    x = xp.zeros(1, np.int32)
    call('/* asm\n wmma:: */ extern "C" __global__ void k(int* x) { *x = 1; // k<<<1>>>\n }', "k", x)
    assert x.item() == 1


def test_the_same_source_is_compiled_once(mode):
    first, second = xp.RawModule(code=FILL), xp.RawModule(code=FILL)
    assert first._module(mode) is second._module(mode)


def test_strict_off_lets_finished_threads_be_awaited():
    code = """
extern "C" __global__ void k(int* x) {
  if (threadIdx.x >= 16) return;
  __syncthreads();
  x[threadIdx.x] = __shfl_sync(0xffffffffu, (int)threadIdx.x, 0) + 1;
}"""
    x = xp.zeros(16, np.int32)
    with pytest.raises(KernelError, match="left the kernel"):
        call(code, "k", x, block=(32,))
    with using(strict=False):
        call(code, "k", x, block=(32,))
    assert (x == 1).all()


def test_a_random_order_differs_and_is_repeatable():
    code = """
extern "C" __global__ void k(int* count, int* order) {
  order[atomicAdd(count, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
}"""

    def order_of(order):
        out = xp.zeros(256, np.int32)
        with using(order=order):
            call(code, "k", xp.zeros(1, np.int32), out, grid=(4,), block=(64,))
        return out.tolist()

    assert order_of("forward") == list(range(256))
    assert order_of("reverse") == list(range(256))[::-1]
    assert order_of(1) == order_of(1) != order_of(2)
    assert sorted(order_of(1)) == list(range(256))


def test_settings():
    with pytest.raises(ValueError, match="mode is 'fast' or 'check', not 'slow'"), using(mode="slow"):
        pass
    with pytest.raises(ValueError, match="order is"):
        config.order = "sideways"
    with pytest.raises(AttributeError, match="no setting 'speed'"):
        config.speed = 1
    before = config.order
    with pytest.raises(RuntimeError), using(order=5):
        raise RuntimeError
    assert config.order == before


def test_launches_from_several_threads():
    code = """
extern "C" __global__ void k(int* x) {
  __shared__ int s[64];
  s[threadIdx.x] = threadIdx.x;
  __syncthreads();
  x[threadIdx.x] += s[63 - threadIdx.x];
}"""
    kernel = xp.RawKernel(code, "k")
    arrays = [xp.zeros(64, np.int32) for _ in range(4)]

    def work(array):
        for _ in range(20):
            kernel((1,), (64,), (array,))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, arrays))
    for array in arrays:
        np.testing.assert_array_equal(array.get(), 20 * np.arange(63, -1, -1))


def test_printf(capfd):
    call('extern "C" __global__ void k(int* x) { printf("hello %d\\n", (int)gridDim.x); }', "k", xp.zeros(1, np.int32))
    assert capfd.readouterr().out == "hello 1\n"
