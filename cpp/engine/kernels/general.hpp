// What every kernel set does in the same plain code: the input, borders, pools, convolutions of
// odd shapes and the logits. Maps are as in plan.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../plan.hpp"

namespace mnistkit::engine {

// Writes `count` images into the lanes of the step's map, the last one into what lanes are left.
void read_input(const Plan& plan, const Step& step, const std::uint8_t* images, std::size_t count,
                std::byte* out);

// Steps of the kinds general_conv, max_pool and avg_pool.
void run_general(const Plan& plan, const Step& step, const std::byte* in, std::byte* out,
                 std::byte* sums);

// Sets the border of a map that has been written.
void fill_border(const Plan& plan, const Map& map, std::byte* base);

void write_logits(const Plan& plan, const Step& step, const std::byte* sums, std::size_t count,
                  float* out);

}  // namespace mnistkit::engine
