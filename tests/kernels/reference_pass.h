// Reference: rule/cycle.h's expressions in plain floats, one push and one
// element at a time; what every shard must agree with to the bit.
//
// Shares no code with server/kernels but the structs that describe a pass.
#ifndef ACCRUE_TESTS_KERNELS_REFERENCE_PASS_H_
#define ACCRUE_TESTS_KERNELS_REFERENCE_PASS_H_

#include <cstdint>
#include <vector>

#include "server/kernels/block.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

struct ReferenceState {
  std::vector<float> m, v, a;  // flat; always all three
};

ReferenceState MakeReferenceState(const BlockMap& blocks);

// Folds, clips and updates as `pass` says, writing its `next` buffers.
PassResult RunReference(const BlockMap& blocks, const Pass& pass,
                        ReferenceState& state);

// The elements of a payload, `elems` of them, as floats, by the definition of
// its encoding.
std::vector<float> DecodeReference(const PushPayload& push, int64_t elems);
float Bf16ToFloat(uint16_t half);
float F16ToFloat(uint16_t half);

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_KERNELS_REFERENCE_PASS_H_
