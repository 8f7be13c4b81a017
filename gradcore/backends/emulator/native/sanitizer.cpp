// Entry points that GCC's instrumentation calls in place of the sanitizers' own runtime libraries: a kernel module is
// compiled with -fsanitize=thread,... and linked against this library instead of libtsan and libubsan.
#include <stdint.h>

#include "checker.h"
#include "scheduler.h"

#define EMU_HOOK extern "C" __attribute__((visibility("default")))
#define EMU_CALLER ((uintptr_t)__builtin_return_address(0))

using emu::Access;
using emu::scheduler;

// ---------------------------------------------------------------- -fsanitize=thread: every access to memory

static inline void check(const void *address, size_t size, Access kind, uintptr_t pc) {
  // Initialisers of a module's variables run when it is loaded, outside a launch.
  if (scheduler.launch) emu::checker.access((uintptr_t)address, size, kind, pc);
}

#define EMU_READ_WRITE(bytes)                                                                           \
  EMU_HOOK void __tsan_read##bytes(void *p) { check(p, bytes, Access::read, EMU_CALLER); }              \
  EMU_HOOK void __tsan_write##bytes(void *p) { check(p, bytes, Access::write, EMU_CALLER); }
EMU_READ_WRITE(1)
EMU_READ_WRITE(2)
EMU_READ_WRITE(4)
EMU_READ_WRITE(8)
EMU_READ_WRITE(16)
EMU_HOOK void __tsan_read_range(void *p, size_t size) { check(p, size, Access::read, EMU_CALLER); }
EMU_HOOK void __tsan_write_range(void *p, size_t size) { check(p, size, Access::write, EMU_CALLER); }
EMU_HOOK void __tsan_vptr_update(void *p, void *) { check(p, sizeof p, Access::write, EMU_CALLER); }
EMU_HOOK void __tsan_init() {}

// ---------------------------------------------------------------- -fsanitize=bounds,alignment,shift,...

struct SourceLocation {
  const char *file;
  unsigned line, column;
};
struct TypeDescriptor {
  uint16_t kind, info;
  char name[1];
};
struct OutOfBounds {
  SourceLocation location;
  const TypeDescriptor *array_type;
};
struct TypeMismatch {
  SourceLocation location;
  const TypeDescriptor *type;
  unsigned char log_alignment;
};

EMU_HOOK void __ubsan_handle_out_of_bounds(const OutOfBounds *data, uintptr_t index) {
  scheduler.fail(EMU_CALLER, "index %lld is out of the bounds of %s", (long long)index, data->array_type->name);
}
EMU_HOOK void __ubsan_handle_type_mismatch_v1(const TypeMismatch *data, uintptr_t address) {
  unsigned alignment = 1u << data->log_alignment;
  scheduler.fail(EMU_CALLER, "misaligned access: %s needs %u-byte alignment, the address ends in 0x%02x",
                 data->type->name, alignment, (unsigned)(address & 255));
}

#define EMU_BINARY(name, text) \
  EMU_HOOK void __ubsan_handle_##name(void *, uintptr_t, uintptr_t) { scheduler.fail(EMU_CALLER, text); }
EMU_BINARY(shift_out_of_bounds, "shift out of bounds")
EMU_BINARY(divrem_overflow, "integer division by zero")
EMU_BINARY(add_overflow, "signed integer overflow in +")
EMU_BINARY(sub_overflow, "signed integer overflow in -")
EMU_BINARY(mul_overflow, "signed integer overflow in *")
EMU_HOOK void __ubsan_handle_negate_overflow(void *, uintptr_t) {
  scheduler.fail(EMU_CALLER, "signed integer overflow in unary -");
}
