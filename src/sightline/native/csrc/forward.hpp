// Attention itself: for each block of queries along its runs of keys, with softmax on the way.
#pragma once

#include <cmath>

#include "queries.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

// The reference maximum may lag behind the largest score by so many powers of two before sums are
// rescaled. Rescaling is exact; this only spares it.
constexpr int kLag = 8;

template <class T>
INLINE T inverse(T total) {
  return total == T(0) ? T(0) : T(1) / total;
}

// Write what a row leaves behind: 1 <= total < 2, whatever its peak was, so that equal rows have
// equal bits. Not so where the peak is so large that steps of 1 are lost in it.
template <class T>
INLINE void put_stats(const Forward& call, int64_t row, T peak, T total) {
  if (total > 0 && total <= std::numeric_limits<T>::max()) {
    const int power = std::ilogb(total);
    const T moved = peak + T(power);
    if (moved - peak == T(power)) peak = moved, total = std::scalbn(total, -power);
  }
  if (T* stats = static_cast<T*>(call.stats)) stats[2 * row] = peak, stats[2 * row + 1] = total;
  if (T* lse = static_cast<T*>(call.lse)) {
    lse[row] = T((double(peak) + std::log2(double(total))) * kLn2);
  }
}

template <class S, class T>
class ForwardWorker {
 public:
  explicit ForwardWorker(const Forward& call)
      : call_(call),
        dim_(call.sizes.head_dim),
        value_dim_(call.sizes.value_dim),
        width_(padded<T>(std::max(dim_, value_dim_))),
        scratch_(kBlockQ * (2 * width_ + dim_ + value_dim_ + 2) +
                 kBlockKv * (dim_ + 2 * value_dim_ + 2 * kGroup<T>) + 12 * 16),
        rows_(scratch_.take(kBlockQ * width_)),
        queries_(scratch_.take(kBlockQ * dim_)),
        sums_(scratch_.take(kBlockQ * value_dim_)),
        peaks_(scratch_.take(kBlockQ)),
        totals_(scratch_.take(kBlockQ)),
        scores_(scratch_.take(kBlockKv * kGroup<T>)),
        bias_(scratch_.take(kBlockKv * kGroup<T>)),
        key_room_(scratch_.take(kBlockKv * dim_)),
        value_room_(scratch_.take(kBlockKv * value_dim_)),
        clean_room_(scratch_.take(kBlockKv * value_dim_)),
        dropout_(call.dropout, call.seed) {}

  void run(int64_t b, int64_t h, int64_t q_block) {
    b_ = b, h_ = h, q_block_ = q_block;
    count_ = int(std::min<int64_t>(kBlockQ, call_.sizes.q_len - q_block * kBlockQ));
    begin();
    const Plan& plan = *call_.plan;
    for (const Run* run = plan.begin(b, h, q_block); run != plan.end(b, h, q_block); ++run) {
      for (int64_t block = run->first; block <= run->last; ++block) tile(block, run->pattern);
    }
    finish();
  }

 private:
  static constexpr int G = kGroup<T>, W = kLanes<T>;

  void begin() {
    const int64_t lanes = padded<T>(count_);
    const T factor = T(call_.scale * kLog2E);
    if (const T* whole = whole_rows<S, T>(call_.query, b_, h_, q_block_ * kBlockQ, count_, dim_)) {
      turn_rows(whole, call_.query.row, dim_, lanes, factor, queries_);
    } else {
      read_rows<S>(call_.query, b_, h_, q_block_ * kBlockQ, count_, dim_, rows_, width_);
      std::fill(rows_ + count_ * width_, rows_ + lanes * width_, T(0));
      turn_rows(rows_, width_, dim_, lanes, factor, queries_);
    }
    std::fill(sums_, sums_ + kBlockQ * value_dim_, T(0));
    std::fill(peaks_, peaks_ + kBlockQ, -std::numeric_limits<T>::infinity());
    std::fill(totals_, totals_ + kBlockQ, T(0));
    if (dropout_.on()) dropout_.start(b_, h_, q_block_ * kBlockQ, count_);
  }

  void tile(int64_t block, int32_t pattern) {
    const int64_t kv_head = h_ / call_.sizes.group(), start = block * kBlockKv;
    const int64_t n = std::min<int64_t>(kBlockKv, call_.sizes.kv_len - start);
    const T* keys = key_rows<S>(call_.key, b_, kv_head, start, n, dim_, key_room_);
    const T* values = key_rows<S>(call_.value, b_, kv_head, start, n, value_dim_, value_room_);
    Quarantine<T> taken;
    bool looked = false;
    visit_parts<T>(call_, b_, h_, q_block_, count_, block, pattern, nullptr, bias_,
                   [&](const Part& part, const Pairs& pairs) {
                     if (pairs.mixed && !looked) {
                       taken.take_out(values, n, value_dim_, clean_room_, looked_,
                                      b_ * call_.sizes.kv_heads + kv_head, block);
                       looked = true;
                     }
                     score<T>(call_, part, pairs, keys, queries_, bias_, scores_);
                     weigh(part, pairs);
                     if (dropout_.on()) drop(part, pairs, start);
                     add_values(part, pairs, values, pairs.mixed ? &taken : nullptr);
                   });
  }

  void weigh(const Part& part, const Pairs& pairs) {
    if (part.vectors == 3) {
      weigh<3>(part, pairs);
    } else if (part.vectors == 2) {
      weigh<2>(part, pairs);
    } else {
      weigh<1>(part, pairs);
    }
  }

  // Turn scores into 2^(score - peak) and add them up.
  template <int C>
  void weigh(const Part& part, const Pairs& pairs) {
    const Vec<T> lowest = splat(-std::numeric_limits<T>::infinity());
    Vec<T> highest[C];
    for (int c = 0; c < C; ++c) highest[c] = lowest;
    for (int j = pairs.low; j < pairs.high; ++j) {
      const bool some = pairs.mixed && pairs.bits[j] != pairs.everyone;
      for (int c = 0; c < C; ++c) {
        Vec<T> x = load(scores_ + j * G + c * W);
        if (some) x = where_allowed<T>(pairs.bits[j], c, x, lowest);
        highest[c] = max_(x, highest[c]);
      }
    }
    T* peaks = peaks_ + part.first;
    bool rises = false;
    for (int c = 0; c < C; ++c) rises |= any(highest[c] > load(peaks + c * W) + T(kLag));
    if (rises) raise<C>(part, highest);

    Vec<T> base[C], total[C];
    for (int c = 0; c < C; ++c) {
      base[c] = load(peaks + c * W);
      base[c] = base[c] == lowest ? Vec<T>{} : base[c];
      total[c] = load(totals_ + part.first + c * W);
    }
    for (int j = pairs.low; j < pairs.high; ++j) {
      const bool some = pairs.mixed && pairs.bits[j] != pairs.everyone;
      for (int c = 0; c < C; ++c) {
        T* here = scores_ + j * G + c * W;
        Vec<T> x = exp2_from<T>(load(here), base[c]);
        if (some) x = where_allowed<T>(pairs.bits[j], c, x, Vec<T>{});
        store(here, x);
        total[c] += x;
      }
    }
    for (int c = 0; c < C; ++c) store(totals_ + part.first + c * W, total[c]);
  }

  // Move the peaks of a part up to its highest scores and rescale its sums: by powers of two.
  template <int C>
  void raise(const Part& part, const Vec<T>* highest) {
    T* sums = sums_ + lanes_at<T>(part, value_dim_);
    Vec<T> factor[C];
    for (int c = 0; c < C; ++c) {
      T* peak = peaks_ + part.first + c * W;
      T* total = totals_ + part.first + c * W;
      const Vec<T> old = load(peak);
      const Ints<T> rises = highest[c] > old + T(kLag);
      const Vec<T> now = rises ? nearest(highest[c]) : old;
      factor[c] = rises ? power_of_two<T>(old - now) : splat(T(1));
      store(peak, now);
      store(total, load(total) * factor[c]);
    }
    for (int64_t d = 0; d < value_dim_; ++d) {
      for (int c = 0; c < C; ++c) {
        T* here = sums + d * G + c * W;
        store(here, load(here) * factor[c]);
      }
    }
  }

  void drop(const Part& part, const Pairs& pairs, int64_t start) {
    T factors[G];
    for (int j = pairs.low; j < pairs.high; ++j) {
      dropout_.factors<T>(start + j, part.first, part.count, factors);
      for (int i = 0; i < part.count; ++i) scores_[j * G + i] *= factors[i];
    }
  }

  void add_values(const Part& part, const Pairs& pairs, const T* values,
                  const Quarantine<T>* taken) {
    T* sums = sums_ + lanes_at<T>(part, value_dim_);
    const T* clean = taken ? taken->rows : values;
    product<T>(part.vectors, value_dim_, clean + pairs.low * value_dim_, 1, value_dim_,
               scores_ + pairs.low * G, G, sums, G, pairs.high - pairs.low, true);
    if (taken) add_taken_out(*taken, values, value_dim_, pairs, scores_, sums);
  }

  void finish() {
    const int64_t row = (b_ * call_.sizes.heads + h_) * call_.sizes.q_len + q_block_ * kBlockQ;
    for (int i = 0; i < count_; ++i) {
      const int64_t query = q_block_ * kBlockQ + i;
      if (totals_[i] == 0 && sees_anything(call_, b_, h_, query)) {
        totals_[i] = std::numeric_limits<T>::quiet_NaN();
      }
      put_stats(call_, row + i, peaks_[i], totals_[i]);
      totals_[i] = inverse(totals_[i]);
    }
    for (int first = 0; first < count_; first += G) {
      write_group<S>(sums_ + int64_t(first / G) * G * value_dim_, totals_ + first, value_dim_,
                     std::min(G, count_ - first), rows_, call_.out, b_, h_,
                     q_block_ * kBlockQ + first);
    }
  }

  const Forward& call_;
  const int64_t dim_, value_dim_, width_;
  Scratch<T> scratch_;
  T *rows_, *queries_, *sums_, *peaks_, *totals_, *scores_, *bias_, *key_room_, *value_room_,
      *clean_room_;
  Dropout dropout_;
  Looked looked_;
  int64_t b_ = 0, h_ = 0, q_block_ = 0;
  int count_ = 0;
};

template <class S, class T>
void forward(const Forward& call) {
  const Sizes& sizes = call.sizes;
  const int64_t q_blocks = call.plan->q_blocks, tasks = sizes.batch * sizes.heads * q_blocks;
  share_among<ForwardWorker<S, T>>(call, tasks, [&](auto& worker, int64_t task) {
    // The last queries come first: under a causal mask they take longest.
    const int64_t row = task / q_blocks;
    worker.run(row / sizes.heads, row % sizes.heads, q_blocks - 1 - task % q_blocks);
  });
}

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
