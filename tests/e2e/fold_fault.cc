#include "tests/e2e/fold_fault.h"

#include <utility>

#include "server/base/status_macros.h"
#include "tests/model/wrapped_shards.h"

namespace accrue {
namespace {

using kernels::DecodeLaunch;
using kernels::EncodeLaunch;
using kernels::Launch;
using Due = std::shared_ptr<std::atomic<bool>>;

class FaultyShard final : public ForwardingShard {
 public:
  FaultyShard(std::unique_ptr<kernels::Shard> shard, int64_t good_passes,
              Due due)
      : ForwardingShard(std::move(shard)),
        left_(good_passes),
        due_(std::move(due)) {}

  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    if (left_-- == 0) *due_ = true;
    ForwardingShard::Run(std::move(pass), std::move(done));
  }

 private:
  int64_t left_;
  const Due due_;
};

class FaultyKernels final : public kernels::DeviceKernels {
 public:
  FaultyKernels(std::unique_ptr<DeviceKernels> inner, FoldFault::Cause cause,
                Due due)
      : inner_(std::move(inner)),
        cause_(std::move(cause)),
        due_(std::move(due)) {}

  absl::Status Load(Stream& stream) override { return inner_->Load(stream); }
  absl::Status FoldAndUpdate(Stream& stream, const Launch& launch) override {
    ACCRUE_RETURN_IF_ERROR(inner_->FoldAndUpdate(stream, launch));
    return due_->exchange(false) ? cause_(stream) : absl::OkStatus();
  }
  absl::Status SumClipped(Stream& stream, const Launch& launch) override {
    return inner_->SumClipped(stream, launch);
  }
  absl::Status SumTrust(Stream& stream, const Launch& launch) override {
    return inner_->SumTrust(stream, launch);
  }
  absl::Status StepLamb(Stream& stream, const Launch& launch) override {
    return inner_->StepLamb(stream, launch);
  }
  absl::Status SumMomentum(Stream& stream, const Launch& launch) override {
    return inner_->SumMomentum(stream, launch);
  }
  absl::Status Decode(Stream& stream, const DecodeLaunch& launch) override {
    return inner_->Decode(stream, launch);
  }
  absl::Status Encode(Stream& stream, const EncodeLaunch& launch) override {
    return inner_->Encode(stream, launch);
  }

 private:
  const std::unique_ptr<DeviceKernels> inner_;
  const FoldFault::Cause cause_;
  const Due due_;
};

}  // namespace

ShardFactory FoldFault::WrapShards(int64_t elems, int64_t good_passes,
                                   ShardFactory inner) const {
  return WrappedShards(
      [=, due = due_](std::unique_ptr<kernels::Shard> shard,
                      int64_t model_elems) -> std::unique_ptr<kernels::Shard> {
        if (model_elems != elems) return shard;
        return std::make_unique<FaultyShard>(std::move(shard), good_passes,
                                             due);
      },
      std::move(inner));
}

std::unique_ptr<kernels::DeviceKernels> FoldFault::WrapKernels(
    std::unique_ptr<kernels::DeviceKernels> inner, Cause cause) const {
  return std::make_unique<FaultyKernels>(std::move(inner), std::move(cause),
                                         due_);
}

absl::Status FailKernel(Stream&) {
  return absl::InternalError("a kernel failed, as was asked");
}

}  // namespace accrue
