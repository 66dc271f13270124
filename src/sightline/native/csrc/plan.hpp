// The plan of a mask: which blocks of keys each block of queries sees, and the bits of mixed blocks.
#pragma once

#include <cstdint>
#include <vector>

namespace sightline {

constexpr int kBlockQ = 96;   // a multiple of the queries that every instruction set takes at once
constexpr int kBlockKv = 64;  // one word of bits
constexpr int kColumnBytes = 16;

// Key blocks first .. last of one query block; pattern -1 if every pair in them is allowed.
struct Run {
  int32_t first, last, pattern;
};

// The arrays of sightline.plan.BlockMap, checked and laid out for the kernels.
class Plan {
 public:
  Plan(int64_t q_len, int64_t kv_len, int64_t batch, int64_t heads,
       std::vector<int64_t> row_start, std::vector<Run> runs, std::vector<uint64_t> words);

  int64_t q_len, kv_len, batch, heads, q_blocks, kv_blocks;

  const Run* begin(int64_t b, int64_t h, int64_t q_block) const {
    return runs_.data() + row_start_[row(b, h, q_block)];
  }
  const Run* end(int64_t b, int64_t h, int64_t q_block) const {
    return runs_.data() + row_start_[row(b, h, q_block) + 1];
  }

  // Bits over the 96 queries of key ``j`` of a pattern, 12 bytes and 4 of padding.
  const uint8_t* column(int32_t pattern, int j) const {
    return columns_.data() + (int64_t(pattern) * kBlockKv + j) * kColumnBytes;
  }
  // Bits over the 64 keys of query ``i`` of a pattern.
  uint64_t word(int32_t pattern, int i) const { return words_[int64_t(pattern) * kBlockQ + i]; }

  int64_t nbytes() const;

 private:
  int64_t row(int64_t b, int64_t h, int64_t q_block) const {
    return ((batch > 1 ? b : 0) * heads + (heads > 1 ? h : 0)) * q_blocks + q_block;
  }
  void check() const;

  std::vector<int64_t> row_start_;
  std::vector<Run> runs_;
  std::vector<uint64_t> words_;
  std::vector<uint8_t> columns_;
};

}  // namespace sightline
