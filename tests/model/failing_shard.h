// FailingShard: a shard whose device is lost in the middle of the training.
#ifndef ACCRUE_TESTS_MODEL_FAILING_SHARD_H_
#define ACCRUE_TESTS_MODEL_FAILING_SHARD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/status_macros.h"
#include "server/kernels/shard.h"
#include "server/model/model.h"

namespace accrue {

// Does what another shard does for some passes, then fails one; what comes
// after that, nobody should see.
class FailingShard final : public kernels::Shard {
 public:
  FailingShard(std::unique_ptr<kernels::Shard> shard, int64_t good_passes)
      : shard_(std::move(shard)), left_(good_passes) {}

  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    if (left_-- == 0) return done(absl::InternalError("the device is lost"));
    shard_->Run(std::move(pass), std::move(done));
  }
  absl::Status Read(Array array, int64_t offset,
                    absl::Span<float> out) const override {
    return shard_->Read(array, offset, out);
  }
  absl::Status Write(Array array, int64_t offset,
                     absl::Span<const float> in) override {
    return shard_->Write(array, offset, in);
  }

 private:
  const std::unique_ptr<kernels::Shard> shard_;
  int64_t left_;
};

// Of every model with exactly `elems` elements, the pass after `good_passes`
// fails; all others are sound.
inline ShardFactory FailingShards(int64_t elems, int64_t good_passes) {
  return [elems, good_passes](const kernels::ShardOptions& options,
                              Device* device, WorkPool* pool,
                              WorkPool::Lane lane)
             -> absl::StatusOr<std::unique_ptr<kernels::Shard>> {
    ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<kernels::Shard> shard,
                            kernels::MakeCpuShard(options, device, pool, lane));
    if (options.blocks->elems != elems) return shard;
    return std::make_unique<FailingShard>(std::move(shard), good_passes);
  };
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_FAILING_SHARD_H_
