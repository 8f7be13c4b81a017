// Enough of CUDA C++ for GCC to compile an unmodified kernel source for the host. Included before the source.
#pragma once

#include "emu_types.h"

#include "emu_device.h"

#include "emu_atomics.h"

#include "emu_math.h"
#ifdef EMU_HALF
#include "emu_half.h"
#endif
#include "emu_kernel.h"

// Macros of the host's headers that NVRTC does not have: a kernel that uses them must not compile here either.
#undef INFINITY
#undef NAN
#undef HUGE_VAL
#undef HUGE_VALF
#undef M_PI
#undef M_E
#undef M_SQRT2
#undef M_LN2
#undef INT_MAX
#undef FLT_MAX
