// DeviceChunk: the blocks of a shard's part that go through one slot of the
// staging ring together, and how they lie in it.
//
// Shapes.    a slot is, on the host and on the device alike:
//              blocks   [block_count] BlockWork
//              groups   [group_count] GroupWork
//              raw      slices of up to kLaunchPushes payloads
//              results  a flaw, and the blocks' sums
//              decoded  on the device only, as what follows: payloads as floats
//              sum      a gathering group's
//              encoded  new parameters in 16 bits
// Threading. safe: no state.
#ifndef ACCRUE_SERVER_KERNELS_DEVICE_CHUNK_H_
#define ACCRUE_SERVER_KERNELS_DEVICE_CHUNK_H_

#include <cstdint>
#include <vector>

#include "server/kernels/block.h"
#include "server/kernels/group_work.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

// A part of a shard: consecutive blocks, all on one device.
struct BlockRange {
  int64_t first = 0;
  int64_t last = 0;  // not among them
};

// Cuts a model's blocks into `count` parts of about the same size, in order;
// some may be empty.
std::vector<BlockRange> CutIntoParts(const BlockMap& map, int count);

struct DeviceChunk {
  BlockRange blocks;  // those that take no part are passed over
  int64_t begin = 0;  // its elements in the model's vector
  int64_t end = 0;
  std::vector<int32_t> payloads;  // in Pass::payloads, in the order of the fold
};

// What takes part in the stage, in order. Groups that read different payloads
// are in different chunks.
std::vector<DeviceChunk> CutIntoChunks(const BlockMap& map,
                                       const BlockRange& part, const Pass& pass,
                                       PassStage stage, int64_t slot_bytes);

// Offsets in a slot. Everything begins on 256 bytes.
struct SlotLayout {
  static constexpr int64_t kAlignBytes = 256;

  int64_t blocks = 0;
  int64_t groups = 0;
  int64_t raw = 0;
  int64_t results = 0;  // after the largest raw
  int64_t decoded = 0;
  int64_t sum = 0;
  int64_t encoded = 0;
  int64_t end = 0;

  // Of results.
  static constexpr int64_t kFlawBytes = 256;
  int64_t block_count = 0;
  int64_t sum_bytes() const { return block_count * 8; }
  int64_t clipped() const { return results + kFlawBytes; }
  int64_t momentum() const { return clipped() + sum_bytes(); }
  int64_t trust() const { return momentum() + sum_bytes(); }
  int64_t results_end() const { return trust() + 2 * sum_bytes(); }
};

SlotLayout MakeLayout(const BlockMap& map, const Pass& pass, PassStage stage,
                      const DeviceChunk& chunk);

// Of a slice of `count` elements, beside others in a slot.
int64_t RawBytes(Encoding encoding, int64_t count);
// Of `count` floats, wherever the first of them lies in 16 bytes.
int64_t FloatBytes(int64_t count);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_DEVICE_CHUNK_H_
