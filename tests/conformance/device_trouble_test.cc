// What a GPU's shard makes of a device that has no memory, fails or is lost.
#include <latch>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/conformance/device_backend.h"
#include "tests/conformance/pinned_shard.h"
#include "tests/conformance/shard_pair.h"
#include "tests/conformance/training_run.h"
#include "tests/kernels/host_kernels.h"

namespace accrue::kernels {
namespace {

using testing::HasSubstr;

constexpr int64_t kElems = 3 * kBlockElems + 5;

// One fake GPU that the test keeps hold of, and shards on it.
class DeviceTroubleTest : public testing::Test {
 protected:
  void Start(const FakeGpuOptions& options) {
    unit_.reset();
    gpu_ = std::make_unique<FakeGpu>(options);
    unit_ = MakeSmallUnit(gpu_.get(), MakeHostKernels());
    maker_ = std::make_unique<Maker>(unit_.get());
  }

  class Maker : public ShardMaker {
   public:
    explicit Maker(DeviceUnit* unit) : unit_(unit) {}
    absl::StatusOr<std::unique_ptr<Shard>> Make(
        const ShardOptions& options) override {
      auto shard = MakeDeviceShard(options, {unit_});
      if (!shard.ok()) return shard;
      return MakePinnedShard(*std::move(shard), &unit_->gpu(), options.blocks);
    }

   private:
    DeviceUnit* const unit_;
  };

  static absl::Status StatusOfRun(Shard& shard, Pass pass) {
    std::latch ended(1);
    absl::Status status;
    shard.Run(std::move(pass), [&](absl::StatusOr<PassResult> result) {
      status = std::move(result).status();
      ended.count_down();
    });
    ended.wait();
    return status;
  }

  std::unique_ptr<FakeGpu> gpu_;
  std::unique_ptr<DeviceUnit> unit_;
  std::unique_ptr<Maker> maker_;
};

GroupTraits Adam(bool clipped) {
  return {.optimizer = rule::Optimizer::kAdam, .clipped = clipped, .k = 1};
}

TEST_F(DeviceTroubleTest, WithoutMemoryThereIsNoShardAndNothingIsLeft) {
  Start({.capacity_bytes = int64_t{8} << 20});
  const FakeCounts before = gpu_->counts();
  TrainingRun run(OneTensor(kElems, Adam(false)), 1);
  ShardOptions options = run.shard_options();
  MemoryLedger ledger;
  options.ledger = &ledger;
  // The slots took 6 MiB: of three arrays of 64 KiB * 3 any number fits, of
  // three of 1 MiB only two.
  EXPECT_TRUE(maker_->Make(options).ok());
  options.blocks = std::make_shared<const BlockMap>(
      MakeBlockMap({int64_t{1} << 18}, {0}, 1));
  const auto shard = maker_->Make(options);
  EXPECT_EQ(shard.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(shard.status().message()),
              HasSubstr("no memory for 1048576 bytes"));
  EXPECT_EQ(gpu_->counts().device_bytes, before.device_bytes);
  for (const MemoryLedger::Row& row : ledger.Report()) {
    EXPECT_EQ(row.live_bytes, 0) << MemoryTagName(row.tag);
  }
  EXPECT_TRUE(gpu_->health().ok());
}

// Wherever in a pass something fails: it is the pass's error, and no other
// shard's; and a reset shard trains as a new one.
TEST_F(DeviceTroubleTest, AnyFaultFailsItsPassAloneAndAResetBringsItBack) {
  using Effect = FakeFault::Effect;
  constexpr FakeOp kOps[] = {FakeOp::kCopyToDevice, FakeOp::kCopyToHost,
                             FakeOp::kZero, FakeOp::kKernel, FakeOp::kRecord};
  for (const FakeOp op : kOps) {
    for (const Effect effect : {Effect::kRefuse, Effect::kFail}) {
      // The first of a pass, and the first of its second stage or chunk.
      for (const int64_t nth : {1, 2}) {
        SCOPED_TRACE(testing::Message()
                     << "operation " << static_cast<int>(op) << ", effect "
                     << static_cast<int>(effect) << ", " << nth);
        Start({.schedule = FakeSchedule::kRandom, .seed = 11});
        const ModelTraits model = OneTensor(kElems, Adam(true));
        TrainingRun run(model, 5), other_run(model, 6);
        Pair pair(*maker_, run), other(*maker_, other_run);
        pair.Run(run.NextPass(1), false);
        other.Run(other_run.NextPass(1), false);

        gpu_->Inject({.op = op,
                      .nth = nth,
                      .effect = effect,
                      .status = absl::InternalError("a planted fault")});
        const PassPlan plan = run.NextPass(1);
        const absl::Status status =
            StatusOfRun(pair.shard(), pair.parameters().Bind(plan));
        EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
        EXPECT_THAT(std::string(status.message()), HasSubstr("planted"));

        other.Run(other_run.NextPass(1), false);
        ASSERT_TRUE(ResetAndWait(pair.shard()).ok());
        pair.LoadParameters();
        pair.state() = MakeReferenceState(*run.blocks());
        pair.Run(run.NextPass(1), false);
      }
    }
  }
}

TEST_F(DeviceTroubleTest, AGradientThatIsBrokenOnItsWayFailsThePass) {
  Start({.schedule = FakeSchedule::kLazy});
  TrainingRun run(OneTensor(kElems, Adam(false)), 3);
  Pair pair(*maker_, run);
  pair.Run(run.NextPass(1), false);
  gpu_->Inject(
      {.op = FakeOp::kCopyToDevice, .effect = FakeFault::Effect::kCorrupt});
  const PassPlan plan = run.NextPass(1);
  const absl::Status status =
      StatusOfRun(pair.shard(), pair.parameters().Bind(plan));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not finite"));
}

TEST_F(DeviceTroubleTest, OfALostGpuEveryPassFailsAtOnceAndSaysWhy) {
  Start({.schedule = FakeSchedule::kRandom, .seed = 3});
  TrainingRun run(OneTensor(kElems, Adam(true)), 4);
  Pair pair(*maker_, run);
  pair.Run(run.NextPass(1), false);
  gpu_->Inject({.op = FakeOp::kKernel,
                .nth = 2,
                .effect = FakeFault::Effect::kLose,
                .status = absl::InternalError("fell off the bus")});
  for (int i = 0; i < 3; ++i) {
    const absl::Status status =
        StatusOfRun(pair.shard(), pair.parameters().Bind(run.NextPass(1)));
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("fell off the bus"));
  }
  EXPECT_FALSE(gpu_->health().ok());
  EXPECT_FALSE(ResetAndWait(pair.shard()).ok());
}

// 12 bytes a parameter for adam, 8 for sgd, 4 for classic's buffer, and the
// slots.
TEST_F(DeviceTroubleTest, AShardHoldsItsMomentsParametersAndBufferOnly) {
  Start({});
  const int64_t slots = gpu_->counts().device_bytes;
  EXPECT_EQ(slots, 3 * (int64_t{2} << 20));
  const auto expect_held = [&](const GroupTraits& traits, int64_t bytes) {
    TrainingRun run(OneTensor(kElems, traits), 1);
    Pair pair(*maker_, run);
    pair.Run(run.NextPass(1), false);
    EXPECT_EQ(gpu_->counts().device_bytes - slots, bytes * kElems);
  };
  expect_held({.optimizer = rule::Optimizer::kSgd}, 8);
  expect_held({.optimizer = rule::Optimizer::kAdam}, 12);
  expect_held({.optimizer = rule::Optimizer::kAdam,
               .buffering = rule::Buffering::kClassic},
              16);
  EXPECT_EQ(gpu_->counts().device_bytes, slots);
}

}  // namespace
}  // namespace accrue::kernels
