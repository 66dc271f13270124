// What a call of the engine is: sizes, addresses and strides, as Python passes them. No arithmetic.
#pragma once

#include <cstdint>

namespace sightline {

class Plan;

enum class Dtype : int { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };

struct Sizes {
  int64_t batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim;

  // Query heads that share one key/value head (grouped-query attention).
  int64_t group() const { return heads / kv_heads; }
};

// [batch, heads, sequence, dim] somewhere in memory; strides in elements, 1 along dim.
struct View {
  char* address = nullptr;
  int64_t batch = 0, head = 0, row = 0;

  explicit operator bool() const { return address != nullptr; }

  template <class S>
  S* at(int64_t b, int64_t h, int64_t s) const {
    return reinterpret_cast<S*>(address) + b * batch + h * head + s * row;
  }
};

// [batch, heads, q_len, kv_len] with stride 0 along the axes on which it broadcasts.
struct Bias {
  char* address = nullptr;
  Dtype dtype = Dtype::float32;
  int64_t batch = 0, head = 0, query = 0, key = 0;

  explicit operator bool() const { return address != nullptr; }
};

struct Problem {
  const Plan* plan;
  Dtype dtype;
  Sizes sizes;
  View query, key, value, out;
  Bias bias;
  // [batch, heads, q_len, 2]: the reference maximum m (an integer, in powers of two) and the sum l
  // of 2^(score * log2(e) - m), 1 <= l < 2 unless m is huge; m = -inf and l = 0 for an empty row.
  void* stats = nullptr;
  double scale = 1.0;
  double dropout = 0.0;
  uint64_t seed = 0;
  int threads = 1;
};

struct Forward : Problem {
  void* lse = nullptr;  // [batch, heads, q_len]
};

struct Backward : Problem {
  View grad_out, grad_query, grad_key, grad_value;
  const void* grad_lse = nullptr;  // [batch, heads, q_len]
  Bias grad_bias;                  // of the working dtype
};

}  // namespace sightline
