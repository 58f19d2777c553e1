#include "server/model/layout.h"

#include <algorithm>

namespace accrue {

Layout::Layout(const ModelSpec& spec) {
  absl::flat_hash_map<std::string, int32_t> groups;
  for (size_t g = 0; g < spec.groups.size(); ++g) {
    groups[spec.groups[g].name] = static_cast<int32_t>(g);
  }
  std::vector<int64_t> elems;
  std::vector<int32_t> tensor_groups;
  std::vector<int64_t> group_sizes(spec.groups.size(), 0);
  int64_t offset = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    TensorPlace place;
    place.elems = ElementCount(tensor);
    place.offset = offset;
    place.group = groups.at(tensor.group);
    place.group_offset = group_sizes[place.group];
    offset += place.elems;
    group_sizes[place.group] += place.elems;
    by_name_[tensor.name] = static_cast<int>(tensors_.size());
    elems.push_back(place.elems);
    tensor_groups.push_back(place.group);
    tensors_.push_back(place);
  }
  blocks_ = std::make_shared<const kernels::BlockMap>(kernels::MakeBlockMap(
      elems, tensor_groups, static_cast<int32_t>(spec.groups.size())));
}

std::vector<LayoutRun> Layout::Runs(int64_t offset, int64_t elems) const {
  std::vector<LayoutRun> runs;
  auto tensor = std::upper_bound(
      tensors_.begin(), tensors_.end(), offset,
      [](int64_t at, const TensorPlace& place) { return at < place.offset; });
  if (tensor != tensors_.begin()) --tensor;
  for (const int64_t end = offset + elems; offset < end; ++tensor) {
    const int64_t skipped = offset - tensor->offset;
    const int64_t count = std::min(end - offset, tensor->elems - skipped);
    runs.push_back(
        {tensor->group, tensor->group_offset + skipped, offset, count});
    offset += count;
  }
  return runs;
}

int Layout::FindTensor(const std::string& name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? -1 : it->second;
}

}  // namespace accrue
