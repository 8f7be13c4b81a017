// The C interface between the launcher in Python (module.py mirrors these structures) and the runtime.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace emu {

constexpr size_t guard_bytes = 256;  // before and after every allocation; mirrored in memory.py

// A compiled kernel module in memory.
struct Image {
  uintptr_t begin, end;
  char *(*shared_anchor)();
  ptrdiff_t shared_offset;  // from the anchor to the first byte of the thread-local storage: the __shared__ variables
  size_t shared_size;
};

// Memory that the kernel may use.
struct Region {
  uintptr_t begin, end;
  uintptr_t memory_begin, memory_end;  // the allocation around it; 0 where it has no guard zones
  int32_t argument;                    // the argument's index; -1: reached through an address in device memory
  int32_t granule;                     // bytes of an element
  int32_t writable;
  int32_t guard_fill;                  // the byte that fills the guard zones
};

enum Order : int32_t { forward, reverse, shuffled };

struct Launch {
  const Image *image;
  void (*call)(const char *arguments);
  const char *arguments;
  const Region *regions;
  uint64_t shared_bytes;  // of dynamic shared memory
  uint64_t seed;          // of the shuffled order
  double time_limit;      // seconds of CPU time
  uint32_t grid[3];
  uint32_t block[3];
  int32_t region_count;
  int32_t order;
  int32_t check;   // the kernel was compiled with the checks
  int32_t strict;  // a thread that has left the kernel may not be awaited
  int32_t poison;  // fill shared memory with NaN before each block
  int32_t edges;   // run only so many of the first and of the last blocks; 0: all
};

}  // namespace emu
