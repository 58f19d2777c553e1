// Block: a fixed-size piece of a shard that never straddles tensors; the unit
// of parallel work, of norms and of snapshots.
//
// Shapes. The flat vector is all tensors in the spec's order, row-major, with
//         no padding; a group's vector is its tensors in that order.
// Units.  elements.
#ifndef ACCRUE_SERVER_KERNELS_BLOCK_H_
#define ACCRUE_SERVER_KERNELS_BLOCK_H_

#include <cstdint>
#include <vector>

namespace accrue::kernels {

inline constexpr int64_t kBlockElems = 16384;

struct Block {
  int64_t offset = 0;  // in the flat vector (payload, m, v, buffer)
  int64_t size = 0;    // 1..kBlockElems; 0 never
  int32_t group = 0;
  int32_t tensor = 0;        // in the spec's order
  int64_t group_offset = 0;  // in the group's vector (parameters)
};

struct BlockMap {
  std::vector<Block> blocks;         // ascending offset, no gaps
  std::vector<int64_t> group_elems;  // [groups]
  int64_t elems = 0;
  int32_t tensor_count = 0;
};

// Consecutive blocks.
struct BlockRange {
  int64_t first = 0;
  int64_t last = 0;  // not among them
};

int64_t ElemsOf(const BlockMap& map, const BlockRange& blocks);

// Those at the beginning of `blocks`, which are some, that are one group's.
BlockRange FirstRun(const BlockMap& map, const BlockRange& blocks);

// Cuts tensors (element counts and groups, in the spec's order) into blocks.
// Tensors of zero elements get none.
BlockMap MakeBlockMap(const std::vector<int64_t>& tensor_elems,
                      const std::vector<int32_t>& tensor_groups,
                      int32_t group_count);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_BLOCK_H_
