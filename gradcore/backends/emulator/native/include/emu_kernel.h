// What a compiled kernel tells the launcher: the type and place of each parameter, and a way to call it.
//
// The arguments of a launch arrive as one block of bytes, laid out as a C struct of the parameters would be.
#pragma once

#include "emu_types.h"

namespace emu {

// Kinds: i(nteger) u(nsigned) f(loat) b(ool) p(ointer) s(truct) h(alf) B(float16) v(oid). Mirrored in module.py.
struct Parameter {
  char kind;
  char pointee_kind;
  char pointee_const;
  char padding;
  unsigned size;
  unsigned pointee_size;
  unsigned offset;
};

template <class T, bool is_struct = __is_class(T) || __is_union(T)>
struct KindOf {
  static constexpr char kind = 's';
  static constexpr unsigned size = sizeof(T);
};
template <class T>
struct KindOf<T, false> {
  static constexpr char kind = T(0.5) != T(0) ? 'f' : T(-1) < T(0) ? 'i' : 'u';
  static constexpr unsigned size = sizeof(T);
};
template <class T>
struct KindOf<T *, false> {
  static constexpr char kind = 'p';
  static constexpr unsigned size = sizeof(T *);
};
template <>
struct KindOf<bool, false> {
  static constexpr char kind = 'b';
  static constexpr unsigned size = 1;
};
template <>
struct KindOf<void, false> {
  static constexpr char kind = 'v';
  static constexpr unsigned size = 0;
};
#ifdef EMU_HALF
template <>
struct KindOf<__half, true> {
  static constexpr char kind = 'h';
  static constexpr unsigned size = 2;
};
template <>
struct KindOf<__nv_bfloat16, true> {
  static constexpr char kind = 'B';
  static constexpr unsigned size = 2;
};
#endif

template <class T>
struct Unqualified {
  typedef T type;
  static constexpr bool is_const = false;
};
template <class T>
struct Unqualified<const T> {
  typedef T type;
  static constexpr bool is_const = true;
};
template <class T>
struct Unqualified<volatile T> : Unqualified<T> {};
template <class T>
struct Unqualified<const volatile T> : Unqualified<const T> {};

template <class T>
struct Describe {
  static constexpr Parameter parameter(unsigned offset) {
    return {KindOf<T>::kind, 0, 0, 0, sizeof(T), 0, offset};
  }
};
template <class T>
struct Describe<T *> {
  typedef Unqualified<T> Pointee;
  static constexpr Parameter parameter(unsigned offset) {
    typedef KindOf<typename Pointee::type> Kind;
    return {'p', Kind::kind, Pointee::is_const, 0, sizeof(T *), Kind::size, offset};
  }
};

// The offset of parameter `index` in the argument block.
template <class... Types>
constexpr unsigned argument_offset(unsigned index) {
  const size_t sizes[] = {sizeof(Types)..., 0};
  const size_t alignments[] = {alignof(Types)..., 1};
  size_t end = 0;
  for (unsigned i = 0;; i++) {
    size_t begin = (end + alignments[i] - 1) / alignments[i] * alignments[i];
    if (i == index) return (unsigned)begin;
    end = begin + sizes[i];
  }
}

template <unsigned... indices>
struct Indices {};
template <unsigned count, unsigned... indices>
struct MakeIndices : MakeIndices<count - 1, count - 1, indices...> {};
template <unsigned... indices>
struct MakeIndices<0, indices...> {
  typedef Indices<indices...> type;
};

template <class... Types, unsigned... indices>
int describe(Parameter *out, Indices<indices...>) {
  Parameter all[] = {Describe<Types>::parameter(argument_offset<Types...>(indices))..., Parameter()};
  for (unsigned i = 0; i < sizeof...(Types); i++) out[i] = all[i];
  return sizeof...(Types);
}
template <class... Types>
int describe(void (*)(Types...), Parameter *out) {
  return describe<Types...>(out, typename MakeIndices<sizeof...(Types)>::type());
}

// Reading the arguments is the launcher's business, not the kernel's: unseen by the sanitizers.
#define EMU_UNCHECKED no_sanitize("thread", "undefined")

template <class... Types, unsigned... indices>
__attribute__((always_inline, EMU_UNCHECKED)) inline void call(void (*kernel)(Types...), const char *arguments,
                                                               Indices<indices...>) {
  kernel(*(Types *)(arguments + argument_offset<Types...>(indices))...);
}
template <class... Types>
__attribute__((always_inline, EMU_UNCHECKED)) inline void call(void (*kernel)(Types...), const char *arguments) {
  call(kernel, arguments, typename MakeIndices<sizeof...(Types)>::type());
}

}  // namespace emu

#define EMU_EXPORTED extern "C" __attribute__((visibility("default"), EMU_UNCHECKED))
#define EMU_EXPORT_KERNEL(index, ...)                                                                                \
  EMU_EXPORTED int emu_describe_##index(::emu::Parameter *out) { return ::emu::describe(&__VA_ARGS__, out); }        \
  EMU_EXPORTED void emu_call_##index(const char *arguments) { ::emu::call(&__VA_ARGS__, arguments); }
// A known place in the module's thread-local storage, from which the launcher finds the __shared__ variables.
#define EMU_EXPORT_MODULE                  \
  EMU_EXPORTED char *emu_shared_anchor() { \
    static __thread char anchor;           \
    return &anchor;                        \
  }
