// Initializer: how a tensor gets its first values without sending them.
//
// Numerics.  counter-based: element i of tensor j depends on (seed, j, i)
//            alone, uses no libm, and so has the same bits on every host,
//            whatever the threads. bit_exact_cpu_gpu.
// Threading. safe (pure functions).
#ifndef ACCRUE_SERVER_MODEL_INITIALIZER_H_
#define ACCRUE_SERVER_MODEL_INITIALIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/layout.h"

namespace accrue {

struct Initializer {
  enum class Kind { kConstant, kUniform, kNormal };
  std::string tensor;
  Kind kind = Kind::kConstant;
  double a = 0;  // the constant | low | mean
  double b = 0;  // unused | high | standard deviation
};

// `initializers` in the layout's order of tensors.
// INVALID_ARGUMENT: an unknown tensor, one named twice or not at all, or
// parameters that cannot be.
absl::StatusOr<std::vector<Initializer>> SortInitializers(
    const std::vector<Initializer>& initializers, const ModelSpec& spec,
    const Layout& layout);

// Writes elements [begin, begin + out.size()) of tensor `index`.
void FillTensor(const Initializer& initializer, int64_t seed, int index,
                int64_t begin, absl::Span<float> out);

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_INITIALIZER_H_
