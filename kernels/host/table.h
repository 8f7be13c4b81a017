// Lists of arrays as one stretch of elements: an optimizer's parameters, gradients and state, in one call.
//
// A table is made of a tuple of lists, such as (parameters, gradients, momenta), that have one array of a size each for
// every parameter.
#pragma once
#include "host/python.h"

extern "C" {
void *malloc(__SIZE_TYPE__);
void free(void *);
Py_ssize_t PySequence_Size(PyObject *);
PyObject *PySequence_GetItem(PyObject *, Py_ssize_t);
void Py_DecRef(PyObject *);
}

namespace gc {

// Of the flags of an array.
enum { CONTIGUOUS = 0x1, ALIGNED = 0x100, WRITEABLE = 0x400 };

// The columns that every optimizer has.
enum { PARAMETERS = 0, GRADIENTS = 1 };

struct Table {
  Py_ssize_t rows = 0, columns;
  void **data = nullptr;  // row by row
  long long *sizes = nullptr;
  long long total = 0;
  // Whether all arrays have one dtype, and are contiguous, aligned and, all but the gradients, free to be changed.
  bool plain = true;

  explicit Table(PyObject *lists) : columns(PySequence_Size(lists)) {
    const PyObject *dtype = nullptr;
    for (Py_ssize_t column = 0; column < columns; column++) {
      PyObject *list = PySequence_GetItem(lists, column);
      if (!list) return;
      if (column == 0) {
        rows = PySequence_Size(list);
        data = static_cast<void **>(malloc(rows * columns * sizeof(void *)));
        sizes = static_cast<long long *>(malloc(rows * sizeof(long long)));
      }
      for (Py_ssize_t row = 0; row < rows; row++) {
        PyObject *item = PySequence_GetItem(list, row);
        const ArrayMembers *array = item ? array_members(item) : nullptr;
        if (array) enter(row, column, *array, dtype);
        if (item) Py_DecRef(item);  // the list has it, too
      }
      Py_DecRef(list);
    }
  }
  Table(const Table &) = delete;
  ~Table() {
    free(data);
    free(sizes);
  }

  void enter(Py_ssize_t row, Py_ssize_t column, const ArrayMembers &array, const PyObject *&dtype) {
    long long size = 1;
    for (int d = 0; d < array.ndim; d++) size *= array.shape[d];
    if (column == 0) {
      sizes[row] = size;
      total += size;
    }
    if (!dtype) dtype = array.dtype;
    const int needed = CONTIGUOUS | ALIGNED | (column == GRADIENTS ? 0 : WRITEABLE);
    plain &= array.dtype == dtype && size == sizes[row] && (array.flags & needed) == needed;
    data[row * columns + column] = array.data;
  }

  template <class T>
  T *at(Py_ssize_t row, Py_ssize_t column) const { return static_cast<T *>(data[row * columns + column]); }

  // f(row, first, last) for the elements of each row that lie between `begin` and `end` of them all.
  template <class F>
  void each(long long begin, long long end, F f) const {
    for (Py_ssize_t row = 0; row < rows && end > 0; begin -= sizes[row], end -= sizes[row], row++) {
      const long long first = begin > 0 ? begin : 0, last = end < sizes[row] ? end : sizes[row];
      if (first < last) f(row, first, last);
    }
  }
};

template <>
struct FromPython<const Table &> {
  static Table from(PyObject *lists) { return Table(lists); }
};

}  // namespace gc

namespace {

// How many elements there are; -1 if the kernels do not take these arrays.
long long total(const gc::Table &table) { return table.plain ? table.total : -1; }

}  // namespace

GC_PYTHON(total)
