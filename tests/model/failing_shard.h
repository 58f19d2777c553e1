// FailingShard: a shard whose device is lost in the middle of the training, and
// replaced.
#ifndef ACCRUE_TESTS_MODEL_FAILING_SHARD_H_
#define ACCRUE_TESTS_MODEL_FAILING_SHARD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/kernels/shard.h"
#include "server/model/model.h"
#include "tests/model/wrapped_shards.h"

namespace accrue {

// Does what another shard does for some passes, then fails one, and goes on.
class FailingShard final : public ForwardingShard {
 public:
  FailingShard(std::unique_ptr<kernels::Shard> shard, int64_t good_passes)
      : ForwardingShard(std::move(shard)), left_(good_passes) {}

  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    if (left_-- != 0) {
      return ForwardingShard::Run(std::move(pass), std::move(done));
    }
    // After the fold: what it leaves is not what was there.
    ForwardingShard::Run(std::move(pass), [done = std::move(done)](auto) {
      done(absl::InternalError("the device is lost"));
    });
  }

 private:
  int64_t left_;
};

// Of every model with exactly `elems` elements, the pass after `good_passes`
// fails; all others are sound.
inline ShardFactory FailingShards(int64_t elems, int64_t good_passes,
                                  ShardFactory inner = kernels::MakeCpuShard) {
  return WrappedShards(
      [=](std::unique_ptr<kernels::Shard> shard,
          int64_t model_elems) -> std::unique_ptr<kernels::Shard> {
        if (model_elems != elems) return shard;
        return std::make_unique<FailingShard>(std::move(shard), good_passes);
      },
      std::move(inner));
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_FAILING_SHARD_H_
