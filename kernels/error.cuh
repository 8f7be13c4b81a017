// The error word: how a kernel reports a bad index without harming anything.
//
// The first report of all launches since the word was last read wins; the host reads it when it next waits for the
// device, raises IndexError, and clears the word. A kernel that meets a bad index reports it and touches no memory with
// it, so the device's context stays usable.
#pragma once

namespace gc {

struct ErrorWord {
  unsigned long long op;  // 0: no error; else the number under which the host knows the operation
  long long position;     // in the index array
  long long value;
  long long size;
  long long dim;
};

__device__ __forceinline__ void report(ErrorWord *word, unsigned long long op, long long position, long long value,
                                       long long size, long long dim) {
  if (atomicCAS(&word->op, 0ULL, op) == 0ULL) {
    word->position = position;
    word->value = value;
    word->size = size;
    word->dim = dim;
  }
}

}  // namespace gc
