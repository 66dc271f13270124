// The Python module: arguments in, checked as far as they can be here; the rest is Python's part.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "dispatch.hpp"
#include "plan.hpp"

namespace nb = nanobind;
using namespace sightline;

namespace {

template <class T, size_t Axes>
using Array = nb::ndarray<const T, nb::ndim<Axes>, nb::c_contig, nb::device::cpu>;
using Strided = std::tuple<uint64_t, int64_t, int64_t, int64_t>;
using Biased = std::tuple<uint64_t, int, int64_t, int64_t, int64_t, int64_t>;
using Extents = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;

// Far more than there are; more would be mistaken sizes, for which no memory is to be had.
constexpr int64_t kMostDim = int64_t(1) << 20;
constexpr int kMostThreads = 1024;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

void make_plan(Plan* self, int64_t q_len, int64_t kv_len, int64_t batch, int64_t heads,
               const Array<int64_t, 1>& row_start, const Array<int32_t, 1>& first,
               const Array<int32_t, 1>& last, const Array<int32_t, 1>& pattern,
               const Array<uint64_t, 3>& patterns) {
  const size_t count = first.shape(0);
  if (last.shape(0) != count || pattern.shape(0) != count) refuse("Plan: runs of unequal number");
  const size_t height = patterns.shape(1);  // less than a block where there are fewer queries
  if (height > kBlockQ || patterns.shape(2) != 1) {
    refuse("Plan: patterns must be [n, 96, 1]; plan with block_q=96, block_kv=64");
  }
  std::vector<uint64_t> words(patterns.shape(0) * kBlockQ, 0);
  for (size_t p = 0; p < patterns.shape(0); ++p) {
    std::copy_n(patterns.data() + p * height, height, words.data() + p * kBlockQ);
  }
  std::vector<Run> runs(count);
  for (size_t i = 0; i < count; ++i) runs[i] = {first.data()[i], last.data()[i], pattern.data()[i]};
  new (self) Plan(q_len, kv_len, batch, heads,
                  std::vector<int64_t>(row_start.data(), row_start.data() + row_start.shape(0)),
                  std::move(runs), std::move(words));
}

View view_of(const Strided& given) {
  const auto& [address, batch, head, row] = given;
  return View{reinterpret_cast<char*>(address), batch, head, row};
}

View view_of(const std::optional<Strided>& given) { return given ? view_of(*given) : View{}; }

Dtype dtype_of(int code) {
  if (code < 0 || code > 3) refuse("got dtype " + std::to_string(code) + "; wanted 0 to 3");
  return Dtype(code);
}

Bias bias_of(const std::optional<Biased>& given) {
  if (!given) return Bias{};
  const auto& [address, dtype, batch, head, query, key] = *given;
  return Bias{reinterpret_cast<char*>(address), dtype_of(dtype), batch, head, query, key};
}

Sizes sizes_of(const Extents& given, const Plan& plan) {
  const auto& [batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim] = given;
  if (batch < 1 || heads < 1 || kv_heads < 1 || heads % kv_heads || head_dim < 1 ||
      value_dim < 1 || head_dim > kMostDim || value_dim > kMostDim) {
    refuse("sizes out of range");
  }
  if (plan.q_len != q_len || plan.kv_len != kv_len) refuse("the plan is for other lengths");
  if ((plan.batch != 1 && plan.batch != batch) || (plan.heads != 1 && plan.heads != heads)) {
    refuse("the plan is for another batch or number of heads");
  }
  return Sizes{batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim};
}

void fill(Problem& call, const Plan& plan, int dtype, const Extents& sizes, const Strided& query,
          const Strided& key, const Strided& value, const std::optional<Biased>& bias,
          const Strided& out, uint64_t stats, double scale, double dropout, uint64_t seed,
          int threads) {
  if (!(dropout >= 0 && dropout < 1)) refuse("dropout must be at least 0 and below 1");
  call.plan = &plan;
  call.dtype = dtype_of(dtype);
  call.sizes = sizes_of(sizes, plan);
  call.query = view_of(query), call.key = view_of(key), call.value = view_of(value);
  call.out = view_of(out);
  call.bias = bias_of(bias);
  call.stats = reinterpret_cast<void*>(stats);
  call.scale = scale, call.dropout = dropout, call.seed = seed;
  call.threads = std::clamp(threads, 1, kMostThreads);
  if (!call.query || !call.key || !call.value || !call.out) refuse("an address is missing");
}

void run_forward(const Plan& plan, int dtype, const Extents& sizes, const Strided& query,
                 const Strided& key, const Strided& value, const std::optional<Biased>& bias,
                 const Strided& out, uint64_t stats, uint64_t lse, double scale, double dropout,
                 uint64_t seed, int threads) {
  Forward call;
  fill(call, plan, dtype, sizes, query, key, value, bias, out, stats, scale, dropout, seed,
       threads);
  call.lse = reinterpret_cast<void*>(lse);
  const nb::gil_scoped_release released;
  in_use().forward(call);
}

void run_backward(const Plan& plan, int dtype, const Extents& sizes, const Strided& query,
                  const Strided& key, const Strided& value, const std::optional<Biased>& bias,
                  const Strided& out, uint64_t stats, const Strided& grad_out, uint64_t grad_lse,
                  const std::optional<Strided>& grad_query, const std::optional<Strided>& grad_key,
                  const std::optional<Strided>& grad_value, const std::optional<Biased>& grad_bias,
                  double scale, double dropout, uint64_t seed, int threads) {
  Backward call;
  fill(call, plan, dtype, sizes, query, key, value, bias, out, stats, scale, dropout, seed,
       threads);
  call.grad_out = view_of(grad_out);
  call.grad_lse = reinterpret_cast<const void*>(grad_lse);
  call.grad_query = view_of(grad_query);
  call.grad_key = view_of(grad_key), call.grad_value = view_of(grad_value);
  call.grad_bias = bias_of(grad_bias);
  if (!call.stats || !call.grad_out) refuse("an address is missing");
  if (call.grad_bias && !call.bias) refuse("a gradient of no bias was asked for");
  const Dtype working = call.dtype == Dtype::float64 ? Dtype::float64 : Dtype::float32;
  if (call.grad_bias && call.grad_bias.dtype != working) {
    refuse("the gradient of a bias is float32, or float64 beside float64");
  }
  const nb::gil_scoped_release released;
  in_use().backward(call);
}

}  // namespace

NB_MODULE(_kernels, m) {
  m.doc() = "The kernels of engine cpu; sightline.engines.cpu calls them.";
  nb::set_leak_warnings(false);  // what Python keeps to its end is not lost
  m.attr("BLOCK_Q") = kBlockQ;
  m.attr("BLOCK_KV") = kBlockKv;
  m.def("isas", &runnable, "Instruction sets that this machine can run, best first.");
  m.def("isa", [] { return std::string(in_use().name); }, "The instruction set in use.");
  m.def("use_isa", &use, nb::arg("name"), "Use another instruction set from now on.");
  nb::class_<Plan>(m, "Plan", "The blocks of a mask at a shape, as the kernels read them.")
      .def("__init__", &make_plan, nb::arg("q_len"), nb::arg("kv_len"), nb::arg("batch"),
           nb::arg("heads"), nb::arg("row_start"), nb::arg("first_block"), nb::arg("last_block"),
           nb::arg("pattern"), nb::arg("patterns"))
      .def_prop_ro("nbytes", &Plan::nbytes);
  m.def("forward", &run_forward, nb::arg("plan"), nb::arg("dtype"), nb::arg("sizes"),
        nb::arg("query"), nb::arg("key"), nb::arg("value"), nb::arg("bias").none(),
        nb::arg("out"), nb::arg("stats"), nb::arg("lse"), nb::arg("scale"), nb::arg("dropout"),
        nb::arg("seed"), nb::arg("threads"));
  m.def("backward", &run_backward, nb::arg("plan"), nb::arg("dtype"), nb::arg("sizes"),
        nb::arg("query"), nb::arg("key"), nb::arg("value"), nb::arg("bias").none(),
        nb::arg("out"), nb::arg("stats"), nb::arg("grad_out"), nb::arg("grad_lse"),
        nb::arg("grad_query").none(), nb::arg("grad_key").none(), nb::arg("grad_value").none(),
        nb::arg("grad_bias").none(), nb::arg("scale"), nb::arg("dropout"), nb::arg("seed"),
        nb::arg("threads"));
}
