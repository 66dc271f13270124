#include "plan.hpp"

#include <limits>
#include <stdexcept>
#include <string>

namespace sightline {

Plan::Plan(int64_t q_len_, int64_t kv_len_, int64_t batch_, int64_t heads_,
           std::vector<int64_t> row_start, std::vector<Run> runs, std::vector<uint64_t> words)
    : q_len(q_len_),
      kv_len(kv_len_),
      batch(batch_),
      heads(heads_),
      q_blocks(q_len_ / kBlockQ + (q_len_ % kBlockQ > 0)),
      kv_blocks(kv_len_ / kBlockKv + (kv_len_ % kBlockKv > 0)),
      row_start_(std::move(row_start)),
      runs_(std::move(runs)),
      words_(std::move(words)),
      // 8 more bytes, as columns are read a word at a time.
      columns_(words_.size() / kBlockQ * kBlockKv * kColumnBytes + 8, 0) {
  check();
  for (size_t p = 0; p < words_.size() / kBlockQ; ++p) {
    for (int i = 0; i < kBlockQ; ++i) {
      for (uint64_t left = words_[p * kBlockQ + i]; left; left &= left - 1) {
        const int j = __builtin_ctzll(left);
        columns_[(p * kBlockKv + j) * kColumnBytes + i / 8] |= uint8_t(1u << (i % 8));
      }
    }
  }
}

void Plan::check() const {
  const auto refuse = [](const std::string& what) { throw std::invalid_argument(what); };
  if (q_len < 0 || kv_len < 0 || batch < 1 || heads < 1) refuse("Plan: sizes out of range");
  int64_t rows;
  if (__builtin_mul_overflow(batch, heads, &rows) ||
      __builtin_mul_overflow(rows, q_blocks, &rows) || rows == std::numeric_limits<int64_t>::max()) {
    refuse("Plan: sizes out of range");
  }
  if (int64_t(row_start_.size()) != rows + 1) {
    refuse("Plan: got " + std::to_string(row_start_.size()) + " row starts, wanted " +
           std::to_string(rows + 1));
  }
  if (row_start_.front() != 0 || row_start_.back() != int64_t(runs_.size())) {
    refuse("Plan: row_start must begin at 0 and end at the number of runs");
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (row_start_[r] > row_start_[r + 1]) refuse("Plan: row_start must not fall");
  }
  const int64_t pattern_count = int64_t(words_.size()) / kBlockQ;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t next = 0;
    for (int64_t i = row_start_[r]; i < row_start_[r + 1]; ++i) {
      const Run& run = runs_[i];
      if (run.first < next || run.last < run.first || run.last >= kv_blocks) {
        refuse("Plan: runs must rise, and stay within the key blocks");
      }
      if (run.pattern < -1 || run.pattern >= pattern_count) refuse("Plan: no such pattern");
      next = int64_t(run.last) + 1;
    }
  }
}

int64_t Plan::nbytes() const {
  return int64_t(row_start_.size() * sizeof(int64_t) + runs_.size() * sizeof(Run) +
                 words_.size() * sizeof(uint64_t) + columns_.size());
}

}  // namespace sightline
