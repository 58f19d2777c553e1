#include "tests/faults/folding_twice.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "server/base/fail_point.h"
#include "tests/model/wrapped_shards.h"

namespace accrue::faults {
namespace {

class TwiceShard final : public ForwardingShard {
 public:
  using ForwardingShard::ForwardingShard;

  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    if (!pass.payloads.empty() && AtFailPoint(FailPoint::kFoldTwice)) {
      pass.payloads.push_back(pass.payloads.back());
      for (kernels::GroupPass& group : pass.groups) {
        group.pushes.push_back(group.pushes.back());
      }
    }
    ForwardingShard::Run(std::move(pass), std::move(done));
  }
};

}  // namespace

ShardFactory FoldingTwice(ShardFactory inner) {
  return WrappedShards(
      [](std::unique_ptr<kernels::Shard> shard, int64_t) {
        return std::make_unique<TwiceShard>(std::move(shard));
      },
      std::move(inner));
}

}  // namespace accrue::faults
