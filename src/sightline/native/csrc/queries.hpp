// A block of up to 96 queries on its way along the keys: what forward and backward pass share.
#pragma once

#include <limits>
#include <vector>

#include "extras.hpp"
#include "team.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {

// Queries taken at once: ``vectors`` vectors of lanes that begin at query ``first`` of the block.
struct Part {
  int first, count, vectors;
};

template <class T>
INLINE int vectors_for(int count) {
  return (count + kLanes<T> - 1) / kLanes<T>;
}

// Share out numbered tasks among threads; each makes itself a worker with its first task.
template <class Worker, class Call, class Work>
inline void share_among(const Call& call, int64_t tasks, const Work& work) {
  std::vector<std::unique_ptr<Worker>> workers(size_t(std::max(call.threads, 1)));
  share_out(tasks, call.threads, [&](int64_t task, int worker) {
    auto& mine = workers[size_t(worker)];
    if (!mine) mine = std::make_unique<Worker>(call);
    work(*mine, task);
  });
}

// Where the lanes of a part begin in an array of groups [group][rows][kGroup].
template <class T>
INLINE int64_t lanes_at(const Part& part, int64_t rows) {
  return int64_t(part.first / kGroup<T>) * kGroup<T> * rows + part.first % kGroup<T>;
}

// The keys that vectors ``from`` to before ``to`` of a group see: [low, high), empty if none.
template <class T>
INLINE void range_of(const Pairs& pairs, int from, int to, int& low, int& high) {
  const uint64_t lanes = ((uint64_t(1) << ((to - from) * kLanes<T>)) - 1) << (from * kLanes<T>);
  low = pairs.low, high = pairs.high;
  while (high > low && !(pairs.bits[high - 1] & lanes)) --high;
  while (low < high && !(pairs.bits[low] & lanes)) ++low;
}

// How many vectors from ``from`` on are best taken together: all that see much the same keys, as
// up to where one document ends and another begins. Fewer lanes at a time are less efficient, so a
// group is cut only where that saves a quarter of the work.
template <class T>
INLINE int alike(const Part& part, const Pairs& pairs, int from) {
  int low, high, total = 0, to = from;
  for (; to < part.vectors; ++to) {
    range_of<T>(pairs, to, to + 1, low, high);
    total += high - low;
    range_of<T>(pairs, from, to + 1, low, high);
    if (4 * total < 3 * (to + 1 - from) * (high - low)) break;
  }
  return std::max(to - from, 1);
}

// Call visit(part, pairs) for the groups of a tile in which there is anything to do.
//
// ``live`` has a bit for each query that takes part (null: all do); ``bias_room`` gets the bias of
// each group if there is one.
template <class T, class Visit>
inline void visit_parts(const Problem& problem, int64_t b, int64_t h, int64_t q_block, int count,
                        int64_t block, int32_t pattern, const bool* live, T* bias_room,
                        const Visit& visit) {
  const int keys = int(std::min<int64_t>(kBlockKv, problem.sizes.kv_len - block * kBlockKv));
  Pairs pairs;
  for (int first = 0; first < count; first += kGroup<T>) {
    const int here = std::min(kGroup<T>, count - first);
    const Part part{first, here, vectors_for<T>(here)};
    uint64_t everyone = (uint64_t(1) << here) - 1, living = everyone;
    if (live) {
      for (int i = 0; i < here; ++i) {
        if (!live[first + i]) living &= ~(uint64_t(1) << i);
      }
    }
    if (pattern < 0 && !problem.bias && living == everyone) {
      pairs.low = 0, pairs.high = keys, pairs.mixed = false;
      visit(part, pairs);
      continue;
    }
    if (pattern < 0) {
      std::fill(pairs.bits, pairs.bits + keys, living);
    } else {
      read_bits(*problem.plan, pattern, first, living, keys, pairs);
    }
    if (problem.bias) {
      if (here < kGroup<T>) std::fill(bias_room, bias_room + keys * kGroup<T>, T(0));
      read_bias<T>(problem.bias, b, h, q_block * kBlockQ + first, block * kBlockKv, here, keys,
                   bias_room, pairs.bits);
    }
    pairs.sum_up(keys, everyone);
    if (pairs.low == pairs.high) continue;
    const int whole = pairs.mixed ? alike<T>(part, pairs, 0) : part.vectors;
    if (whole == part.vectors) {
      visit(part, pairs);
      continue;
    }
    for (int from = 0, some = whole; from < part.vectors; from += some) {
      some = alike<T>(part, pairs, from);
      const int lane = from * kLanes<T>, lanes = std::min(some * kLanes<T>, here - lane);
      Pairs cut;
      for (int j = 0; j < keys; ++j) {
        cut.bits[j] = pairs.bits[j] >> lane & ((uint64_t(1) << lanes) - 1);
      }
      cut.sum_up(keys, (uint64_t(1) << lanes) - 1);
      if (cut.low < cut.high) visit(Part{first + lane, lanes, some}, cut);
    }
  }
}

// The scores of a part, times log2(e), as [64][kGroup] with the part's lanes in front.
template <class T>
INLINE void score(const Problem& problem, const Part& part, const Pairs& pairs, const T* keys,
                  const T* queries, const T* bias, T* scores) {
  constexpr int G = kGroup<T>, W = kLanes<T>;
  const int64_t dim = problem.sizes.head_dim;
  product<T>(part.vectors, pairs.high - pairs.low, keys + pairs.low * dim, dim, 1,
             queries + lanes_at<T>(part, dim), G, scores + pairs.low * G, G, dim, false);
  if (!problem.bias) return;
  bias += part.first % G;
  for (int j = pairs.low; j < pairs.high; ++j) {
    for (int c = 0; c < part.vectors; ++c) {
      T* here = scores + j * G + c * W;
      store(here, load(here) + load(bias + j * G + c * W));
    }
  }
}

// x where the pair counts, else ``otherwise``; c is the vector of lanes.
template <class T>
INLINE Vec<T> where_allowed(uint64_t bits, int c, Vec<T> x, Vec<T> otherwise) {
  return lanes_of<T>(uint32_t(bits >> (c * kLanes<T>))) ? x : otherwise;
}

// Add factor * row to the lanes that may see a row which was taken out of a product.
template <class T>
inline void add_taken_out(const Quarantine<T>& taken, const T* rows, int64_t dim,
                          const Pairs& pairs, const T* weights, T* sums) {
  constexpr int G = kGroup<T>;
  for (int n = 0; n < taken.count; ++n) {
    const int j = taken.row[n];
    if (j < pairs.low || j >= pairs.high) continue;
    for (uint64_t left = pairs.bits[j]; left; left &= left - 1) {
      const int lane = __builtin_ctzll(left);
      for (int64_t d = 0; d < dim; ++d) {
        sums[d * G + lane] += weights[j * G + lane] * rows[j * dim + d];
      }
    }
  }
}

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
