// Gradients of attention: weights are computed anew, block by block, from the forward pass' maxima
// and sums, so they are the same to the last bit.
#pragma once

#include <cmath>
#include <vector>

#include "queries.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

// Which gradients a pass over the blocks is for.
struct Wanted {
  bool query, key, value;
};

// Sums over queries, one row a key: in the result itself where it is of the working type and its
// rows fill whole vectors, else in working memory, to be rounded once at the end.
template <class S, class T>
class KeySums {
 public:
  void start(const View& result, int64_t b, int64_t kv_head, int64_t from, int64_t to, int64_t dim) {
    view_ = result, b_ = b, head_ = kv_head, from_ = from, to_ = to, dim_ = dim;
    if (!result) return;
    direct_ = std::is_same_v<S, T> && dim % kLanes<T> == 0;
    step_ = direct_ ? result.row : padded<T>(dim);
    if (!direct_) room_.resize(size_t((to - from) * step_));
    for (int64_t key = from; key < to; ++key) std::fill(row(key), row(key) + padded<T>(dim), T(0));
  }

  T* row(int64_t key) {
    if constexpr (std::is_same_v<S, T>) {
      if (direct_) return view_.at<T>(b_, head_, key);
    }
    return room_.data() + (key - from_) * step_;
  }
  int64_t step() const { return step_; }

  // Make of -0, which products too small for a number leave, 0; round what is not yet in place.
  void finish() {
    if (!view_) return;
    for (int64_t key = from_; key < to_; ++key) {
      T* sums = row(key);
      if (direct_) {
        for (int64_t d = 0; d < dim_; ++d) sums[d] += T(0);
      } else {
        write_row(sums, view_.at<S>(b_, head_, key), dim_);
      }
    }
  }

 private:
  View view_;
  std::vector<T> room_;
  bool direct_ = false;
  int64_t b_ = 0, head_ = 0, from_ = 0, to_ = 0, dim_ = 0, step_ = 0;
};

template <class S, class T>
class BackwardWorker {
 public:
  explicit BackwardWorker(const Backward& call)
      : call_(call),
        dim_(call.sizes.head_dim),
        value_dim_(call.sizes.value_dim),
        width_(padded<T>(dim_)),
        value_width_(padded<T>(value_dim_)),
        scratch_(kBlockQ * (2 * width_ + 3 * value_width_ + 2 * dim_ + value_dim_ + 3) +
                 kBlockKv * (2 * dim_ + value_dim_ + 3 * kGroup<T>) +
                 kLanes<T> * width_ + 24 * 16),
        rows_(scratch_.take(kBlockQ * width_)),
        clean_rows_(scratch_.take(kBlockQ * width_)),
        grad_rows_(scratch_.take(kBlockQ * value_width_)),
        clean_grad_rows_(scratch_.take(kBlockQ * value_width_)),
        out_rows_(scratch_.take(kBlockQ * value_width_)),
        queries_(scratch_.take(kBlockQ * dim_)),
        grad_outs_(scratch_.take(kBlockQ * value_dim_)),
        sums_(scratch_.take(kBlockQ * dim_)),
        peaks_(scratch_.take(kBlockQ)),
        inverses_(scratch_.take(kBlockQ)),
        deltas_(scratch_.take(kBlockQ)),
        weights_(scratch_.take(kBlockKv * kGroup<T>)),
        grads_(scratch_.take(kBlockKv * kGroup<T>)),
        bias_(scratch_.take(kBlockKv * kGroup<T>)),
        key_room_(scratch_.take(kBlockKv * dim_)),
        clean_keys_(scratch_.take(kBlockKv * dim_)),
        value_room_(scratch_.take(kBlockKv * value_dim_)),
        write_room_(scratch_.take(kLanes<T> * width_)),
        dropout_(call.dropout, call.seed) {}

  // All query heads of a key/value head, along the keys from block ``from`` to before ``to``.
  void run_keys(int64_t b, int64_t kv_head, int64_t from, int64_t to, Wanted wanted) {
    const int64_t last = std::min(to * kBlockKv, call_.sizes.kv_len);
    key_sums_.start(wanted.key ? call_.grad_key : View{}, b, kv_head, from * kBlockKv, last, dim_);
    value_sums_.start(wanted.value ? call_.grad_value : View{}, b, kv_head, from * kBlockKv, last,
                      value_dim_);
    const int64_t group = call_.sizes.group();
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      for (int64_t q = 0; q < call_.plan->q_blocks; ++q) run_queries(b, h, q, from, to, wanted);
    }
    key_sums_.finish();
    value_sums_.finish();
  }

  // One block of queries along the keys from block ``from`` to before ``to``.
  void run_queries(int64_t b, int64_t h, int64_t q_block, int64_t from, int64_t to, Wanted wanted) {
    b_ = b, h_ = h, q_block_ = q_block, wanted_ = wanted;
    count_ = int(std::min<int64_t>(kBlockQ, call_.sizes.q_len - q_block * kBlockQ));
    begin();
    if (alive_ > 0) {
      const Plan& plan = *call_.plan;
      for (const Run* run = plan.begin(b, h, q_block); run != plan.end(b, h, q_block); ++run) {
        const int64_t first = std::max<int64_t>(run->first, from);
        const int64_t last = std::min<int64_t>(run->last, to - 1);
        for (int64_t block = first; block <= last; ++block) tile(block, run->pattern);
      }
    }
    if (!wanted.query) return;
    std::fill(inverses_, inverses_ + kBlockQ, T(call_.scale));
    for (int at = 0; at < count_; at += G) {
      write_group<S>(sums_ + int64_t(at / G) * G * dim_, inverses_ + at, dim_,
                     std::min(G, count_ - at), write_room_, call_.grad_query, b_, h_,
                     q_block_ * kBlockQ + at);
    }
  }

 private:
  static constexpr int G = kGroup<T>, W = kLanes<T>;

  void begin() {
    const int64_t start = q_block_ * kBlockQ, lanes = padded<T>(count_);
    const int64_t row = (b_ * call_.sizes.heads + h_) * call_.sizes.q_len + start;
    read_rows<S>(call_.grad_out, b_, h_, start, count_, value_dim_, grad_rows_, value_width_);
    find_living(static_cast<const T*>(call_.grad_lse), row);
    std::fill(sums_, sums_ + kBlockQ * dim_, T(0));
    looked_at_rows_ = false;
    if (alive_ == 0) return;

    read_rows<S>(call_.out, b_, h_, start, count_, value_dim_, out_rows_, value_width_);
    read_rows<S>(call_.query, b_, h_, start, count_, dim_, rows_, width_);
    const T* stats = static_cast<const T*>(call_.stats) + 2 * row;
    for (int i = 0; i < kBlockQ; ++i) {
      const bool counts = i < count_ && live_[i] && stats[2 * i + 1] != T(0);
      peaks_[i] = counts ? stats[2 * i] : T(0);
      inverses_[i] = counts ? T(1) / stats[2 * i + 1] : T(0);
      deltas_[i] = counts ? delta(i, row) : T(0);
      if (i < lanes && (i >= count_ || !live_[i])) {  // what a row holds that passes nothing on
        std::fill(rows_ + i * width_, rows_ + (i + 1) * width_, T(0));
        std::fill(grad_rows_ + i * value_width_, grad_rows_ + (i + 1) * value_width_, T(0));
      }
    }
    turn_rows(rows_, width_, dim_, lanes, T(call_.scale * kLog2E), queries_);
    turn_rows(grad_rows_, value_width_, value_dim_, lanes, T(1), grad_outs_);
    for (int64_t i = 0; i < lanes * width_; ++i) rows_[i] *= T(call_.scale);
    if (dropout_.on()) dropout_.start(b_, h_, start, count_);
  }

  // A row on whose output and logsumexp the loss does not depend passes nothing on.
  void find_living(const T* grad_lse, int64_t row) {
    alive_ = 0;
    for (int i = 0; i < count_; ++i) {
      Ints<T> moving{};
      for (int64_t d = 0; d < value_width_; d += W) {
        moving |= load(grad_rows_ + i * value_width_ + d) != Vec<T>{};
      }
      live_[i] = any(moving) || (grad_lse && grad_lse[row + i] != T(0));
      alive_ += live_[i];
    }
  }

  // What the gradients of a row's weights have in common: grad_out . out - grad_lse.
  T delta(int i, int64_t row) const {
    Vec<T> sums{};
    for (int64_t d = 0; d < value_width_; d += W) {
      const int64_t at = i * value_width_ + d;
      sums = fma_(load(grad_rows_ + at), load(out_rows_ + at), sums);
    }
    T sum = 0;
    for (int lane = 0; lane < W; ++lane) sum += sums[lane];
    const T* grad_lse = static_cast<const T*>(call_.grad_lse);
    return grad_lse ? sum - grad_lse[row + i] : sum;
  }

  void tile(int64_t block, int32_t pattern) {
    const int64_t kv_head = h_ / call_.sizes.group(), start = block * kBlockKv;
    const int64_t n = std::min<int64_t>(kBlockKv, call_.sizes.kv_len - start);
    const T* keys = key_rows<S>(call_.key, b_, kv_head, start, n, dim_, key_room_);
    const T* values = key_rows<S>(call_.value, b_, kv_head, start, n, value_dim_, value_room_);
    bool looked = false;
    visit_parts<T>(call_, b_, h_, q_block_, count_, block, pattern,
                   alive_ < count_ ? live_ : nullptr, bias_,
                   [&](const Part& part, const Pairs& pairs) {
                     if (pairs.mixed && !looked) {
                       taken_keys_.take_out(keys, n, dim_, clean_keys_, looked_,
                                            b_ * call_.sizes.kv_heads + kv_head, block);
                       looked = true;
                     }
                     if (pairs.mixed) look_at_rows();
                     weigh(part, pairs, keys, values, start);
                     if (call_.grad_bias) add_to_bias(part, pairs, start);
                     if (wanted_.query) add_to_query(part, pairs, keys);
                     if (wanted_.value) {
                       add_to_keys(part, pairs, weights_, grad_rows_, taken_grads_, value_width_,
                                   value_dim_, value_sums_, start);
                     }
                     if (wanted_.key) {
                       add_to_keys(part, pairs, grads_, rows_, taken_rows_, width_, dim_, key_sums_,
                                   start);
                     }
                   });
  }

  void look_at_rows() {
    if (looked_at_rows_) return;
    looked_at_rows_ = true;
    taken_rows_.take_out(rows_, count_, width_, dim_, clean_rows_);
    taken_grads_.take_out(grad_rows_, count_, value_width_, value_dim_, clean_grad_rows_);
  }

  // weights_ and grads_: the weights (as dropout leaves them) and the gradients of the scores.
  void weigh(const Part& part, const Pairs& pairs, const T* keys, const T* values, int64_t start) {
    score<T>(call_, part, pairs, keys, queries_, bias_, weights_);
    product<T>(part.vectors, pairs.high - pairs.low, values + pairs.low * value_dim_, value_dim_, 1,
               grad_outs_ + lanes_at<T>(part, value_dim_), G, grads_ + pairs.low * G, G, value_dim_,
               false);
    T factors[G];
    std::fill(factors, factors + G, T(1));
    for (int j = pairs.low; j < pairs.high; ++j) {
      if (dropout_.on()) dropout_.factors<T>(start + j, part.first, part.count, factors);
      const bool some = pairs.mixed && pairs.bits[j] != pairs.everyone;
      for (int c = 0; c < part.vectors; ++c) {
        T* weight = weights_ + j * G + c * W;
        T* grad = grads_ + j * G + c * W;
        const int at = part.first + c * W;
        const Vec<T> factor = load(factors + c * W);
        Vec<T> w = exp2_from<T>(load(weight), load(peaks_ + at)) * load(inverses_ + at);
        Vec<T> g = w * (load(grad) * factor - load(deltas_ + at));
        w *= factor;
        if (some) {
          w = where_allowed<T>(pairs.bits[j], c, w, Vec<T>{});
          g = where_allowed<T>(pairs.bits[j], c, g, Vec<T>{});
        }
        store(weight, w);
        store(grad, g);
      }
    }
  }

  void add_to_bias(const Part& part, const Pairs& pairs, int64_t start) {
    const Bias& bias = call_.grad_bias;
    T* corner = reinterpret_cast<T*>(bias.address) + b_ * bias.batch + h_ * bias.head +
                (q_block_ * kBlockQ + part.first) * bias.query + start * bias.key;
    for (int i = 0; i < part.count; ++i) {
      for (int j = pairs.low; j < pairs.high; ++j) {
        corner[i * bias.query + j * bias.key] += grads_[j * G + i];
      }
    }
  }

  void add_to_query(const Part& part, const Pairs& pairs, const T* keys) {
    T* sums = sums_ + lanes_at<T>(part, dim_);
    const T* clean = pairs.mixed ? taken_keys_.rows : keys;
    product<T>(part.vectors, dim_, clean + pairs.low * dim_, 1, dim_, grads_ + pairs.low * G, G,
               sums, G, pairs.high - pairs.low, true);
    if (pairs.mixed) add_taken_out(taken_keys_, keys, dim_, pairs, grads_, sums);
  }

  // sums[key] += sum over the part's queries of factors[key][query] * rows[query].
  void add_to_keys(const Part& part, const Pairs& pairs, const T* factors, const T* rows,
                   const Quarantine<T>& taken, int64_t width, int64_t dim, KeySums<S, T>& sums,
                   int64_t start) {
    const T* clean = pairs.mixed ? taken.rows : rows;
    T* first = sums.row(start + pairs.low);
    wide_product<T>(width / W, pairs.high - pairs.low, factors + pairs.low * G, G, 1,
                    clean + part.first * width, width, first, sums.step(), part.count, true);
    for (int n = 0; pairs.mixed && n < taken.count; ++n) {
      const int i = taken.row[n] - part.first;
      if (i < 0 || i >= part.count) continue;
      for (int j = pairs.low; j < pairs.high; ++j) {
        if (!(pairs.bits[j] >> i & 1)) continue;
        T* row = sums.row(start + j);
        for (int64_t d = 0; d < dim; ++d) {
          row[d] += factors[j * G + i] * rows[taken.row[n] * width + d];
        }
      }
    }
  }

  const Backward& call_;
  const int64_t dim_, value_dim_, width_, value_width_;
  Scratch<T> scratch_;
  T *rows_, *clean_rows_, *grad_rows_, *clean_grad_rows_, *out_rows_, *queries_, *grad_outs_,
      *sums_, *peaks_, *inverses_, *deltas_, *weights_, *grads_, *bias_, *key_room_, *clean_keys_,
      *value_room_, *write_room_;
  Dropout dropout_;
  KeySums<S, T> key_sums_, value_sums_;
  Looked looked_;
  Quarantine<T> taken_keys_{}, taken_rows_{}, taken_grads_{};
  bool live_[kBlockQ] = {}, looked_at_rows_ = false;
  Wanted wanted_{};
  int64_t b_ = 0, h_ = 0, q_block_ = 0;
  int count_ = 0, alive_ = 0;
};

// Keys that one task takes where there are too few heads for one task each.
constexpr int64_t kBlocksATask = 16;

// One pass over all blocks where there are enough heads to share out, each with its own keys.
// Otherwise two passes, which repeat some work: the gradients of the queries, shared out by
// blocks of queries, and those of keys and values, shared out by blocks of keys. Sums run in the
// same order both ways, so that their bits are the same.
template <class S, class T>
void backward(const Backward& call) {
  using Worker = BackwardWorker<S, T>;
  const Sizes& sizes = call.sizes;
  const int64_t kv_blocks = call.plan->kv_blocks, q_blocks = call.plan->q_blocks;
  const Wanted wanted{bool(call.grad_query), bool(call.grad_key), bool(call.grad_value)};
  const auto share = [&](int64_t tasks, const auto& work) {
    share_among<Worker>(call, tasks, work);
  };
  if (call.grad_bias) {
    // A task takes everything that is added to the same gradients of the bias.
    const int64_t batches = call.grad_bias.batch || sizes.batch == 1 ? sizes.batch : 1;
    const int64_t heads = call.grad_bias.head || sizes.kv_heads == 1 ? sizes.kv_heads : 1;
    return share(batches * heads, [&](Worker& worker, int64_t task) {
      const int64_t some = sizes.batch / batches, others = sizes.kv_heads / heads;
      for (int64_t b = task / heads * some; b < (task / heads + 1) * some; ++b) {
        for (int64_t h = task % heads * others; h < (task % heads + 1) * others; ++h) {
          worker.run_keys(b, h, 0, kv_blocks, wanted);
        }
      }
    });
  }
  const int64_t rows = sizes.batch * sizes.kv_heads;
  if (call.threads == 1 || rows >= 2 * call.threads) {
    return share(rows, [&](Worker& worker, int64_t task) {
      worker.run_keys(task / sizes.kv_heads, task % sizes.kv_heads, 0, kv_blocks, wanted);
    });
  }
  if (wanted.query) {
    share(sizes.batch * sizes.heads * q_blocks, [&](Worker& worker, int64_t task) {
      const int64_t row = task / q_blocks;
      worker.run_queries(row / sizes.heads, row % sizes.heads, task % q_blocks, 0, kv_blocks,
                         Wanted{true, false, false});
    });
  }
  if (!wanted.key && !wanted.value) return;
  const int64_t pieces = (kv_blocks + kBlocksATask - 1) / kBlocksATask;
  share(rows * pieces, [&](Worker& worker, int64_t task) {
    const int64_t row = task / pieces, from = task % pieces * kBlocksATask;
    worker.run_keys(row / sizes.kv_heads, row % sizes.kv_heads, from,
                    std::min(from + kBlocksATask, kv_blocks),
                    Wanted{false, wanted.key, wanted.value});
  });
}

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
