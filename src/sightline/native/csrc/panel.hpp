// The one product of matrices that everything is made of: a panel of sums kept in registers.
#pragma once

#include <type_traits>

#include "simd.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

// out[r][lane] (+)= sum over step of a[r * a_row + step * a_step] * b[step * b_step + lane], for R
// rows and C vectors of lanes. Every sum runs through the steps in rising order with one rounding
// each, whatever R and C are, so that results do not depend on how rows and lanes are grouped.
template <class T, int R, int C>
INLINE void panel(const T* __restrict a, int64_t a_row, int64_t a_step, const T* __restrict b,
                  int64_t b_step, T* __restrict out, int64_t out_row, int64_t steps, bool add) {
  constexpr int W = kLanes<T>;
  Vec<T> sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = add ? load(out + r * out_row + c * W) : Vec<T>{};
  }
  for (int64_t s = 0; s < steps; ++s) {
    Vec<T> row[C];
    for (int c = 0; c < C; ++c) row[c] = load(b + s * b_step + c * W);
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

template <class T, int R, int C>
inline void last_rows(int64_t rows, const T* a, int64_t a_row, int64_t a_step, const T* b,
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
template <class T, int C>
inline void product(int64_t rows, const T* a, int64_t a_row, int64_t a_step, const T* b,
                    int64_t b_step, T* out, int64_t out_row, int64_t steps, bool add) {
  constexpr int R = kRows<C>;
  for (; rows >= R; rows -= R, a += R * a_row, out += R * out_row) {
    panel<T, R, C>(a, a_row, a_step, b, b_step, out, out_row, steps, add);
  }
  last_rows<T, R - 1, C>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
}

// The same for 1, 2 or 3 vectors of lanes.
template <class T>
inline void product(int vectors, int64_t rows, const T* a, int64_t a_row, int64_t a_step,
                    const T* b, int64_t b_step, T* out, int64_t out_row, int64_t steps, bool add) {
  if (vectors == 3) {
    product<T, 3>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
  } else if (vectors == 2) {
    product<T, 2>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
  } else {
    product<T, 1>(rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
  }
}

// The same for any number of vectors of lanes.
template <class T>
inline void wide_product(int64_t vectors, int64_t rows, const T* a, int64_t a_row, int64_t a_step,
                         const T* b, int64_t b_step, T* out, int64_t out_row, int64_t steps,
                         bool add) {
  constexpr int W = kLanes<T>;
  while (vectors > 0) {
    const int some = vectors == 4 ? 2 : int(vectors < 3 ? vectors : 3);
    product<T>(some, rows, a, a_row, a_step, b, b_step, out, out_row, steps, add);
    vectors -= some, b += some * W, out += some * W;
  }
}

// The same where rows are few: more vectors a row, so that enough sums are under way at once.
template <class T>
inline void flat_product(int64_t vectors, int64_t rows, const T* a, int64_t a_row, int64_t a_step,
                         const T* b, int64_t b_step, T* out, int64_t out_row, int64_t steps,
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

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
