// ForwardingShard: another shard, for tests that interfere with some of what it
// does.
#ifndef ACCRUE_TESTS_KERNELS_FORWARDING_SHARD_H_
#define ACCRUE_TESTS_KERNELS_FORWARDING_SHARD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

class ForwardingShard : public Shard {
 public:
  explicit ForwardingShard(std::unique_ptr<Shard> shard)
      : shard_(std::move(shard)) {}

  std::vector<Device*> devices() const override { return shard_->devices(); }
  void Run(Pass pass,
           std::function<void(absl::StatusOr<PassResult>)> done) override {
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
  void Load(std::vector<const float*> groups,
            std::function<void(absl::Status)> done) override {
    shard_->Load(std::move(groups), std::move(done));
  }
  void Reset(std::function<void(absl::Status)> done) override {
    shard_->Reset(std::move(done));
  }

 private:
  const std::unique_ptr<Shard> shard_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_KERNELS_FORWARDING_SHARD_H_
