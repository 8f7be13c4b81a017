// The checker of kernels compiled in check mode: bounds of every access, data races, uninitialised shared memory.
#pragma once

#include <stdint.h>

#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "launch.h"

namespace emu {

// Who touched one granule of memory last. Threads are counted from 1, so that 0 means nobody.
struct Cell {
  uint32_t writer, writer_epoch;
  uint32_t reader, reader_epoch;
  uint32_t earlier_reader;  // another one, where `several_readers`
  uint16_t writer_warp_epoch, reader_warp_epoch;
  bool atomic_write, several_readers, readers_of_several_warps;
};

// One cell for every granule of a range of memory. The granule starts as the size of an element and is refined when
// an access is smaller: most kernels never need a cell per byte.
class ShadowMemory {
 public:
  ShadowMemory() = default;
  ShadowMemory(uintptr_t begin, size_t size, size_t granule);
  ShadowMemory(ShadowMemory &&other) noexcept;
  ShadowMemory &operator=(ShadowMemory &&other) noexcept;
  ~ShadowMemory();
  void clear();
  // The cells of an access, as a range.
  struct Range {
    Cell *first;
    size_t count;
  };
  Range cells(uintptr_t address, size_t size);
  uintptr_t begin = 0;
  size_t size = 0;

 private:
  size_t count() const { return (size + granule - 1) / granule; }
  size_t bytes() const { return (count() + 1) * sizeof(Cell); }
  void refine(size_t finer);
  size_t granule = 4;
  Cell *memory = nullptr;
};

enum class Access { read, write, atomic };

class Checker {
 public:
  void begin_launch();
  void begin_block();
  void end_launch();
  void access(uintptr_t address, size_t size, Access kind, uintptr_t pc);
  void fence() { block_has_fenced = true; }

 private:
  enum class Space { shared, global };
  struct CheckedRegion {
    Region region;
    ShadowMemory shadow;
  };

  void touch(ShadowMemory &shadow, Space space, uintptr_t address, size_t size, Access kind, uintptr_t pc,
             const char *name);
  void touch_cell(Cell &cell, Space space, Access kind, uintptr_t offset, uintptr_t pc, const char *name);
  bool ordered_before(Space space, uint32_t thread, uint32_t epoch, uint16_t warp_epoch, bool several_warps) const;
  [[noreturn]] void report_race(const char *kind, Space space, uint32_t other, uintptr_t offset, uintptr_t pc,
                                const char *name) const;
  [[noreturn]] void report_stray(uintptr_t address, size_t size, Access kind, uintptr_t pc) const;
  void synchronise_blocks(uintptr_t address);

  std::vector<CheckedRegion> regions;
  size_t last_region = 0;
  ShadowMemory static_shared, dynamic_shared;
  // __threadfence(), then an atomic: what the block did before is visible to a block whose atomic on the same address
  // comes later.
  std::unordered_map<uintptr_t, std::vector<uint64_t>> published;
  std::unordered_set<uint64_t> acquired;
  bool block_has_fenced = false;
};

extern Checker checker;

}  // namespace emu
