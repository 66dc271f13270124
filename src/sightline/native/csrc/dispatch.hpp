// Which instruction set is used: the best that this machine can run, or the one asked for.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace sightline {

// Those that were compiled in and that this machine can run, best first.
std::vector<std::string> runnable();

// The one in use; the first call reads the environment variable SIGHTLINE_ISA.
const Kernels& in_use();

// Use another one from now on. Throws std::invalid_argument if it is not runnable.
void use(const std::string& name);

}  // namespace sightline
