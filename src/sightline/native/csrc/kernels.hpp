// The table of kernels of one instruction set. kernels.cpp fills one per set; dispatch.cpp chooses.
#pragma once

#include "problem.hpp"

namespace sightline {

struct Kernels {
  const char* name;
  void (*forward)(const Forward&);
  void (*backward)(const Backward&);
};

namespace baseline {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace neon {
extern const Kernels kernels;
}
namespace wide {
extern const Kernels kernels;
}

}  // namespace sightline
