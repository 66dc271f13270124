// The one product of matrices that everything is made of: a panel of sums kept in registers.
#pragma once

#include <type_traits>

#include "storage.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

// out[r][lane] (+)= sum over step of a[r * a_row + step * a_step] * b[step * b_step + lane], for R
// rows and C vectors of lanes. Every sum runs through the steps in rising order with one rounding
// each, whatever R and C are, so that results do not depend on how rows and lanes are grouped. b may
// be stored in a narrower type.
template <class T, int R, int C, class B>
INLINE void panel(const T* __restrict a, int64_t a_row, int64_t a_step, const B* __restrict b,
                  int64_t b_step, T* __restrict out, int64_t out_row, int64_t steps, bool add) {
  constexpr int W = kLanes<T>;
  Vec<T> sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = add ? load(out + r * out_row + c * W) : Vec<T>{};
  }
  for (int64_t s = 0; s < steps; ++s) {
    Vec<T> row[C];
    for (int c = 0; c < C; ++c) row[c] = load_wide(b + s * b_step + c * W);
    for (int r = 0; r < R; ++r) {
      const Vec<T> factor = splat(a[r * a_row + s * a_step]);
      for (int c = 0; c < C; ++c) sums[r][c] = fma_(factor, row[c], sums[r][c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(out + r * out_row + c * W, sums[r][c]);
  }
}

// As many rows as keep the registers busy: sums, the row of b, and one factor.
template <int C>
constexpr int kRows = C > 5 ? 1 : C == 1 ? (kRegisters == 32 ? 12 : 8) : (kRegisters - C - 1) / C;

template <class T, int R, int C, class B>
inline void last_rows(int64_t rows, const T* a, int64_t a_row, int64_t a_step, const B* b,
                      int64_t b_step, T* out, int64_t out_row, int64_t steps, bool add) {
  if constexpr (R > 0) {
    if (rows == R) {
      panel<T, R, C>(a, a_row, a_step, b, b_step, out, out_row, steps, add);
    } else {
      last_rows<T, R - 1, C>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
    }
  }
}

// The same for any number of rows.
template <class T, int C, class B>
inline void product(int64_t rows, const T* a, int64_t a_row, int64_t a_step, const B* b,
                    int64_t b_step, T* out, int64_t out_row, int64_t steps, bool add) {
  constexpr int R = kRows<C>;
  for (; rows >= R; rows -= R, a += R * a_row, out += R * out_row) {
    panel<T, R, C>(a, a_row, a_step, b, b_step, out, out_row, steps, add);
  }
  last_rows<T, R - 1, C>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
}

// The same for 1, 2 or 3 vectors of lanes.
template <class T, class B>
inline void product(int vectors, int64_t rows, const T* a, int64_t a_row, int64_t a_step,
                    const B* b, int64_t b_step, T* out, int64_t out_row, int64_t steps, bool add) {
  if (vectors == 3) {
    product<T, 3>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
  } else if (vectors == 2) {
    product<T, 2>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
  } else {
    product<T, 1>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
  }
}

// The same for any number of vectors of lanes.
template <class T, class B>
inline void wide_product(int64_t vectors, int64_t rows, const T* a, int64_t a_row, int64_t a_step,
                         const B* b, int64_t b_step, T* out, int64_t out_row, int64_t steps,
                         bool add) {
  constexpr int W = kLanes<T>;
  while (vectors > 0) {
    const int some = vectors == 4 ? 2 : int(vectors < 3 ? vectors : 3);
    product<T>(some, rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
    vectors -= some, b += some * W, out += some * W;
  }
}

// The same where rows are few: more vectors a row, so that enough sums are under way at once.
template <class T, class B>
inline void flat_product(int64_t vectors, int64_t rows, const T* a, int64_t a_row, int64_t a_step,
                         const B* b, int64_t b_step, T* out, int64_t out_row, int64_t steps,
                         bool add) {
  constexpr int W = kLanes<T>;
  const auto take = [&](auto count) {
    constexpr int C = decltype(count)::value;
    for (; vectors >= C; vectors -= C, b += C * W, out += C * W) {
      product<T, C>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
    }
  };
  if (rows == 1) take(std::integral_constant<int, 8>{});
  if (rows <= 3) take(std::integral_constant<int, 4>{});
  wide_product<T>(vectors, rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
}

// Turn W rows of W numbers around: row i of the result holds number i of every row.
template <class T>
INLINE void turn(Vec<T> (&rows)[kLanes<T>]) {
  constexpr int W = kLanes<T>;
  Ints<T> low, high;
  for (int i = 0; i < W; ++i) {
    low[i] = i / 2 + (i % 2) * W;
    high[i] = W / 2 + i / 2 + (i % 2) * W;
  }
  for (int stage = 1; stage < W; stage *= 2) {
    Vec<T> next[W];
    for (int i = 0; i < W / 2; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + W / 2], low);
      next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + W / 2], high);
    }
    for (int i = 0; i < W; ++i) rows[i] = next[i];
  }
}

#if defined(__AVX2__) && !defined(__AVX512F__) && !defined(SIGHTLINE_WIDE)
// The same in a third of the instructions: most of AVX2's shuffles stay within half a vector.
template <>
INLINE void turn<float>(Vec<float> (&rows)[8]) {
  __m256 pairs[8], fours[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps((__m256)rows[i], (__m256)rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps((__m256)rows[i], (__m256)rows[i + 1]);
  }
  for (int half = 0; half < 8; half += 4) {
    fours[half] = _mm256_shuffle_ps(pairs[half], pairs[half + 2], 0x44);
    fours[half + 1] = _mm256_shuffle_ps(pairs[half], pairs[half + 2], 0xee);
    fours[half + 2] = _mm256_shuffle_ps(pairs[half + 1], pairs[half + 3], 0x44);
    fours[half + 3] = _mm256_shuffle_ps(pairs[half + 1], pairs[half + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = (Vec<float>)_mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
    rows[i + 4] = (Vec<float>)_mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
  }
}
#endif

// The first numbers of W rows in memory, turned around and widened: vector i holds number i of
// every row. ``count`` numbers a row at a time.
template <class S, class T>
struct Columns {
  static constexpr int count = kLanes<T>;
  static INLINE void load(const S* rows, int64_t step, Vec<T> (&columns)[count]) {
    for (int i = 0; i < count; ++i) columns[i] = load_wide(rows + i * step);
    turn<T>(columns);
  }
};
template <>
struct Columns<bfloat16, float> {  // two numbers travel as one until they are where they belong
  static constexpr int count = 2 * kLanes<float>;
  static INLINE void load(const bfloat16* rows, int64_t step, Vec<float> (&columns)[count]) {
    constexpr int W = kLanes<float>;
    Vec<float> both[W];
    for (int i = 0; i < W; ++i) {
      both[i] = SIGHTLINE_ISA::load(reinterpret_cast<const float*>(rows + i * step));
    }
    turn<float>(both);
    for (int i = 0; i < W; ++i) {
      columns[2 * i] = (Vec<float>)((Ints<float>)both[i] << 16);
      columns[2 * i + 1] = (Vec<float>)((Ints<float>)both[i] & int32_t(0xffff0000));
    }
  }
};

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
