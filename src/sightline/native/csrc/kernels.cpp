// The kernels of one instruction set; compiled once for each, with SIGHTLINE_ISA naming it.
#include "kernels.hpp"

#include "backward.hpp"
#include "decode.hpp"
#include "forward.hpp"

namespace sightline {
namespace SIGHTLINE_ISA {
namespace {

// Call run(storage, working) with values of the types that a dtype is stored and computed in.
template <class Run>
void by_dtype(Dtype dtype, const Run& run) {
  switch (dtype) {
    case Dtype::float32: return run(float{}, float{});
    case Dtype::float64: return run(double{}, double{});
    case Dtype::bfloat16: return run(bfloat16{}, float{});
    case Dtype::float16: return run(float16{}, float{});
  }
}

void run_forward(const Forward& call) {
  const bool few = is_decode(call.sizes);
  by_dtype(call.dtype, [&](auto s, auto t) {
    few ? decode<decltype(s), decltype(t)>(call) : forward<decltype(s), decltype(t)>(call);
  });
}

void run_backward(const Backward& call) {
  by_dtype(call.dtype, [&](auto s, auto t) { backward<decltype(s), decltype(t)>(call); });
}

#define SIGHTLINE_TEXT_OF(x) #x
#define SIGHTLINE_TEXT(x) SIGHTLINE_TEXT_OF(x)

}  // namespace

extern const Kernels kernels{SIGHTLINE_TEXT(SIGHTLINE_ISA), run_forward, run_backward};

}  // namespace SIGHTLINE_ISA
}  // namespace sightline
