// What may be added to plain attention: a bias on the scores, and dropout of the weights.
#pragma once

#include <cmath>
#include <limits>

#include "tiles.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

constexpr double kLog2E = 1.4426950408889634074;
constexpr double kLn2 = 0.69314718055994530942;

template <class B, class T>
inline void read_bias_as(const Bias& bias, int64_t b, int64_t h, int64_t q, int64_t k, int count,
                         int keys, T* to, uint64_t* bits) {
  const B* corner = reinterpret_cast<const B*>(bias.address) + b * bias.batch + h * bias.head;
  for (int i = 0; i < count; ++i) {
    const B* row = corner + (q + i) * bias.query + k * bias.key;
    for (int j = 0; j < keys; ++j) {
      const T x = T(widen(row[j * bias.key]));
      to[j * kGroup<T> + i] = x * T(kLog2E);
      if (x == -std::numeric_limits<T>::infinity()) bits[j] &= ~(uint64_t(1) << i);
    }
  }
}

// The bias of ``count`` queries from ``q`` on and ``keys`` keys from ``k`` on, times log2(e), as
// [keys][kGroup]; clears the bits of pairs at which it is -inf.
template <class T>
inline void read_bias(const Bias& bias, int64_t b, int64_t h, int64_t q, int64_t k, int count,
                      int keys, T* to, uint64_t* bits) {
  switch (bias.dtype) {
    case Dtype::float32: return read_bias_as<float>(bias, b, h, q, k, count, keys, to, bits);
    case Dtype::float64: return read_bias_as<double>(bias, b, h, q, k, count, keys, to, bits);
    case Dtype::bfloat16: return read_bias_as<bfloat16>(bias, b, h, q, k, count, keys, to, bits);
    case Dtype::float16: return read_bias_as<float16>(bias, b, h, q, k, count, keys, to, bits);
  }
}

template <class B>
inline bool any_finite_bias(const Bias& bias, const B* row, int64_t from, int64_t to,
                            uint64_t bits) {
  for (int64_t k = from; k < to; ++k) {
    if ((bits >> (k - from) & 1) && double(widen(row[k * bias.key])) != -HUGE_VAL) return true;
  }
  return false;
}

// Whether a query may see any key at all. A row that does and has no weight left (scores of -inf
// only) is NaN, as arithmetic has it; one that does not is empty.
inline bool sees_anything(const Problem& problem, int64_t b, int64_t h, int64_t query) {
  const Plan& plan = *problem.plan;
  const int64_t q_block = query / kBlockQ;
  for (const Run* run = plan.begin(b, h, q_block); run != plan.end(b, h, q_block); ++run) {
    const uint64_t bits = run->pattern < 0 ? ~uint64_t(0)
                                           : plan.word(run->pattern, int(query % kBlockQ));
    if (!bits) continue;
    if (!problem.bias) return true;
    for (int64_t block = run->first; block <= run->last; ++block) {
      const Bias& bias = problem.bias;
      const int64_t from = block * kBlockKv;
      const int64_t to = std::min(from + kBlockKv, problem.sizes.kv_len);
      const int64_t at = b * bias.batch + h * bias.head + query * bias.query;
      const auto look = [&](auto kind) {
        using B = decltype(kind);
        return any_finite_bias(bias, reinterpret_cast<const B*>(bias.address) + at, from, to, bits);
      };
      const bool found = bias.dtype == Dtype::float32    ? look(float{})
                         : bias.dtype == Dtype::float64  ? look(double{})
                         : bias.dtype == Dtype::bfloat16 ? look(bfloat16{})
                                                         : look(float16{});
      if (found) return true;
    }
  }
  return false;
}

// Which weights are dropped: a hash of seed, batch row, head, query and key, so that it does not
// depend on tiles or threads and can be had again in the backward pass.
class Dropout {
 public:
  Dropout(double rate, uint64_t seed)
      : seed_(seed),
        limit_(uint32_t(std::min(rate * 4294967296.0, 4294967295.0))),
        factor_(1.0 / (1.0 - rate)),
        on_(rate > 0) {}

  bool on() const { return on_; }

  // Two words for each of ``count`` queries.
  void start(int64_t batch, int64_t head, int64_t query, int count) {
    for (int i = 0; i < count; ++i) {
      uint64_t x = seed_;
      for (int64_t part : {batch, head, query + i}) x = mix(x ^ uint64_t(part));
      first_[i] = uint32_t(x), second_[i] = uint32_t(x >> 32);
    }
  }

  // 1 / (1 - rate) where the weight of a key is kept and 0 where it is dropped.
  template <class T>
  void factors(int64_t key, int from, int count, T* to) const {
    const uint32_t step = uint32_t(key) * 0x9e3779b9u;
    for (int i = 0; i < count; ++i) {
      const uint32_t drawn = mix(mix(first_[from + i] ^ step) + second_[from + i]);
      to[i] = drawn >= limit_ ? T(factor_) : T(0);
    }
  }

 private:
  static uint64_t mix(uint64_t x) {  // the finalizer of splitmix64 (Steele et al. 2014)
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  static uint32_t mix(uint32_t x) {  // a finalizer of 32 bits with low bias (Wellons 2018)
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
  }

  uint64_t seed_;
  uint32_t limit_;
  double factor_;
  bool on_;
  uint32_t first_[kBlockQ] = {}, second_[kBlockQ] = {};
};

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
