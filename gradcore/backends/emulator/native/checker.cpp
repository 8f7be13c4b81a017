// See checker.h. The rules: two accesses to the same memory by different threads race if one is a write, unless both
// are atomic or something orders them: a __syncthreads between (same block), a __syncwarp (same warp), or a fence and
// an atomic on each side (different blocks).
#include "checker.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

#include "include/emu_atomics.h"
#include "scheduler.h"

namespace emu {

Checker checker;

void thread_fence() { checker.fence(); }

void atomic_access(const void *address, size_t size, const void *pc) {
  if (scheduler.expired) scheduler.fail((uintptr_t)pc, time_limit_message, scheduler.launch->time_limit);
  if ((uintptr_t)address % size) {
    scheduler.fail((uintptr_t)pc, "misaligned atomic operation of %zu bytes, the address ends in 0x%02x", size,
                   (unsigned)((uintptr_t)address & 255));
  }
  if (scheduler.launch->check) checker.access((uintptr_t)address, size, Access::atomic, (uintptr_t)pc);
}

// ---------------------------------------------------------------- shadow memory

ShadowMemory::ShadowMemory(uintptr_t begin, size_t size, size_t granule) : begin(begin), size(size), granule(granule) {
  // Untouched pages cost nothing, and are not set aside: an array may be larger than the machine's memory.
  void *found = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found != MAP_FAILED) memory = (Cell *)found;
}

ShadowMemory::ShadowMemory(ShadowMemory &&other) noexcept { *this = std::move(other); }

ShadowMemory &ShadowMemory::operator=(ShadowMemory &&other) noexcept {
  std::swap(begin, other.begin);
  std::swap(size, other.size);
  std::swap(granule, other.granule);
  std::swap(memory, other.memory);
  return *this;
}

ShadowMemory::~ShadowMemory() {
  if (memory) munmap(memory, bytes());
}

void ShadowMemory::clear() {
  if (memory) memset(memory, 0, count() * sizeof(Cell));
}

void ShadowMemory::refine(size_t finer) {
  ShadowMemory refined(begin, size, finer);
  for (size_t i = 0; i < refined.count(); i++) refined.memory[i] = memory[i * finer / granule];
  *this = std::move(refined);
}

ShadowMemory::Range ShadowMemory::cells(uintptr_t address, size_t access_size) {
  size_t offset = address - begin;
  if ((offset | access_size) & (granule - 1)) refine((size_t)1 << __builtin_ctzll(offset | access_size));
  return {memory + offset / granule, access_size / granule};
}

// ---------------------------------------------------------------- launches and blocks

void Checker::begin_launch() {
  const Launch &launch = *scheduler.launch;
  std::vector<Region> sorted(launch.regions, launch.regions + launch.region_count);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Region &a, const Region &b) { return a.begin < b.begin; });
  regions.clear();
  std::vector<Region> merged;  // two arguments may share memory, and memory has one history
  for (const Region &region : sorted) {
    if (!merged.empty() && region.begin < merged.back().end) {
      Region &last = merged.back();
      last.end = std::max(last.end, region.end);
      last.writable |= region.writable;
      last.granule = std::min(last.granule, region.granule);
      if (last.argument < 0) last.argument = region.argument;
    } else if (region.begin < region.end) {
      merged.push_back(region);
    }
  }
  for (const Region &region : merged) {
    size_t granule = region.granule & -region.granule;
    regions.push_back({region, ShadowMemory(region.begin, region.end - region.begin, granule)});
  }
  last_region = 0;
  static_shared = ShadowMemory((uintptr_t)scheduler.static_shared, launch.image->shared_size, 4);
  dynamic_shared = ShadowMemory((uintptr_t)scheduler.dynamic_shared, launch.shared_bytes, 4);
  published.clear();
}

void Checker::begin_block() {
  static_shared.clear();
  dynamic_shared.clear();
  acquired.clear();
  block_has_fenced = false;
}

void Checker::end_launch() {
  regions.clear();
}

// ---------------------------------------------------------------- accesses

static const char *access_name(Access kind) {
  return kind == Access::read ? "read" : kind == Access::write ? "write" : "atomic operation";
}

static void format_region(char *out, size_t size, const Region &region) {
  if (region.argument >= 0) {
    snprintf(out, size, "argument %d", region.argument);
  } else {
    snprintf(out, size, "an array reached through its address");
  }
}

void Checker::access(uintptr_t address, size_t size, Access kind, uintptr_t pc) {
  const Launch &launch = *scheduler.launch;
  if (scheduler.is_fiber_stack(address)) return;
  if (scheduler.expired) scheduler.fail(pc, time_limit_message, launch.time_limit);
  if (kind == Access::atomic) synchronise_blocks(address);

  if (address - static_shared.begin < static_shared.size) {
    touch(static_shared, Space::shared, address, size, kind, pc, "static __shared__ memory");
    return;
  }
  if (address - dynamic_shared.begin < dynamic_shared.size) {
    if (address - dynamic_shared.begin + size > dynamic_shared.size) {
      scheduler.fail(pc, "%s of %zu bytes runs past the end of the %llu bytes of dynamic shared memory",
                     access_name(kind), size, (unsigned long long)launch.shared_bytes);
    }
    touch(dynamic_shared, Space::shared, address, size, kind, pc, "dynamic shared memory");
    return;
  }
  for (size_t i = 0; i < regions.size(); i++) {
    size_t candidate = (last_region + i) % regions.size();
    CheckedRegion &found = regions[candidate];
    const Region &region = found.region;
    if (address < region.begin || address >= region.end) continue;
    last_region = candidate;
    char name[60];
    format_region(name, sizeof name, region);
    if (address + size > region.end) {
      scheduler.fail(pc, "out-of-bounds %s of %zu bytes at byte %llu of %s, which has %llu bytes", access_name(kind),
                     size, (unsigned long long)(address - region.begin), name,
                     (unsigned long long)(region.end - region.begin));
    }
    if (kind != Access::read && !region.writable) {
      scheduler.fail(pc, "%s to %s, which is read-only", access_name(kind), name);
    }
    touch(found.shadow, Space::global, address, size, kind, pc, name);
    return;
  }
  // The module's own memory: __constant__ and __device__ variables, string literals.
  if (address >= launch.image->begin && address < launch.image->end) return;
  report_stray(address, size, kind, pc);
}

void Checker::report_stray(uintptr_t address, size_t size, Access kind, uintptr_t pc) const {
  const Launch &launch = *scheduler.launch;
  if (address - (uintptr_t)scheduler.dynamic_buffer < dynamic_shared_capacity + page_bytes) {
    scheduler.fail(pc, "%s outside the %llu bytes of dynamic shared memory (at byte %lld)", access_name(kind),
                   (unsigned long long)launch.shared_bytes, (long long)(address - dynamic_shared.begin));
  }
  long long nearest = -1;
  const Region *region = nullptr;
  for (const CheckedRegion &candidate : regions) {
    const Region &other = candidate.region;
    long long distance = address >= other.end ? (long long)(address - other.end) : (long long)(other.begin - address);
    if (distance < 0 || (region && distance >= nearest)) continue;
    nearest = distance;
    region = &other;
  }
  if (!region || nearest > (1 << 30)) {
    scheduler.fail(pc, "out-of-bounds %s of %zu bytes at address 0x%llx, which is in none of the arguments",
                   access_name(kind), size, (unsigned long long)address);
  }
  char name[60];
  format_region(name, sizeof name, *region);
  scheduler.fail(pc, "out-of-bounds %s of %zu bytes: %lld bytes %s %s, which has %llu bytes", access_name(kind), size,
                 nearest, address >= region->end ? "past the end of" : "before the begin of", name,
                 (unsigned long long)(region->end - region->begin));
}

// ---------------------------------------------------------------- races

void Checker::synchronise_blocks(uintptr_t address) {
  if (published.empty() && !block_has_fenced) return;
  std::vector<uint64_t> &blocks = published[address];
  acquired.insert(blocks.begin(), blocks.end());
  if (block_has_fenced && (blocks.empty() || blocks.back() != scheduler.block)) blocks.push_back(scheduler.block);
}

void Checker::touch(ShadowMemory &shadow, Space space, uintptr_t address, size_t size, Access kind, uintptr_t pc,
                    const char *name) {
  ShadowMemory::Range range = shadow.cells(address, size);
  for (size_t i = 0; i < range.count; i++) {
    touch_cell(range.first[i], space, kind, address - shadow.begin + i * (size / range.count), pc, name);
  }
}

// Did the access of thread `thread` (counted from 1) happen before what the current thread does now?
bool Checker::ordered_before(Space space, uint32_t thread, uint32_t epoch, uint16_t warp_epoch,
                             bool several_warps) const {
  uint32_t threads = (uint32_t)scheduler.thread_count;
  uint32_t index = thread - 1;
  if (space == Space::global) {
    uint64_t block = index / threads;
    if (block != scheduler.block) return !several_warps && acquired.count(block) != 0;
    index %= threads;
  }
  if (epoch < scheduler.epoch) return true;
  uint32_t warp = (uint32_t)scheduler.current / warp_size;
  return !several_warps && index / warp_size == warp && warp_epoch < (uint16_t)scheduler.warps[warp].epoch;
}

void Checker::report_race(const char *kind, Space space, uint32_t other, uintptr_t offset, uintptr_t pc,
                          const char *name) const {
  char who[60];
  uint32_t index = other - 1;
  if (space == Space::shared) {
    snprintf(who, sizeof who, "thread %u", index);
  } else {
    uint32_t threads = (uint32_t)scheduler.thread_count;
    snprintf(who, sizeof who, "block %u thread %u", index / threads, index % threads);
  }
  scheduler.fail(pc, "data race (%s) on %s at byte %llu: %s touched it too, with nothing to order the two", kind, name,
                 (unsigned long long)offset, who);
}

void Checker::touch_cell(Cell &cell, Space space, Access kind, uintptr_t offset, uintptr_t pc, const char *name) {
  uint64_t first = space == Space::shared ? 0 : scheduler.block * (uint64_t)scheduler.thread_count;
  uint32_t self = (uint32_t)(first + (uint64_t)scheduler.current) + 1;
  uint16_t warp_epoch = (uint16_t)scheduler.warps[scheduler.current / warp_size].epoch;

  bool both_atomic = kind == Access::atomic && cell.atomic_write;
  if (cell.writer && cell.writer != self && !both_atomic &&
      !ordered_before(space, cell.writer, cell.writer_epoch, cell.writer_warp_epoch, false)) {
    report_race(kind == Access::read ? "read after write" : "write after write", space, cell.writer, offset, pc, name);
  }
  bool readers_done = !cell.reader || ordered_before(space, cell.reader, cell.reader_epoch, cell.reader_warp_epoch,
                                                     cell.readers_of_several_warps);
  if (kind == Access::read) {
    if (space == Space::shared && !cell.writer) {
      scheduler.fail(pc, "read of uninitialised %s at byte %llu", name, (unsigned long long)offset);
    }
    if (readers_done) {
      cell.several_readers = false;
      cell.readers_of_several_warps = false;
    } else if (cell.reader != self) {
      cell.several_readers = true;
      cell.earlier_reader = cell.reader;
      uint32_t threads = (uint32_t)scheduler.thread_count;
      uint32_t other = cell.reader - 1;
      bool other_block = space == Space::global && other / threads != (self - 1) / threads;
      if (other_block || other % threads / warp_size != (self - 1) % threads / warp_size) {
        cell.readers_of_several_warps = true;
      }
    }
    cell.reader = self;
    cell.reader_epoch = scheduler.epoch;
    cell.reader_warp_epoch = warp_epoch;
    return;
  }
  if (!readers_done && (cell.reader != self || cell.several_readers)) {
    uint32_t other = cell.reader != self ? cell.reader : cell.earlier_reader;
    report_race("write after read", space, other, offset, pc, name);
  }
  cell.writer = self;
  cell.writer_epoch = scheduler.epoch;
  cell.writer_warp_epoch = warp_epoch;
  cell.atomic_write = kind == Access::atomic;
}

}  // namespace emu
