#include "server/kernels/shard_part.h"

#include "server/base/status_macros.h"
#include "server/kernels/device_transfer.h"

namespace accrue::kernels {

absl::StatusOr<std::unique_ptr<ShardPart>> ShardPart::Make(
    const ShardOptions& options, const BlockRange& blocks, DeviceUnit* unit) {
  const BlockMap& map = *options.blocks;
  const int64_t elems = ElemsOf(map, blocks);
  const int64_t begin =
      elems == 0 ? 0 : map.blocks[static_cast<size_t>(blocks.first)].offset;
  std::unique_ptr<ShardPart> part(new ShardPart(blocks, begin, elems, unit));
  const auto allocate = [&](bool wanted, MemoryTag tag, Buffer* buffer,
                            float** array) -> absl::Status {
    if (!wanted) return absl::OkStatus();
    ACCRUE_ASSIGN_OR_RETURN(
        *buffer,
        unit->gpu().Allocate(elems * static_cast<int64_t>(sizeof(float)), tag,
                             options.ledger));
    *array = static_cast<float*>(buffer->data());
    return absl::OkStatus();
  };
  PartArrays& arrays = part->arrays_;
  ACCRUE_RETURN_IF_ERROR(
      allocate(true, MemoryTag::kMomentum, &part->m_, &arrays.m));
  ACCRUE_RETURN_IF_ERROR(allocate(options.has_variance, MemoryTag::kVariance,
                                  &part->v_, &arrays.v));
  ACCRUE_RETURN_IF_ERROR(allocate(options.has_accumulation,
                                  MemoryTag::kAccumulation, &part->a_,
                                  &arrays.a));
  ACCRUE_RETURN_IF_ERROR(allocate(true, MemoryTag::kDeviceParameters,
                                  &part->theta_, &arrays.theta));
  return part;
}

ShardPart::ShardPart(const BlockRange& blocks, int64_t begin, int64_t elems,
                     DeviceUnit* unit)
    : blocks_(blocks),
      elems_(elems),
      unit_(unit),
      lane_(unit->pool().NewLane()) {
  arrays_.begin = begin;
}

absl::Status ShardPart::Load(const BlockMap& map,
                             const std::vector<const float*>& groups) {
  for (BlockRange left = blocks_; left.first < left.last;) {
    const BlockRange run = FirstRun(map, left);
    left.first = run.last;
    const Block& first = map.blocks[static_cast<size_t>(run.first)];
    ACCRUE_RETURN_IF_ERROR(
        CopyIn(unit_->ring(),
               groups[static_cast<size_t>(first.group)] + first.group_offset,
               ElemsOf(map, run), arrays_.theta + (first.offset - begin())));
  }
  return absl::OkStatus();
}

absl::Status ShardPart::Reset() {
  for (float* const array : {arrays_.m, arrays_.v, arrays_.a}) {
    if (array == nullptr) continue;
    ACCRUE_RETURN_IF_ERROR(SetToZero(unit_->ring(), array, elems_));
  }
  return absl::OkStatus();
}

}  // namespace accrue::kernels
