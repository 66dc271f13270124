// A few queries against a long cache: reading keys and values once is all the cost there is.
//
// Lanes are keys here, and the query heads that share a key/value head take each key together.
// Every sum still runs in the order of forward.hpp, so a decode step has the bits of the same row
// of a whole pass.
#pragma once

#include "forward.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

// Queries up to which this is the faster way, and rows (queries times heads of a group).
constexpr int64_t kFewQueries = 8, kFewRows = 64;

template <class S, class T>
class DecodeWorker {
 public:
  explicit DecodeWorker(const Forward& call)
      : call_(call),
        dim_(call.sizes.head_dim),
        value_dim_(call.sizes.value_dim),
        width_(padded<T>(value_dim_)),
        count_(int(call.sizes.q_len * call.sizes.group())),
        scratch_(count_ * (dim_ + width_ + 2 * kBlockKv) +
                 kBlockKv * (width_ + kGroup<T>) + W * padded<T>(dim_) + 2 * W * dim_ +
                 12 * 16),
        queries_(scratch_.take(count_ * dim_)),
        sums_(scratch_.take(count_ * width_)),
        scores_(scratch_.take(count_ * kBlockKv)),
        biases_(scratch_.take(count_ * kBlockKv)),
        key_room_(scratch_.take(W * padded<T>(dim_))),
        value_room_(scratch_.take(kBlockKv * width_)),
        bias_room_(scratch_.take(kBlockKv * kGroup<T>)),
        copy_(reinterpret_cast<S*>(scratch_.take(2 * W * dim_))),
        rows_(size_t(count_), Row(call)) {}

  // All rows of a key/value head: query head h0 + row / q_len, query row % q_len.
  void run(int64_t b, int64_t kv_head) {
    b_ = b, kv_head_ = kv_head;
    begin();
    const int64_t group = call_.sizes.group();
    const Plan& plan = *call_.plan;
    if (plan.heads == 1) {
      along(kv_head * group, 0, count_);
    } else {
      const int each = int(call_.sizes.q_len);
      for (int64_t h = 0; h < group; ++h) along(kv_head * group + h, int(h) * each, each);
    }
    finish();
  }

 private:
  static constexpr int W = kLanes<T>;
  static constexpr int64_t kAhead = 32;  // rows

  struct Row {
    explicit Row(const Forward& call) : dropout(call.dropout, call.seed) {}
    T peak = 0, total = 0;
    uint64_t bits = 0;
    Dropout dropout;
  };

  int64_t head(int row) const {
    return kv_head_ * call_.sizes.group() + row / call_.sizes.q_len;
  }
  int query(int row) const { return int(row % call_.sizes.q_len); }

  void begin() {
    for (int r = 0; r < count_; ++r) {
      T* to = queries_ + r * dim_;
      read_row(call_.query.at<S>(b_, head(r), query(r)), to, dim_);
      for (int64_t d = 0; d < dim_; ++d) to[d] *= T(call_.scale * kLog2E);
      rows_[r].peak = -std::numeric_limits<T>::infinity(), rows_[r].total = 0;
      if (rows_[r].dropout.on()) rows_[r].dropout.start(b_, head(r), query(r), 1);
    }
    std::fill(sums_, sums_ + count_ * width_, T(0));
  }

  // The rows from ``first`` on along the runs of the plan for query head h.
  void along(int64_t h, int first, int count) {
    const Plan& plan = *call_.plan;
    for (const Run* run = plan.begin(b_, h, 0); run != plan.end(b_, h, 0); ++run) {
      for (int64_t block = run->first; block <= run->last; ++block) {
        tile(block, run->pattern, first, count);
      }
    }
  }

  void tile(int64_t block, int32_t pattern, int first, int count) {
    const int64_t start = block * kBlockKv;
    const int n = int(std::min<int64_t>(kBlockKv, call_.sizes.kv_len - start));
    const uint64_t all = n == 64 ? ~uint64_t(0) : (uint64_t(1) << n) - 1;
    uint64_t any_row = 0;
    bool mixed = false;
    for (int r = first; r < first + count; ++r) {
      uint64_t& bits = rows_[r].bits;
      bits = pattern < 0 ? all : call_.plan->word(pattern, query(r)) & all;
      if (call_.bias) bits &= read_bias_of(r, start, n);
      any_row |= bits;
    }
    if (!any_row) return;
    const int low = __builtin_ctzll(any_row), high = 64 - __builtin_clzll(any_row);
    for (int r = first; r < first + count; ++r) {
      mixed |= rows_[r].bits != ((~uint64_t(0) >> (64 - (high - low))) << low);
    }
    score(start + low, high - low, first, count);
    for (int r = first; r < first + count; ++r) weigh(r, start, low, high);
    add_values(start + low, high - low, first, count, mixed, low);
  }

  // Have rows on their way from memory while those before them are computed: the machine does not
  // see by itself where the next ones are, as two arrays are read by turns.
  void fetch(const View& view, int64_t dim, int64_t start, int64_t rows) const {
    rows = std::min(rows, call_.sizes.kv_len - start);
    for (int64_t i = 0; i < rows; ++i) {
      const char* row = reinterpret_cast<const char*>(view.at<S>(b_, kv_head_, start + i));
      for (int64_t at = 0; at < dim * int64_t(sizeof(S)); at += 64) __builtin_prefetch(row + at);
    }
  }

  // Scores of ``n`` keys from ``start`` on, times log2(e).
  void score(int64_t start, int n, int first, int count) {
    for (int j = 0; j < n;) {
      const S* keys = call_.key.at<S>(b_, kv_head_, start + j);
      next_ = start + j + kAhead;
      if (dim_ % Columns<S, T>::count == 0 && j + 2 * W <= n) {
        score_some<2>(copy_keys(keys), dim_, first, count, j);
        j += 2 * W;
      } else if (dim_ % Columns<S, T>::count == 0 && j + W <= n) {
        score_some<1>(keys, call_.key.row, first, count, j);
        j += W;
      } else {  // a copy with whole vectors
        const int64_t width = padded<T>(dim_), some = std::min(W, n - j);
        std::fill(key_room_, key_room_ + W * width, T(0));
        for (int64_t i = 0; i < some; ++i) {
          read_row(keys + i * call_.key.row, key_room_ + i * width, dim_);
        }
        score_some<1>(key_room_, width, first, count, j);
        j += W;
      }
    }
  }

  // Two vectors of keys, copied row by row. Memory is quickest when it is read in its own order;
  // scores take a few numbers of every row at a time.
  const S* copy_keys(const S* keys) {
    constexpr int some = Columns<S, T>::count;
    for (int i = 0; i < 2 * W; ++i) {
      const S* row = keys + i * call_.key.row;
      for (int64_t d = 0; d < dim_; d += some) {
        std::memcpy(copy_ + i * dim_ + d, row + d, some * sizeof(S));
      }
    }
    return copy_;
  }

  // The same for so many vectors of keys.
  template <int V, class K>
  void score_some(const K* keys, int64_t step, int first, int count, int j) {
    int r = first;
    for (; r + 4 <= first + count; r += 4) score_rows<V, 4>(keys, step, r, j);
    for (; r + 2 <= first + count; r += 2) score_rows<V, 2>(keys, step, r, j);
    for (; r < first + count; ++r) score_rows<V, 1>(keys, step, r, j);
  }

  template <int V, int R, class K>
  INLINE void score_rows(const K* keys, int64_t step, int first, int j) {
    constexpr int count = Columns<K, T>::count;
    Vec<T> sums[V][R] = {};
    for (int64_t d = 0; d < dim_; d += count) {
      const T* factors = queries_ + first * dim_ + d;
      if (first == 0) {
        const int64_t from = V * W * d / dim_, to = V * W * (d + count) / dim_;
        fetch(call_.key, dim_, next_ + from, to - from);
        fetch(call_.value, value_dim_, next_ + from, to - from);
      }
      for (int v = 0; v < V; ++v) {
        Vec<T> columns[count];
        Columns<K, T>::load(keys + v * W * step + d, step, columns);
        if (d + count <= dim_) {
          for (int i = 0; i < count; ++i) {
            for (int r = 0; r < R; ++r) {
              sums[v][r] = fma_(splat(factors[r * dim_ + i]), columns[i], sums[v][r]);
            }
          }
        } else {
          for (int i = 0; i < dim_ - d; ++i) {
            for (int r = 0; r < R; ++r) {
              sums[v][r] = fma_(splat(factors[r * dim_ + i]), columns[i], sums[v][r]);
            }
          }
        }
      }
    }
    for (int v = 0; v < V; ++v) {
      for (int r = 0; r < R; ++r) {
        store(scores_ + (first + r) * kBlockKv + j + v * W, sums[v][r]);
      }
    }
  }

  // The bits at which the bias of a row is not -inf; biases_ of the row gets it.
  uint64_t read_bias_of(int r, int64_t start, int n) {
    uint64_t bits[kBlockKv];
    std::fill(bits, bits + n, uint64_t(1));
    read_bias<T>(call_.bias, b_, head(r), query(r), start, 1, n, bias_room_, bits);
    uint64_t allowed = 0;
    for (int j = 0; j < n; ++j) {
      biases_[r * kBlockKv + j] = bias_room_[j * kGroup<T>];
      allowed |= bits[j] << j;
    }
    return allowed;
  }

  // Turn the scores of a row, which begin at key ``low`` of the block, into weights.
  void weigh(int r, int64_t start, int low, int high) {
    Row& row = rows_[r];
    T* scores = scores_ + r * kBlockKv;
    const int n = high - low;
    const uint64_t bits = row.bits >> low;
    const Vec<T> lowest = splat(-std::numeric_limits<T>::infinity());
    if (call_.bias) {
      for (int j = 0; j < n; ++j) scores[j] += biases_[r * kBlockKv + low + j];
    }
    const uint64_t lanes = (uint64_t(1) << W) - 1;
    if (!bits) {
      std::fill(scores, scores + n, T(0));
      return;
    }
    Vec<T> highest = lowest;
    for (int j = 0; j < n; j += W) {
      highest = max_(where_seen(bits >> j & lanes, load(scores + j), lowest), highest);
    }
    T peak = highest[0];
    for (int i = 1; i < W; ++i) peak = highest[i] > peak ? highest[i] : peak;
    if (peak > row.peak + T(kLag)) raise(r, peak);

    const Vec<T> base = splat(row.peak == -std::numeric_limits<T>::infinity() ? T(0) : row.peak);
    for (int j = 0; j < n; j += W) {
      const Vec<T> x = exp2_from<T>(load(scores + j), base);
      store(scores + j, where_seen(bits >> j & lanes, x, Vec<T>{}));
    }
    T total = row.total;
    for (int j = 0; j < n; ++j) total += scores[j];
    row.total = total;
    if (!row.dropout.on()) return;
    for (int j = 0; j < n; ++j) {
      T factor;
      row.dropout.factors(start + low + j, 0, 1, &factor);
      scores[j] *= factor;
    }
  }

  static INLINE Vec<T> where_seen(uint64_t bits, Vec<T> x, Vec<T> otherwise) {
    return bits == (uint64_t(1) << W) - 1 ? x : where_allowed<T>(bits, 0, x, otherwise);
  }

  void raise(int r, T peak) {
    Row& row = rows_[r];
    const Vec<T> now = nearest(splat(peak));
    const Vec<T> factor = power_of_two<T>(splat(row.peak) - now);
    row.peak = now[0];
    row.total *= factor[0];
    for (int64_t d = 0; d < width_; d += W) {
      store(sums_ + r * width_ + d, load(sums_ + r * width_ + d) * factor);
    }
  }

  void add_values(int64_t start, int n, int first, int count, bool mixed, int low) {
    const S* values = call_.value.at<S>(b_, kv_head_, start);
    const int64_t step = call_.value.row;
    if (width_ == value_dim_ && !(mixed && !rows_finite(values, step, n))) {
      // A few keys at a time, so that each is in the nearest cache for all rows.
      constexpr int kSome = 16;
      for (int j = 0; j < n; j += kSome) {
        for (int r = first; r < first + count; ++r) {
          flat_product<T>(width_ / W, 1, scores_ + r * kBlockKv + j, kBlockKv, 1,
                          values + j * step, step, sums_ + r * width_, width_,
                          std::min(kSome, n - j), true);
        }
      }
      return;
    }
    int taken[kBlockKv], number = 0;  // rows with NaN or Inf, which a row may be forbidden to see
    for (int j = 0; j < n; ++j) {
      T* row = value_room_ + j * width_;
      read_row(values + j * step, row, value_dim_);
      if (mixed && !all_finite(row, value_dim_)) taken[number++] = j;
      std::fill(row + (number && taken[number - 1] == j ? 0 : value_dim_), row + width_, T(0));
    }
    flat_product<T>(width_ / W, count, scores_ + first * kBlockKv, kBlockKv, 1, value_room_, width_,
                    sums_ + first * width_, width_, n, true);
    for (int t = 0; t < number; ++t) {
      for (int r = first; r < first + count; ++r) {
        if (!(rows_[r].bits >> (low + taken[t]) & 1)) continue;
        const T weight = scores_[r * kBlockKv + taken[t]];
        for (int64_t d = 0; d < value_dim_; ++d) {
          sums_[r * width_ + d] += weight * widen(values[taken[t] * step + d]);
        }
      }
    }
  }

  bool rows_finite(const S* values, int64_t step, int n) const {
    Vec<T> sum{};
    for (int j = 0; j < n; ++j) {
      for (int64_t d = 0; d < width_; d += W) sum += load_wide(values + j * step + d) * T(0);
    }
    return !any(sum != Vec<T>{});
  }

  void finish() {
    for (int r = 0; r < count_; ++r) {
      Row& row = rows_[r];
      const int64_t at = (b_ * call_.sizes.heads + head(r)) * call_.sizes.q_len + query(r);
      if (row.total == 0 && sees_anything(call_, b_, head(r), query(r))) {
        row.total = std::numeric_limits<T>::quiet_NaN();
      }
      const T factor = inverse(row.total);
      put_stats(call_, at, row.peak, row.total);
      for (int64_t d = 0; d < value_dim_; ++d) sums_[r * width_ + d] *= factor;
      write_row(sums_ + r * width_, call_.out.at<S>(b_, head(r), query(r)), value_dim_);
    }
  }

  const Forward& call_;
  const int64_t dim_, value_dim_, width_;
  const int count_;
  Scratch<T> scratch_;
  T *queries_, *sums_, *scores_, *biases_, *key_room_, *value_room_, *bias_room_;
  S* copy_;
  std::vector<Row> rows_;
  int64_t b_ = 0, kv_head_ = 0, next_ = 0;
};

INLINE bool is_decode(const Sizes& sizes) {
  return sizes.q_len <= kFewQueries && sizes.q_len * sizes.group() <= kFewRows;
}

template <class S, class T>
void decode(const Forward& call) {
  const Sizes& sizes = call.sizes;
  const int64_t tasks = sizes.batch * sizes.kv_heads;
  share_among<DecodeWorker<S, T>>(call, tasks, [&](auto& worker, int64_t task) {
    worker.run(task / sizes.kv_heads, task % sizes.kv_heads);
  });
}

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
