// Blocks of queries, keys and values as the kernels want them, and which pairs of a tile count.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#include "panel.hpp"
#include "plan.hpp"
#include "problem.hpp"
#include "storage.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

// Queries taken at once: one vector of lanes each, three vectors a group. Divides kBlockQ.
constexpr int kVectors = 3;
template <class T>
constexpr int kGroup = kVectors * kLanes<T>;

template <class T>
INLINE int64_t padded(int64_t dim) {
  return (dim + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Working memory of one worker, aligned for vectors; pieces are handed out one after the other.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : memory_(static_cast<T*>(::operator new(size_t(count) * sizeof(T), std::align_val_t(64)))),
        end_(memory_ + count),
        next_(memory_) {}
  ~Scratch() { ::operator delete(memory_, std::align_val_t(64)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* take(int64_t count) {
    T* piece = next_;
    next_ += rounded(count);
    if (next_ > end_) throw std::bad_alloc();
    return piece;
  }
  static int64_t rounded(int64_t count) { return (count + 15) / 16 * 16; }

 private:
  T* memory_;
  T* end_;
  T* next_;
};

// ``rows`` rows of ``dim`` numbers, widened; the rest of each row up to ``width`` is 0.
template <class S, class T>
INLINE void read_rows(const View& view, int64_t b, int64_t h, int64_t start, int64_t rows,
                      int64_t dim, T* to, int64_t width) {
  for (int64_t i = 0; i < rows; ++i) {
    read_row(view.at<S>(b, h, start + i), to + i * width, dim);
    for (int64_t d = dim; d < width; ++d) to[i * width + d] = 0;
  }
}

// A block of keys or values as rows of ``dim`` numbers of the working type, one after the other:
// as it lies in memory if it lies so, else a copy in ``room``.
template <class S, class T>
INLINE const T* key_rows(const View& view, int64_t b, int64_t h, int64_t start, int64_t rows,
                         int64_t dim, T* room) {
  if constexpr (std::is_same_v<S, T>) {
    if (view.row == dim) return view.at<S>(b, h, start);
  }
  read_rows<S>(view, b, h, start, rows, dim, room, dim);
  return room;
}

// A block of queries as it lies in memory, if it can be turned around there: of the working type,
// and in whole vectors.
template <class S, class T>
INLINE const T* whole_rows(const View& view, int64_t b, int64_t h, int64_t start, int64_t rows,
                           int64_t dim) {
  if constexpr (std::is_same_v<S, T>) {
    if (rows % kLanes<T> == 0 && dim % kLanes<T> == 0) return view.at<S>(b, h, start);
  }
  return nullptr;
}

// The numbers of kBlockQ rows [96][width] with queries as lanes: groups of [dim][kGroup], times a
// factor. Rows must be 0 where there is no query; width is a multiple of the lanes.
template <class T>
inline void turn_rows(const T* rows, int64_t width, int64_t dim, int64_t count, T factor, T* to) {
  constexpr int W = kLanes<T>, G = kGroup<T>;
  for (int64_t r = 0; r < count; r += W) {
    T* lanes = to + r / G * G * dim + r % G;
    for (int64_t d = 0; d < dim; d += W) {
      Vec<T> square[W];
      for (int i = 0; i < W; ++i) square[i] = load(rows + (r + i) * width + d) * factor;
      turn<T>(square);
      for (int64_t i = 0; i < std::min<int64_t>(W, dim - d); ++i) {
        store(lanes + (d + i) * G, square[i]);
      }
    }
  }
}

// One group [dim][kGroup] back to rows, each number times its query's factor, and into memory.
template <class S, class T>
inline void write_group(const T* lanes, const T* factors, int64_t dim, int64_t rows, T* room,
                        const View& view, int64_t b, int64_t h, int64_t start) {
  constexpr int W = kLanes<T>, G = kGroup<T>;
  const int64_t width = padded<T>(dim);
  for (int64_t r = 0; r < rows; r += W) {
    const Vec<T> factor = load(factors + r);
    const int64_t some = std::min<int64_t>(W, rows - r);
    for (int64_t d = 0; d < dim; d += W) {
      Vec<T> square[W];
      for (int i = 0; i < W; ++i) {
        square[i] = d + i < dim ? load(lanes + (d + i) * G + r) * factor + T(0) : Vec<T>{};
      }
      turn<T>(square);
      if constexpr (std::is_same_v<S, T>) {
        if (some == W && d + W <= dim) {
          for (int i = 0; i < W; ++i) store(view.at<S>(b, h, start + r + i) + d, square[i]);
          continue;
        }
      }
      for (int i = 0; i < W; ++i) store(room + i * width + d, square[i]);
    }
    const bool written = std::is_same_v<S, T> && some == W;
    const int64_t from = written ? dim / W * W : 0;
    for (int64_t i = 0; i < some && from < dim; ++i) {
      write_row(room + i * width + from, view.at<S>(b, h, start + r + i) + from, dim - from);
    }
  }
}

// Which pairs of a tile of one group of queries and up to 64 keys count.
//
// Keys outside [low, high) are seen by none. Where ``mixed``, bits[j] has a bit for each query of
// the group that sees key j; otherwise all see all.
struct Pairs {
  int low = 0, high = 0;
  bool mixed = false;
  uint64_t everyone = 0;  // a bit for each query that there is
  uint64_t bits[kBlockKv];

  // Set the rest from the bits of ``keys`` keys.
  void sum_up(int keys, uint64_t all) {
    low = 0, high = keys, mixed = false, everyone = all;
    while (high > 0 && !bits[high - 1]) --high;
    while (low < high && !bits[low]) ++low;
    for (int j = low; j < high; ++j) mixed |= bits[j] != everyone;
  }
};

// The bits of a pattern from query ``first`` on, for the queries that have a bit in ``which``.
inline void read_bits(const Plan& plan, int32_t pattern, int first, uint64_t which, int keys,
                      Pairs& pairs) {
  for (int j = 0; j < keys; ++j) {
    uint64_t some;
    const uint8_t* column = plan.column(pattern, j) + first / 8;
    std::memcpy(&some, column, 8);  // first < 96, so this stays within the 16 bytes + padding
    pairs.bits[j] = some >> (first % 8) & which;
  }
}

// Whether all numbers are finite.
template <class T>
inline bool all_finite(const T* numbers, int64_t count) {
  constexpr int W = kLanes<T>;
  Vec<T> sum{};
  int64_t i = 0;
  for (; i + W <= count; i += W) sum += load(numbers + i) * T(0);  // 0, or NaN for good
  T rest = 0;
  for (; i < count; ++i) rest += numbers[i] * T(0);
  for (int lane = 0; lane < W; ++lane) rest += sum[lane];
  return rest == T(0);
}

// Whether blocks of values are finite, for the blocks looked at last: neighbouring queries meet the
// same ones.
class Looked {
 public:
  template <class Find>
  bool is_finite(int64_t owner, int64_t block, const Find& find) {
    Entry& entry = entries_[(owner * 7 + block) % kEntries];
    if (entry.owner != owner || entry.block != block) entry = {owner, block, find()};
    return entry.finite;
  }

 private:
  static constexpr int kEntries = 64;
  struct Entry {
    int64_t owner = -1, block = -1;
    bool finite = false;
  };
  Entry entries_[kEntries];
};

// Rows with NaN or Inf, taken out of a product over rows in which some pairs are forbidden, as
// 0 * NaN is NaN; they are added one pair at a time where they may be seen.
template <class T>
struct Quarantine {
  const T* rows;        // what the product may read
  int count = 0;        // how many rows were taken out
  int row[kBlockQ];     // which

  // ``room`` has space for the rows.
  void take_out(const T* all, int64_t number, int64_t width, int64_t dim, T* room) {
    take_out(all, number, width, dim, room, all_finite(all, number * width));
  }

  // The same for a block of keys or values that may have been looked at before.
  void take_out(const T* all, int64_t number, int64_t dim, T* room, Looked& looked, int64_t owner,
                int64_t block) {
    const auto find = [&] { return all_finite(all, number * dim); };
    take_out(all, number, dim, dim, room, looked.is_finite(owner, block, find));
  }

 private:
  void take_out(const T* all, int64_t number, int64_t width, int64_t dim, T* room, bool finite) {
    rows = all, count = 0;
    if (finite) return;
    std::memcpy(room, all, size_t(number * width) * sizeof(T));
    for (int64_t i = 0; i < number; ++i) {
      if (all_finite(all + i * width, dim)) continue;
      row[count++] = int(i);
      std::fill(room + i * width, room + (i + 1) * width, T(0));
    }
    rows = room;
  }
};

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
