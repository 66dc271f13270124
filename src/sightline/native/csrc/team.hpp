// A team of threads that shares out numbered tasks.
#pragma once

#include <cstdint>
#include <functional>

namespace sightline {

// Call work(task, worker) for every task in [0, tasks), each once, on at most ``threads`` threads;
// worker < threads tells them apart. Tasks start in rising order. Which worker takes which is not
// defined, so a result must not depend on it. The first exception is thrown again here.
void share_out(int64_t tasks, int threads, const std::function<void(int64_t, int)>& work);

}  // namespace sightline
