// Numbers as they lie in memory, and rows of them as vectors of the working type.
//
// float32, bfloat16 and float16 are computed in float32; float64 in float64.
#pragma once

#include "simd.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

struct bfloat16 {
  uint16_t bits;
};
struct float16 {
  uint16_t bits;
};

INLINE float widen(float x) { return x; }
INLINE double widen(double x) { return x; }
INLINE float widen(bfloat16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, 4);
  return wide;
}
INLINE float widen(float16 x) {
  // The exponent is moved by multiplying, which also makes subnormal numbers normal.
  const uint32_t sign = uint32_t(x.bits & 0x8000) << 16, rest = uint32_t(x.bits & 0x7fff) << 13;
  uint32_t bits = rest;
  if (rest >= 0x0f800000) {  // infinity, NaN
    bits = rest | 0x7f800000;
  } else {
    float number;
    std::memcpy(&number, &rest, 4);
    number *= 5.192296858534828e33f;  // 2^112
    std::memcpy(&bits, &number, 4);
  }
  bits |= sign;
  float wide;
  std::memcpy(&wide, &bits, 4);
  return wide;
}

template <class S>
struct Narrow;
template <>
struct Narrow<float> {
  static INLINE float from(float x) { return x; }
};
template <>
struct Narrow<double> {
  static INLINE double from(double x) { return x; }
};
template <>
struct Narrow<bfloat16> {
  static INLINE bfloat16 from(float x) {  // to nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x40;
    return {uint16_t((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded)};
  }
};
template <>
struct Narrow<float16> {
  static INLINE float16 from(float x) {  // to nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint32_t sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return {uint16_t(sign | 0x7e00)};
    if (bits >= 0x477ff000) return {uint16_t(sign | 0x7c00)};  // rounds to infinity
    if (bits < 0x38800000) {                                   // subnormal
      float number;
      std::memcpy(&number, &bits, 4);
      number += 0.5f;  // its last place is that of the subnormal numbers
      std::memcpy(&bits, &number, 4);
      return {uint16_t(sign | (bits - 0x3f000000))};
    }
    const uint32_t odd = (bits >> 13) & 1;
    return {uint16_t(sign | ((bits - 0x38000000 + 0xfff + odd) >> 13))};
  }
};

// One vector of numbers, widened.
template <class T>
INLINE Vec<T> load_wide(const T* from) {
  return load(from);
}
INLINE Vec<float> load_wide(const bfloat16* from) {
#if defined(__AVX512F__)
  const auto bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return (Vec<float>)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16);
#elif defined(__AVX2__) && !defined(SIGHTLINE_WIDE)
  const auto bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return (Vec<float>)_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16);
#else
  Vec<float> wide;
  for (int i = 0; i < kLanes<float>; ++i) wide[i] = widen(from[i]);
  return wide;
#endif
}
INLINE Vec<float> load_wide(const float16* from) {
#if defined(__AVX512F__)
  const auto bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return (Vec<float>)_mm512_cvtph_ps(bits);
#elif defined(__AVX2__) && !defined(SIGHTLINE_WIDE)
  return (Vec<float>)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  Vec<float> wide;
  for (int i = 0; i < kLanes<float>; ++i) wide[i] = widen(from[i]);
  return wide;
#endif
}

// ``count`` numbers, widened.
template <class S, class T>
INLINE void read_row(const S* from, T* to, int64_t count) {
  int64_t i = 0;
#if defined(__F16C__)
  if constexpr (std::is_same_v<S, float16>) {
    for (; i + 8 <= count; i += 8) {
      const auto half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
      _mm256_storeu_ps(to + i, _mm256_cvtph_ps(half));
    }
  }
#endif
  for (; i < count; ++i) to[i] = widen(from[i]);
}

// ``count`` numbers, rounded to the storage type. + 0 turns -0 into 0, so that not even the sign
// of a forbidden product is left.
template <class S, class T>
INLINE void write_row(const T* from, S* to, int64_t count) {
  int64_t i = 0;
#if defined(__F16C__)
  if constexpr (std::is_same_v<S, float16>) {
    for (; i + 8 <= count; i += 8) {
      const auto wide = _mm256_add_ps(_mm256_loadu_ps(from + i), _mm256_setzero_ps());
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm256_cvtps_ph(wide, 0));
    }
  }
#endif
  for (; i < count; ++i) to[i] = Narrow<S>::from(from[i] + T(0));
}

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
