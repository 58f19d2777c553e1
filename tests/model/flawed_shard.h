// FlawedShard: a shard on a device whose operations fail while a test says so.
#ifndef ACCRUE_TESTS_MODEL_FLAWED_SHARD_H_
#define ACCRUE_TESTS_MODEL_FLAWED_SHARD_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/kernels/shard.h"
#include "server/model/model.h"
#include "tests/model/wrapped_shards.h"

namespace accrue {

// What fails, of all shards that were made with it.
struct Flaws {
  std::atomic<bool> run = false;
  std::atomic<bool> load = false;
  std::atomic<bool> reset = false;
  std::atomic<bool> make = false;  // there is no device for another
};

// A pass that fails has been done, so that what it leaves is not what was
// there.
class FlawedShard final : public ForwardingShard {
 public:
  FlawedShard(std::unique_ptr<kernels::Shard> shard, const Flaws& flaws)
      : ForwardingShard(std::move(shard)), flaws_(flaws) {}

  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    if (!flaws_.run) {
      return ForwardingShard::Run(std::move(pass), std::move(done));
    }
    ForwardingShard::Run(std::move(pass), [done = std::move(done)](auto) {
      done(absl::InternalError("the pass failed"));
    });
  }
  void Load(std::vector<const float*> groups,
            std::function<void(absl::Status)> done) override {
    if (flaws_.load) return done(absl::InternalError("the load failed"));
    ForwardingShard::Load(std::move(groups), std::move(done));
  }
  void Reset(std::function<void(absl::Status)> done) override {
    if (flaws_.reset) return done(absl::InternalError("the reset failed"));
    ForwardingShard::Reset(std::move(done));
  }

 private:
  const Flaws& flaws_;
};

// `flaws` outlives the models.
inline ShardFactory FlawedShards(const Flaws& flaws) {
  const auto sound = [&flaws](const kernels::ShardOptions& options,
                              Device* device, WorkPool* pool,
                              WorkPool::Lane lane)
      -> absl::StatusOr<std::unique_ptr<kernels::Shard>> {
    if (flaws.make) return absl::InternalError("there is no device left");
    return kernels::MakeCpuShard(options, device, pool, std::move(lane));
  };
  return WrappedShards(
      [&flaws](std::unique_ptr<kernels::Shard> shard,
               int64_t) -> std::unique_ptr<kernels::Shard> {
        return std::make_unique<FlawedShard>(std::move(shard), flaws);
      },
      sound);
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_FLAWED_SHARD_H_
