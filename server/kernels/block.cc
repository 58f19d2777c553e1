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

}  // namespace accrue::kernels
