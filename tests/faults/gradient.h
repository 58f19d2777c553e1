// Gradient: what a push carries, made from a seed, so that a history of many
// pushes need keep no more than that.
//
// Numerics. elements are any numbers of their encoding between 2^-6 and 2^2 and
//           their negatives: nothing is rounded on the way to the daemon.
#ifndef ACCRUE_TESTS_FAULTS_GRADIENT_H_
#define ACCRUE_TESTS_FAULTS_GRADIENT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "accrue/payload.h"
#include "accrue/spec.h"

namespace accrue::faults {

// Half of `seed`'s uses shall not tell how the other half goes.
uint64_t MixSeed(uint64_t seed, uint64_t use);

class Gradient {
 public:
  // kF32, kBf16 or kF16.
  static Gradient Random(uint64_t seed, client::Encoding encoding,
                         int64_t elems);
  // 1 at `element` and 0 elsewhere, as kTopK.
  static Gradient OneHot(int64_t element);

  // As it is sent; a view.
  client::Payload payload() const;
  // As it is folded. Not of OneHot.
  std::vector<float> floats() const;

 private:
  explicit Gradient(client::Encoding encoding) : encoding_(encoding) {}

  client::Encoding encoding_;
  std::vector<std::byte> bytes_;
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_GRADIENT_H_
