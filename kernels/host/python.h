// Kernels as functions that Python calls without a wrapper: arrays arrive as the objects they are.
//
// A call through ctypes costs a microsecond and as much again for every array's address, which is more than a kernel
// over a few hundred elements takes. A built-in function of CPython costs a tenth of it. What it needs of CPython is
// declared here (all of it in the stable ABI), because Python's headers are often not installed where a compiler is.
//
// Given by the launcher: PYTHON_HEAD, the bytes of a Python object before its own members (`object.__basicsize__`).
#pragma once
#include "host/host.h"

struct PyObject;
typedef __PTRDIFF_TYPE__ Py_ssize_t;

extern "C" {
typedef PyObject *(*PyFunction)(PyObject *, PyObject *const *, Py_ssize_t);
struct PyMethodDef {
  const char *name;
  PyFunction function;
  int flags;
  const char *doc;
};
struct PyThreadState;
enum { METH_FASTCALL = 0x80 };
extern PyObject *PyExc_TypeError;
extern PyObject _Py_NoneStruct;
PyThreadState *PyEval_SaveThread();
void PyEval_RestoreThread(PyThreadState *);
PyObject *PyErr_Occurred();
void PyErr_SetString(PyObject *, const char *);
void Py_IncRef(PyObject *);
double PyFloat_AsDouble(PyObject *);
long long PyLong_AsLongLong(PyObject *);
PyObject *PyLong_FromLongLong(long long);

// numpy.ndarray, set when the library is loaded.
__attribute__((visibility("default"))) PyObject *array_type = nullptr;
}

namespace gc {

template <class T>
struct FromPython {  // integers and bool
  static T from(PyObject *object) { return static_cast<T>(PyLong_AsLongLong(object)); }
};
template <>
struct FromPython<double> {
  static double from(PyObject *object) { return PyFloat_AsDouble(object); }
};

// What follows the head of a Python object in numpy.ndarray, in the order that every extension module has compiled in.
struct ArrayMembers {
  void *data;
  int ndim;
  Py_ssize_t *shape, *strides;
  PyObject *base, *dtype;
  int flags;
};

// The array that an object is; else null, and Python has an error.
inline const ArrayMembers *array_members(PyObject *object) {
  char *members = reinterpret_cast<char *>(object) + PYTHON_HEAD;
  if (reinterpret_cast<PyObject **>(members)[-1] == array_type) return reinterpret_cast<ArrayMembers *>(members);
  PyErr_SetString(PyExc_TypeError, "a native kernel takes arrays, numbers and None");
  return nullptr;
}

// The elements of an array; None is the null pointer.
template <class T>
struct FromPython<T *> {
  static T *from(PyObject *object) {
    if (object == &_Py_NoneStruct) return nullptr;
    const ArrayMembers *array = array_members(object);
    return array ? static_cast<T *>(array->data) : nullptr;
  }
};

// Without the lock of the interpreter, other threads of Python run; to give it away for a moment is to risk waiting for
// it, so short calls keep it.
template <bool RELEASE>
struct Unlocked {
  PyThreadState *state = RELEASE ? PyEval_SaveThread() : nullptr;
  ~Unlocked() {
    if (RELEASE) PyEval_RestoreThread(state);
  }
};

template <bool RELEASE, class... Types>
PyObject *run(void (*kernel)(Types...), Types... arguments) {
  if (PyErr_Occurred()) return nullptr;
  {
    const Unlocked<RELEASE> unlocked;
    kernel(arguments...);
  }
  Py_IncRef(&_Py_NoneStruct);
  return &_Py_NoneStruct;
}
template <bool RELEASE, class... Types>
PyObject *run(long long (*kernel)(Types...), Types... arguments) {
  if (PyErr_Occurred()) return nullptr;
  long long result;
  {
    const Unlocked<RELEASE> unlocked;
    result = kernel(arguments...);
  }
  return PyLong_FromLongLong(result);
}

template <int...>
struct Positions {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> : Positions<I...> {};

template <bool RELEASE, class R, class... Types, int... I>
PyObject *unpack(R (*kernel)(Types...), PyObject *const *given, Positions<I...>) {
  return run<RELEASE, Types...>(kernel, FromPython<Types>::from(given[I])...);
}

template <class R, class... Types>
constexpr int arity(R (*)(Types...)) { return sizeof...(Types); }

template <auto KERNEL, bool RELEASE>
PyObject *call(PyObject *, PyObject *const *given, Py_ssize_t count) {
  constexpr int expected = arity(KERNEL);
  if (count == expected) return unpack<RELEASE>(KERNEL, given, Count<expected>());
  PyErr_SetString(PyExc_TypeError, "wrong number of arguments for a native kernel");
  return nullptr;
}

}  // namespace gc

// Makes the kernel `name` callable from Python; `name_unlocked` is the same without the interpreter's lock.
#define GC_PYTHON(name)                                                                           \
  extern "C" {                                                                                    \
  __attribute__((visibility("default"))) PyMethodDef name##_method = {                            \
      #name, gc::call<name, false>, METH_FASTCALL, nullptr};                                      \
  __attribute__((visibility("default"))) PyMethodDef name##_unlocked_method = {                   \
      #name, gc::call<name, true>, METH_FASTCALL, nullptr};                                       \
  }
