// DeviceChunk: the blocks of a shard's part that go through one slot of the
// staging ring together, and how they lie in it.
//
// Shapes.    a slot is, on the host and on the device alike:
//              results  a flaw, and the blocks' sums
//              decoded  on the device only, as what follows: a launch's
//                       payloads as floats
//              sum      a gathering group's
//              encoded  new parameters in 16 bits
//              blocks   [block_count] BlockWork
//              launches side by side, to the slot's end: each its groups'
//                       [run_count] GroupWork, then slices of up to
//                       kLaunchPushes payloads
// Invariant. all of a chunk's launches lie in its slot at once, unless it is a
//            single block.
// Threading. safe: no state.
#ifndef ACCRUE_SERVER_KERNELS_DEVICE_CHUNK_H_
#define ACCRUE_SERVER_KERNELS_DEVICE_CHUNK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "server/kernels/block.h"
#include "server/kernels/group_work.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

// Cuts a model's blocks into `count` parts, one a device, of about the same
// size, in order; some may be empty.
std::vector<BlockRange> CutIntoParts(const BlockMap& map, int count);

struct DeviceChunk {
  BlockRange blocks;  // those that take no part are passed over
  int64_t begin = 0;  // its elements in the model's vector
  int64_t end = 0;
  // In Pass::payloads, in the order of the fold; never null.
  std::shared_ptr<const std::vector<int32_t>> payloads;
  int64_t block_count = 0;  // that take part
  int64_t run_count = 0;    // likewise, of one group each
  bool gathers = false;     // any of its groups
  bool encodes = false;     // likewise

  int64_t elems() const { return end - begin; }
};

// What takes part in the stage, in order. Groups that read different payloads
// are in different chunks.
std::vector<DeviceChunk> CutIntoChunks(const BlockMap& map,
                                       const BlockRange& part, const Pass& pass,
                                       PassStage stage, int64_t slot_bytes);

// Offsets in a slot. Everything begins on 256 bytes.
struct SlotLayout {
  static constexpr int64_t kAlignBytes = 256;
  static int64_t Aligned(int64_t bytes) {
    return (bytes + kAlignBytes - 1) / kAlignBytes * kAlignBytes;
  }

  int64_t results = 0;
  int64_t decoded = 0;
  int64_t sum = 0;
  int64_t encoded = 0;
  int64_t blocks = 0;
  int64_t launches = 0;
  int64_t group_bytes = 0;  // at the beginning of each launch
  int64_t end = 0;          // of the largest launch, if it is the first
  int64_t end_of_all = 0;

  // Of results.
  static constexpr int64_t kFlawBytes = 256;
  int64_t block_count = 0;
  int64_t sum_bytes() const { return block_count * 8; }
  int64_t clipped() const { return results + kFlawBytes; }
  int64_t momentum() const { return clipped() + sum_bytes(); }
  int64_t trust() const { return momentum() + sum_bytes(); }
  int64_t results_end() const { return trust() + 2 * sum_bytes(); }
};

SlotLayout MakeLayout(const Pass& pass, const DeviceChunk& chunk);

// The most room in a slot of a slice of `count` elements, and the room of
// `count` floats wherever the first of them lies in 16 bytes.
int64_t RoomForSlice(Encoding encoding, int64_t count);
int64_t RoomForFloats(int64_t count);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_DEVICE_CHUNK_H_
