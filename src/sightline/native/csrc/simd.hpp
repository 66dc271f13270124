// Vectors of the widest kind that the instruction set of this translation unit has.
//
// GCC's and Clang's vector types carry most of it; only what they lack is written per instruction
// set. Everything here lives in the namespace of the instruction set, so that the linker never
// takes one set's code for another's.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace sightline {
namespace SIGHTLINE_ISA {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
constexpr int kRegisters = 32;
#elif defined(SIGHTLINE_WIDE)  // the AVX-512 arrangement on any machine, for tests of its logic
constexpr int kBytes = 64;
constexpr int kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
constexpr int kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kBytes = 16;
constexpr int kRegisters = 32;
#else
constexpr int kBytes = 16;
constexpr int kRegisters = 16;
#endif

#define INLINE inline __attribute__((always_inline))

template <class T>
struct Kind;
template <>
struct Kind<float> {
  using Int = int32_t;
  typedef float Vec __attribute__((vector_size(kBytes)));
  typedef int32_t Ints __attribute__((vector_size(kBytes)));
  typedef uint32_t Words __attribute__((vector_size(kBytes)));
  typedef float Loose __attribute__((vector_size(kBytes), aligned(2), may_alias));
  static constexpr int mantissa = 23, bias = 127;
};
template <>
struct Kind<double> {
  using Int = int64_t;
  typedef double Vec __attribute__((vector_size(kBytes)));
  typedef int64_t Ints __attribute__((vector_size(kBytes)));
  typedef uint64_t Words __attribute__((vector_size(kBytes)));
  typedef double Loose __attribute__((vector_size(kBytes), aligned(8), may_alias));
  static constexpr int mantissa = 52, bias = 1023;
};

template <class T>
using Vec = typename Kind<T>::Vec;
template <class T>
using Ints = typename Kind<T>::Ints;
template <class T>
constexpr int kLanes = kBytes / int(sizeof(T));

template <class T>
INLINE Vec<T> load(const T* from) {
  return Vec<T>(*reinterpret_cast<const typename Kind<T>::Loose*>(from));
}
template <class T>
INLINE void store(T* to, Vec<T> x) {
  *reinterpret_cast<typename Kind<T>::Loose*>(to) = typename Kind<T>::Loose(x);
}
template <class T>
INLINE Vec<T> splat(T x) {
  return x - Vec<T>{};  // x - 0, not 0 + x: it keeps the sign of -0
}

// a * b + c, rounded once where the machine can.
template <class V>
INLINE V fma_(V a, V b, V c) {
  return a * b + c;
}
// The larger one; b where either is NaN.
template <class V>
INLINE V max_(V a, V b) {
  return a > b ? a : b;
}
// The nearest integer, ties to even, as a float; NaN and infinities stay.
INLINE Kind<float>::Vec round_(Kind<float>::Vec x) {
  const auto magic = splat(12582912.0f);
  const auto bare = (Kind<float>::Vec)((Kind<float>::Ints)x & 0x7fffffff);
  return bare < 4194304.0f ? (x + magic) - magic : x;
}
INLINE Kind<double>::Vec round_(Kind<double>::Vec x) {
  const auto magic = splat(6755399441055744.0);
  const auto bare = (Kind<double>::Vec)((Kind<double>::Ints)x & 0x7fffffffffffffff);
  return bare < 2251799813685248.0 ? (x + magic) - magic : x;
}

#if defined(__AVX512F__)
template <>
INLINE Kind<float>::Vec fma_(Kind<float>::Vec a, Kind<float>::Vec b, Kind<float>::Vec c) {
  return (Kind<float>::Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
template <>
INLINE Kind<double>::Vec fma_(Kind<double>::Vec a, Kind<double>::Vec b, Kind<double>::Vec c) {
  return (Kind<double>::Vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
template <>
INLINE Kind<float>::Vec max_(Kind<float>::Vec a, Kind<float>::Vec b) {
  return (Kind<float>::Vec)_mm512_max_ps((__m512)a, (__m512)b);
}
#elif defined(__AVX2__) && !defined(SIGHTLINE_WIDE)
template <>
INLINE Kind<float>::Vec fma_(Kind<float>::Vec a, Kind<float>::Vec b, Kind<float>::Vec c) {
  return (Kind<float>::Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
template <>
INLINE Kind<double>::Vec fma_(Kind<double>::Vec a, Kind<double>::Vec b, Kind<double>::Vec c) {
  return (Kind<double>::Vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
template <>
INLINE Kind<float>::Vec max_(Kind<float>::Vec a, Kind<float>::Vec b) {
  return (Kind<float>::Vec)_mm256_max_ps((__m256)a, (__m256)b);
}
#elif defined(__aarch64__)
template <>
INLINE Kind<float>::Vec fma_(Kind<float>::Vec a, Kind<float>::Vec b, Kind<float>::Vec c) {
  return (Kind<float>::Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
template <>
INLINE Kind<double>::Vec fma_(Kind<double>::Vec a, Kind<double>::Vec b, Kind<double>::Vec c) {
  return (Kind<double>::Vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#elif defined(__SSE2__) && !defined(SIGHTLINE_WIDE)
template <>
INLINE Kind<float>::Vec max_(Kind<float>::Vec a, Kind<float>::Vec b) {
  return (Kind<float>::Vec)_mm_max_ps((__m128)a, (__m128)b);
}
#endif

// Nearest integer of numbers in a vector, by the machine's own instruction where there is one.
INLINE Kind<float>::Vec nearest(Kind<float>::Vec x) {
#if defined(__AVX512F__)
  return (Kind<float>::Vec)_mm512_roundscale_ps((__m512)x, 8);
#elif defined(__AVX2__) && !defined(SIGHTLINE_WIDE)
  return (Kind<float>::Vec)_mm256_round_ps((__m256)x, 8);
#elif defined(__aarch64__)
  return (Kind<float>::Vec)vrndnq_f32((float32x4_t)x);
#else
  return round_(x);
#endif
}
INLINE Kind<double>::Vec nearest(Kind<double>::Vec x) { return round_(x); }

template <class I>
INLINE bool any(I mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__) && !defined(SIGHTLINE_WIDE)
  return _mm256_movemask_epi8((__m256i)mask) != 0;
#else
  uint64_t words[sizeof(I) / 8], all = 0;
  std::memcpy(words, &mask, sizeof(I));
  for (uint64_t word : words) all |= word;
  return all != 0;
#endif
}

// Lanes whose bit is set; bit 0 is lane 0.
template <class T>
INLINE Ints<T> lanes_of(uint32_t bits) {
  Ints<T> one;
  for (int i = 0; i < kLanes<T>; ++i) one[i] = typename Kind<T>::Int(1) << i;
  return (one & typename Kind<T>::Int(bits)) != 0;
}

// 2^x for an integer-valued x <= 127 (or 1023), exactly; 0 below the smallest normal number.
template <class T>
INLINE Vec<T> power_of_two(Vec<T> x) {
  using K = Kind<T>;
  x = max_(splat(T(-K::bias)), x);
  return (Vec<T>)((__builtin_convertvector(x, Ints<T>) + K::bias) << K::mantissa);
}

INLINE Kind<float>::Vec fraction_power(Kind<float>::Vec f) {
  // Minimax with p(0) = 1 on [-1/2, 1/2]; relative error 2^-28.9.
  auto p = splat(1.5353362e-4f);
  p = fma_(p, f, splat(1.3398875e-3f));
  p = fma_(p, f, splat(9.6184369e-3f));
  p = fma_(p, f, splat(5.5503324e-2f));
  p = fma_(p, f, splat(2.4022648e-1f));
  p = fma_(p, f, splat(6.9314718e-1f));
  return fma_(p, f, splat(1.0f));
}
INLINE Kind<double>::Vec fraction_power(Kind<double>::Vec f) {
  // Taylor: ln(2)^n / n!; the first term left out is below 2^-57 on [-1/2, 1/2].
  constexpr double kTerms[] = {
      1.3691488853904128e-12, 2.5678435993488206e-11, 4.4455382718708115e-10,
      7.0549116208011233e-09, 1.0178086009239699e-07, 1.3215486790144309e-06,
      1.5252733804059841e-05, 1.5403530393381610e-04, 1.3333558146428443e-03,
      9.6181291076284772e-03, 5.5504108664821580e-02, 2.4022650695910071e-01,
      6.9314718055994531e-01, 1.0};
  auto p = splat(kTerms[0]);
  for (int i = 1; i < 14; ++i) p = fma_(p, f, splat(kTerms[i]));
  return p;
}

// 2^(t - m) for an integer-valued m. Its mantissa depends on t alone, so another m scales it by an
// exact power of two: why results do not depend on when the maximum was found. 0 where the result
// is below the normal numbers; NaN for NaN and for +inf.
template <class T>
INLINE Vec<T> exp2_from(Vec<T> t, Vec<T> m) {
  using K = Kind<T>;
  t = max_(splat(std::numeric_limits<T>::lowest()), t);  // -inf becomes a number; NaN stays
  const Vec<T> whole = nearest(t);
  const Vec<T> p = fraction_power(t - whole);
  const Vec<T> e = max_(splat(T(-K::bias)), whole - m);  // NaN stays
  // Without signs: lanes that do not count may hold any e, and no sum may overflow.
  using Words = typename K::Words;
  const Words power = (Words)__builtin_convertvector(e, Ints<T>) << K::mantissa;
  const Ints<T> bits = (Ints<T>)((Words)p + power);
  return (Vec<T>)(bits & ~(e < T(2 - K::bias)));
}

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
