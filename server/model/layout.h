// Layout: where each tensor lies in the flat vector and in its group's.
//
// Shapes.    the flat vector: all tensors in the spec's order, row-major, no
//            padding; payloads have exactly this order. A group's vector: its
//            tensors, in that order.
// Units.     elements.
// Threading. immutable.
#ifndef ACCRUE_SERVER_MODEL_LAYOUT_H_
#define ACCRUE_SERVER_MODEL_LAYOUT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "server/kernels/block.h"
#include "server/model/spec.h"

namespace accrue {

struct TensorPlace {
  int64_t elems = 0;
  int64_t offset = 0;  // in the flat vector
  int32_t group = 0;
  int64_t group_offset = 0;  // in the group's vector
};

// Consecutive elements of the flat vector that are so in their group's too.
struct LayoutRun {
  int32_t group = 0;
  int64_t group_offset = 0;
  int64_t offset = 0;  // in the flat vector
  int64_t elems = 0;
};

class Layout {
 public:
  explicit Layout(const ModelSpec& spec);  // a valid spec

  int64_t elems() const { return blocks_->elems; }
  const std::vector<TensorPlace>& tensors() const { return tensors_; }
  const std::vector<int64_t>& group_elems() const {
    return blocks_->group_elems;
  }
  std::shared_ptr<const kernels::BlockMap> blocks() const { return blocks_; }
  // What elements [offset, offset + elems) of the flat vector are made of.
  std::vector<LayoutRun> Runs(int64_t offset, int64_t elems) const;
  // Index of a tensor; -1 if there is none of this name.
  int FindTensor(const std::string& name) const;

 private:
  std::vector<TensorPlace> tensors_;
  absl::flat_hash_map<std::string, int> by_name_;
  std::shared_ptr<const kernels::BlockMap> blocks_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_LAYOUT_H_
