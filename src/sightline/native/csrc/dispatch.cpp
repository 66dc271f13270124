#include "dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace sightline {
namespace {

#if defined(SIGHTLINE_HAVE_AVX2)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
}
#endif

std::vector<const Kernels*> find_runnable() {
  std::vector<const Kernels*> found;
#if defined(SIGHTLINE_HAVE_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    found.push_back(&avx512::kernels);
  }
#endif
#if defined(SIGHTLINE_HAVE_AVX2)
  if (has_avx2()) found.push_back(&avx2::kernels);
#endif
#if defined(SIGHTLINE_HAVE_NEON)
  found.push_back(&neon::kernels);
#endif
#if defined(SIGHTLINE_HAVE_BASELINE)
  found.push_back(&baseline::kernels);
#endif
#if defined(SIGHTLINE_HAVE_WIDE)  // last, so that it is taken only where it is asked for
  if (has_avx2()) found.push_back(&wide::kernels);
#endif
  return found;
}

const Kernels* find(const std::string& name) {
  std::string known;
  for (const Kernels* each : find_runnable()) {
    if (name == each->name) return each;
    known += (known.empty() ? "" : ", ") + std::string(each->name);
  }
  throw std::invalid_argument("got instruction set '" + name + "'; this machine can run " + known);
}

std::atomic<const Kernels*> chosen{nullptr};

}  // namespace

std::vector<std::string> runnable() {
  std::vector<std::string> names;
  for (const Kernels* each : find_runnable()) names.emplace_back(each->name);
  return names;
}

const Kernels& in_use() {
  const Kernels* kernels = chosen.load();
  if (!kernels) {
    const char* wanted = std::getenv("SIGHTLINE_ISA");
    kernels = wanted && *wanted ? find(wanted) : find_runnable().front();
    chosen.store(kernels);
  }
  return *kernels;
}

void use(const std::string& name) { chosen.store(find(name)); }

}  // namespace sightline
