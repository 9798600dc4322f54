// Vectors of the instruction set that this file is compiled for, and the number of vector registers.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>
#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRegisters = 32, kGroup = 2;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRegisters = 16, kGroup = 2;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRegisters = 32, kGroup = 4;
#else
constexpr int kLanes = 4, kRegisters = 16, kGroup = 2;
#endif
// kLanes: floats per register. The compiler would keep a wider vector type in memory.
// kGroup: maximum number of registers of output channels that a convolution computes together.

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef int32_t Choice __attribute__((vector_size(4 * kLanes)));
typedef float InMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

// Unrolls the following loop, whose bounds are compile-time constants.
#ifdef __clang__
#define E2E_UNROLL _Pragma("clang loop unroll(full)")
#else
#define E2E_UNROLL _Pragma("GCC unroll 32")
#endif

inline Vec load(const float* p) { return *reinterpret_cast<const InMemory*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<InMemory*>(p) = v; }
inline void add(float* p, Vec v) { store(p, load(p) + v); }
inline Vec relu(Vec v) { return v <= 0.0f ? Vec{} : v; }  // NaN stays NaN, here and in the maxima of the stem

// Bit i: whether lane i is nonzero.
inline uint32_t not_zero(Vec v) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(v), _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(__AVX__)
  return _mm256_movemask_ps(reinterpret_cast<__m256>(v != 0.0f));
#elif defined(__SSE2__)
  return _mm_movemask_ps(reinterpret_cast<__m128>(v != 0.0f));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= uint32_t(v[i] != 0.0f) << i;
  return bits;
#endif
}

inline Vec absolute(Vec v) { return v < 0.0f ? -v : v; }

// Floats, initially zero, aligned so that no register crosses a cache line.
class Array {
 public:
  Array() = default;
  explicit Array(size_t size) : lines_((size + 15) / 16) {}
  size_t size() const { return 16 * lines_.size(); }
  float* data() { return lines_.data()->values; }
  const float* data() const { return lines_.data()->values; }

 private:
  struct alignas(64) Line {
    float values[16];
  };
  std::vector<Line> lines_;
};

// Registers of output channels that are computed together, for `maps` channels.
constexpr int group(int maps) { return maps / kLanes < kGroup ? maps / kLanes : kGroup; }

}  // namespace
