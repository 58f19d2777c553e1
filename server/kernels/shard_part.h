// ShardPart: the arrays of consecutive blocks of a model on one GPU.
//
// Shapes.    every array: [elems], and those that the model has not are empty
// Threading. compatible.
#ifndef ACCRUE_SERVER_KERNELS_SHARD_PART_H_
#define ACCRUE_SERVER_KERNELS_SHARD_PART_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "server/kernels/block.h"
#include "server/kernels/chunk_run.h"
#include "server/kernels/device_chunk.h"
#include "server/kernels/device_unit.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

class ShardPart {
 public:
  // RESOURCE_EXHAUSTED: no memory on the device; nothing is left.
  static absl::StatusOr<std::unique_ptr<ShardPart>> Make(
      const ShardOptions& options, const BlockRange& blocks, DeviceUnit* unit);

  DeviceUnit& unit() const { return *unit_; }
  const BlockRange& blocks() const { return blocks_; }
  const WorkPool::Lane& lane() const { return lane_; }
  int64_t begin() const { return arrays_.begin; }
  int64_t end() const { return arrays_.begin + elems_; }
  const PartArrays& arrays() const { return arrays_; }

  // Its elements of the groups' vectors. Blocks.
  absl::Status Load(const BlockMap& map,
                    const std::vector<const float*>& groups);
  // All but theta. Blocks.
  absl::Status Reset();

 private:
  ShardPart(const BlockRange& blocks, int64_t begin, int64_t elems,
            DeviceUnit* unit);

  const BlockRange blocks_;
  const int64_t elems_;
  DeviceUnit* const unit_;
  const WorkPool::Lane lane_;
  Buffer m_, v_, a_, theta_;
  PartArrays arrays_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_SHARD_PART_H_
