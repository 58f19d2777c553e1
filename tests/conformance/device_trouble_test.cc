// What a GPU's shard makes of a device that has no memory, fails or is lost.
#include <chrono>
#include <future>
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

// Fake GPUs that the test keeps hold of, and shards with a part on each.
class DeviceTroubleTest : public testing::Test {
 protected:
  void Start(const FakeGpuOptions& options, int gpu_count = 1) {
    units_.clear();
    gpus_.clear();
    for (int i = 0; i < gpu_count; ++i) {
      FakeGpuOptions own = options;
      own.name = "fake:" + std::to_string(i);
      own.seed += static_cast<uint64_t>(i);
      gpus_.push_back(std::make_unique<FakeGpu>(own));
      units_.push_back(MakeSmallUnit(gpus_.back().get(), MakeHostKernels()));
    }
    gpu_ = gpus_.back().get();
    std::vector<DeviceUnit*> units;
    for (const auto& unit : units_) units.push_back(unit.get());
    maker_ = std::make_unique<Maker>(std::move(units));
  }

  class Maker : public ShardMaker {
   public:
    explicit Maker(std::vector<DeviceUnit*> units) : units_(std::move(units)) {}
    absl::StatusOr<std::unique_ptr<Shard>> Make(
        const ShardOptions& options) override {
      auto shard = MakeDeviceShard(options, units_, {.least_part_elems = 1});
      if (!shard.ok()) return shard;
      return MakePinnedShard(*std::move(shard), &units_[0]->gpu(),
                             options.blocks);
    }

   private:
    const std::vector<DeviceUnit*> units_;
  };

  // Whoever ends it twice dies of it.
  static std::future<absl::Status> BeginRun(Shard& shard, Pass pass) {
    auto ended = std::make_shared<std::promise<absl::Status>>();
    shard.Run(std::move(pass), [ended](absl::StatusOr<PassResult> result) {
      ended->set_value(std::move(result).status());
    });
    return ended->get_future();
  }
  static absl::Status StatusOfRun(Shard& shard, Pass pass) {
    return BeginRun(shard, std::move(pass)).get();
  }

  std::vector<std::unique_ptr<FakeGpu>> gpus_;
  std::vector<std::unique_ptr<DeviceUnit>> units_;
  FakeGpu* gpu_ = nullptr;  // the last, and the one that is in trouble
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

// Wherever in the order it is, and however many others share the model.
TEST_F(DeviceTroubleTest, AGpuWithoutRoomLeavesAModelToTheOthers) {
  TrainingRun run(OneTensor(kElems, Adam(false)), 1);
  for (size_t full = 0; full < 3; ++full) {
    Start({}, 3);
    const auto filled = gpus_[full]->Allocate(
        FakeGpuOptions().capacity_bytes - gpus_[full]->counts().device_bytes,
        MemoryTag::kOther, nullptr);
    ASSERT_TRUE(filled.ok()) << filled.status();
    const auto shard = maker_->Make(run.shard_options());
    ASSERT_TRUE(shard.ok()) << shard.status();
    std::vector<std::string> names;
    for (const Device* device : (*shard)->devices()) {
      names.push_back(device->name());
    }
    std::vector<std::string> others = {"fake:0", "fake:1", "fake:2"};
    others.erase(others.begin() + static_cast<ptrdiff_t>(full));
    EXPECT_EQ(names, others);
  }
}

class DeviceFaultTest : public DeviceTroubleTest,
                        public testing::WithParamInterface<int> {};

// Wherever in a pass something fails, and on however many GPUs it goes on: it
// is the pass's error, and no other shard's; and a reset shard trains as a new
// one.
TEST_P(DeviceFaultTest, AnyFaultFailsItsPassAloneAndAResetBringsItBack) {
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
        Start({.schedule = FakeSchedule::kRandom, .seed = 11}, GetParam());
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

INSTANTIATE_TEST_SUITE_P(Gpus, DeviceFaultTest, testing::Values(1, 2));

// What the others have still to do reads the payloads and writes parameters.
TEST_F(DeviceTroubleTest, APassThatFailedOnOneGpuEndsWhenItHasEndedOnAll) {
  Start({}, 2);
  TrainingRun run(OneTensor(kElems, Adam(true)), 5);
  TrainingRun beside_run(OneTensor(kElems, Adam(true)), 6);
  Maker on_the_lost({units_.back().get()});
  Pair pair(*maker_, run), beside(on_the_lost, beside_run);
  gpu_->Lose("fallen off");

  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  WorkPool& others = units_[0]->pool();
  for (int i = 0; i < others.thread_count(); ++i) {
    others.Post(others.NewLane(), [released] { released.wait(); });
  }
  const PassPlan plan = run.NextPass(1), beside_plan = beside_run.NextPass(1);
  std::future<absl::Status> ended =
      BeginRun(pair.shard(), pair.parameters().Bind(plan));
  EXPECT_FALSE(
      StatusOfRun(beside.shard(), beside.parameters().Bind(beside_plan)).ok());
  EXPECT_EQ(ended.wait_for(std::chrono::seconds(0)),
            std::future_status::timeout);
  release.set_value();
  EXPECT_THAT(std::string(ended.get().message()), HasSubstr("fallen off"));
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
