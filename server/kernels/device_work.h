// DeviceWork: what the host tells a GPU to do: plain structs, read by kernels.
//
// Symbols.   m, v: moments; a: classic's accumulation buffer; theta:
//            parameters; x: a push's payload as floats; chunk: the blocks of
//            one launch.
// Shapes.    a shard's arrays: [its elements], `offset` counts in them. What
//            belongs to a chunk begins at its first element, `begin`.
// Memory.    pointers are to device memory, aligned so that element 0 of a
//            shard's arrays, and element `begin` - begin % 4 of a chunk's, lie
//            on 16 bytes.
#ifndef ACCRUE_SERVER_KERNELS_DEVICE_WORK_H_
#define ACCRUE_SERVER_KERNELS_DEVICE_WORK_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "server/kernels/encoding.h"
#include "server/kernels/tile.h"
#include "server/rule/cycle.h"

namespace accrue::kernels {

// Pushes that one launch folds.
inline constexpr int kLaunchPushes = 8;

// The kernels that do something to the blocks of a group. Sums go to the
// launch's sums at the block's index.
struct WantedKernels {
  bool fold_and_update = false;
  bool sum_clipped = false;   // of m, or of mean*a
  bool sum_trust = false;     // of theta and of lamb's direction
  bool step_lamb = false;     // with the blocks' rates
  bool sum_momentum = false;  // of m
};

// What a launch does to the blocks of one group.
struct GroupWork {
  rule::PushScalars pushes[kLaunchPushes] = {};
  int32_t push_count = 0;
  TileStage stage = TileStage::kFold;
  rule::LookAhead look_ahead = {};
  rule::BufferFold buffer_fold = {};
  rule::UpdateScalars update = {};
  float clip = 1;
  bool has_look_ahead = false;
  // Its cycle's mean is summed in `a` (classic), or in the chunk's `sum`.
  rule::Buffering buffering = rule::Buffering::kEmbedded;
  bool adaptive = false;  // it has a v
  bool epsilon_inside = false;
  bool nesterov = false;
  bool sign = false;
  bool lamb = false;

  WantedKernels wanted = {};
};

struct BlockWork {
  int64_t offset = 0;  // in the shard
  int32_t size = 0;
  int32_t group = 0;  // in the launch's groups
  float rate = 0;     // StepLamb: its tensor's
};

struct Launch {
  const BlockWork* blocks = nullptr;  // [block_count]
  int64_t block_count = 0;
  const GroupWork* groups = nullptr;

  float* m = nullptr;
  float* v = nullptr;
  float* a = nullptr;
  // Read before it is written: the published ones, then the halfway point of
  // Nesterov, then the new ones.
  float* theta = nullptr;

  int64_t begin = 0;
  const float* x[kLaunchPushes] =
      {};                // element i of the shard: x[p][i - begin]
  float* sum = nullptr;  // gather: likewise
  // Set to other than 0 if a gradient that was folded is not finite.
  uint32_t* flaw = nullptr;

  double* sums = nullptr;  // [block_count]; SumTrust: pairs (theta, direction)
};

// A payload's bytes, as they came, that hold elements [begin, begin + count) of
// the whole model's vector.
struct DecodeLaunch {
  Encoding encoding = Encoding::kF32;  // another
  int64_t begin = 0;
  int64_t count = 0;
  // kBf16, kF16: of element `begin`. kInt8: the wire block that holds it.
  // kTopK: the first pair of at least `begin`.
  const std::byte* raw = nullptr;
  int64_t pair_count = 0;  // kTopK: those below begin + count
  float* out = nullptr;    // [count]; kTopK: zero by now
};

// What a decoding goes through: elements, or pairs.
inline int64_t DecodeItems(const DecodeLaunch& launch) {
  return launch.encoding == Encoding::kTopK ? launch.pair_count : launch.count;
}

// out = in, narrowed. [count] each.
struct EncodeLaunch {
  Encoding encoding = Encoding::kBf16;  // or kF16
  int64_t count = 0;
  const float* in = nullptr;
  uint16_t* out = nullptr;
};

// They reach a GPU as their bytes.
static_assert(std::is_trivially_copyable_v<GroupWork> &&
              std::is_trivially_copyable_v<BlockWork> &&
              std::is_trivially_copyable_v<Launch> &&
              std::is_trivially_copyable_v<DecodeLaunch> &&
              std::is_trivially_copyable_v<EncodeLaunch>);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_DEVICE_WORK_H_
