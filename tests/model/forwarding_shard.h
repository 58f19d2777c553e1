// ForwardingShard: another shard, for tests that interfere with some of what it
// does.
#ifndef ACCRUE_TESTS_MODEL_FORWARDING_SHARD_H_
#define ACCRUE_TESTS_MODEL_FORWARDING_SHARD_H_

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

class ForwardingShard : public kernels::Shard {
 public:
  explicit ForwardingShard(std::unique_ptr<kernels::Shard> shard)
      : shard_(std::move(shard)) {}

  Device& device() const override { return shard_->device(); }
  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
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
  absl::Status Load(int32_t group, const float* theta) override {
    return shard_->Load(group, theta);
  }
  absl::Status Reset() override { return shard_->Reset(); }

 private:
  const std::unique_ptr<kernels::Shard> shard_;
};

// For every model a shard of `inner`'s, inside what wrap(shard, elems of the
// model) makes of it.
template <class Wrap>
ShardFactory WrappedShards(Wrap wrap,
                           ShardFactory inner = kernels::MakeCpuShard) {
  return [wrap, inner](const kernels::ShardOptions& options, Device* device,
                       WorkPool* pool, WorkPool::Lane lane)
             -> absl::StatusOr<std::unique_ptr<kernels::Shard>> {
    ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<kernels::Shard> shard,
                            inner(options, device, pool, lane));
    return wrap(std::move(shard), options.blocks->elems);
  };
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_FORWARDING_SHARD_H_
