#include "server/kernels/block.h"

#include <algorithm>
#include <cstddef>

namespace accrue::kernels {

BlockMap MakeBlockMap(const std::vector<int64_t>& tensor_elems,
                      const std::vector<int32_t>& tensor_groups,
                      int32_t group_count) {
  BlockMap map;
  map.tensor_count = static_cast<int32_t>(tensor_elems.size());
  map.group_elems.resize(static_cast<size_t>(group_count));
  for (size_t i = 0; i < tensor_elems.size(); ++i) {
    int64_t& group_elems =
        map.group_elems[static_cast<size_t>(tensor_groups[i])];
    for (int64_t left = tensor_elems[i]; left > 0;) {
      const int64_t size = std::min(left, kBlockElems);
      map.blocks.push_back({.offset = map.elems,
                            .size = size,
                            .group = tensor_groups[i],
                            .tensor = static_cast<int32_t>(i),
                            .group_offset = group_elems});
      map.elems += size;
      group_elems += size;
      left -= size;
    }
  }
  return map;
}

int64_t ElemsOf(const BlockMap& map, const BlockRange& blocks) {
  if (blocks.first == blocks.last) return 0;
  const Block& first = map.blocks[static_cast<size_t>(blocks.first)];
  const Block& last = map.blocks[static_cast<size_t>(blocks.last - 1)];
  return last.offset + last.size - first.offset;
}

BlockRange FirstRun(const BlockMap& map, const BlockRange& blocks) {
  BlockRange run = {blocks.first, blocks.first + 1};
  const auto group = [&](int64_t b) {
    return map.blocks[static_cast<size_t>(b)].group;
  };
  while (run.last < blocks.last && group(run.last) == group(run.first)) {
    ++run.last;
  }
  return run;
}

}  // namespace accrue::kernels
