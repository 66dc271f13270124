// torch's OpenMP threads go on spinning for milliseconds after an operation, waiting for the next.
// A pool of our own would compete with them for the same cores, so where an OpenMP runtime with
// GCC's entry point is in the process already (torch brings one), its threads are used. Otherwise
// threads are started for the call.
#include "team.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace sightline {
namespace {

struct Shift {
  Shift(int64_t count, const std::function<void(int64_t, int)>& what) : tasks(count), work(what) {}

  const int64_t tasks;
  const std::function<void(int64_t, int)>& work;
  std::atomic<int64_t> next{0};
  std::atomic<int> workers{0};
  std::mutex lock;
  std::exception_ptr failure;

  void take_part() {
    const int worker = workers.fetch_add(1);
    try {
      for (int64_t task; (task = next.fetch_add(1)) < tasks;) work(task, worker);
    } catch (...) {
      next.store(tasks);
      const std::lock_guard<std::mutex> guard(lock);
      if (!failure) failure = std::current_exception();
    }
  }
};

using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

Parallel find_openmp() {
  void* found = dlsym(RTLD_DEFAULT, "GOMP_parallel");
  if (!found) {
    if (void* library = dlopen("libgomp.so.1", RTLD_NOW | RTLD_NOLOAD)) {
      found = dlsym(library, "GOMP_parallel");
    }
  }
  return reinterpret_cast<Parallel>(found);
}

}  // namespace

void share_out(int64_t tasks, int threads, const std::function<void(int64_t, int)>& work) {
  threads = int(std::min<int64_t>(std::max(threads, 1), tasks));
  Shift shift(tasks, work);
  if (threads <= 1) {
    if (tasks > 0) shift.take_part();
  } else if (static const Parallel openmp = find_openmp(); openmp) {
    openmp([](void* data) { static_cast<Shift*>(data)->take_part(); }, &shift, unsigned(threads), 0);
  } else {
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back([&shift] { shift.take_part(); });
    shift.take_part();
    for (auto& other : others) other.join();
  }
  if (shift.failure) std::rethrow_exception(shift.failure);
}

}  // namespace sightline
