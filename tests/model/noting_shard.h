// NotingShard: a shard that notes the threads that its passes begin on.
#ifndef ACCRUE_TESTS_MODEL_NOTING_SHARD_H_
#define ACCRUE_TESTS_MODEL_NOTING_SHARD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/kernels/shard.h"
#include "server/model/model.h"
#include "tests/model/wrapped_shards.h"

namespace accrue {

class NotingShard final : public ForwardingShard {
 public:
  NotingShard(std::unique_ptr<kernels::Shard> shard,
              std::vector<std::thread::id>* threads)
      : ForwardingShard(std::move(shard)), threads_(threads) {}

  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    threads_->push_back(std::this_thread::get_id());
    ForwardingShard::Run(std::move(pass), std::move(done));
  }

 private:
  std::vector<std::thread::id>* const threads_;
};

// Every model's. `threads` outlive them.
inline ShardFactory NotingShards(std::vector<std::thread::id>* threads) {
  return WrappedShards([=](std::unique_ptr<kernels::Shard> shard, int64_t) {
    return std::make_unique<NotingShard>(std::move(shard), threads);
  });
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_NOTING_SHARD_H_
