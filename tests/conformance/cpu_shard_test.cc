// The CPU's shards: on every instruction set at hand, on one thread and many.
#include <memory>
#include <string>
#include <vector>

#include "hwy/targets.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "tests/conformance/shard_conformance.h"

namespace accrue::kernels {
namespace {

class CpuShardMaker : public ShardMaker {
 public:
  CpuShardMaker(int64_t simd_target, int threads) : pool_(threads) {
    hwy::SetSupportedTargetsForTest(simd_target);
  }
  ~CpuShardMaker() override { hwy::SetSupportedTargetsForTest(0); }

  absl::StatusOr<std::unique_ptr<Shard>> Make(
      const ShardOptions& options) override {
    return MakeCpuShard(options, device_.get(), &pool_, pool_.NewLane());
  }

 private:
  WorkPool pool_;
  const std::unique_ptr<Device> device_ = MakeCpuDevice();
};

std::vector<ShardBackend> CpuBackends() {
  std::vector<ShardBackend> backends;
#if !defined(__SANITIZE_THREAD__)  // instruction sets race no differently
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const std::string name = hwy::TargetName(target);
    backends.push_back({name, [target] {
                          return std::make_unique<CpuShardMaker>(target, 2);
                        }});
  }
#endif
  for (const int threads : {1, 16}) {
    backends.push_back({"Threads" + std::to_string(threads), [threads] {
                          return std::make_unique<CpuShardMaker>(0, threads);
                        }});
  }
  return backends;
}

INSTANTIATE_TEST_SUITE_P(Cpu, ShardConformance,
                         testing::ValuesIn(CpuBackends()),
                         [](const testing::TestParamInfo<ShardBackend>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace accrue::kernels
