// The CPU's shards: on every instruction set at hand, on one thread and many.
#include <cstring>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hwy/targets.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "tests/conformance/shard_conformance.h"
#include "tests/conformance/training_run.h"
#include "tests/kernels/reference_pass.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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
                         testing::ValuesIn(CpuBackends()), NameOfBackend);

// Beyond the caches, where new parameters are stored past them.
TEST(CpuShardTest, AShardTooLargeForAnyCacheAgreesWithTheReference) {
  ModelTraits model;
  model.tensor_elems = {3, int64_t{8} << 20, 17};
  model.tensor_groups = {0, 1, 0};
  model.groups.resize(2);
  TrainingRun run(model, 1);
  Parameters parameters = run.RandomParameters();
  Parameters expected = parameters;
  PassPlan plan;
  do {
    plan = run.NextPass(1);
  } while (!plan.groups[1].update.has_value());

  CpuShardMaker maker(0, 2);
  const ShardOptions options = run.shard_options();
  auto shard = maker.Make(options);
  ASSERT_TRUE(shard.ok()) << shard.status();
  std::latch ended(1);
  (*shard)->Run(parameters.Bind(plan), [&](absl::StatusOr<PassResult> result) {
    EXPECT_TRUE(result.ok()) << result.status();
    ended.count_down();
  });
  ended.wait();

  ReferenceState state = MakeReferenceState(*options.blocks);
  RunReference(*options.blocks, expected.Bind(plan), state);
  for (size_t g = 0; g < model.groups.size(); ++g) {
    const std::vector<float>& got = parameters.next[g];
    EXPECT_EQ(std::memcmp(got.data(), expected.next[g].data(), got.size() * 4),
              0)
        << "group " << g;
  }
}

#if defined(__x86_64__)
// A small pass runs on whatever thread asks for it.
TEST(CpuShardTest, AThreadThatFlushesDenormalsEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr unsigned kFlushAndZero = 0x8040;
  ModelTraits model;
  model.tensor_elems = {16};
  model.tensor_groups = {0};
  model.groups.resize(1);
  TrainingRun run(model, 1);
  Parameters parameters = run.RandomParameters();
  const PassPlan plan = run.NextPass(1);
  CpuShardMaker maker(0, 1);
  auto shard = maker.Make(run.shard_options());
  ASSERT_TRUE(shard.ok()) << shard.status();
  EXPECT_DEATH(std::thread([&] {
                 _mm_setcsr(_mm_getcsr() | kFlushAndZero);
                 (*shard)->Run(parameters.Bind(plan), [](auto) {});
               }).join(),
               "flushes denormals");
}
#endif

}  // namespace
}  // namespace accrue::kernels
