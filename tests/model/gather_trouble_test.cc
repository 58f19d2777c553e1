// GATHER when something is in the way of a cycle's fold: a deletion, readers,
// memory that cannot be had.
#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/model/gathering.h"
#include "server/model/model_store.h"
#include "tests/model/cycle_timing.h"
#include "tests/model/harness.h"
#include "tests/model/holding_reader.h"
#include "tests/model/wrapped_shards.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;

// A push of one float, of one group.
const int64_t kHeldFloat = HeldBytes(sizeof(float), 1);

ModelSpec GatherSpec(int64_t k) {
  ModelSpec spec = SimpleSpec(1, k);
  spec.optimizer.buffering = rule::Buffering::kGather;
  return spec;
}

// Stops its pass at its beginning until it is told to go on.
class PausedShard final : public ForwardingShard {
 public:
  struct Pause {
    std::promise<std::function<void()>> go_on;  // of the first pass
  };

  PausedShard(std::unique_ptr<kernels::Shard> shard, Pause* pause)
      : ForwardingShard(std::move(shard)), pause_(pause) {}

  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    auto kept = std::make_shared<kernels::Pass>(std::move(pass));
    pause_->go_on.set_value([this, kept, done = std::move(done)] {
      ForwardingShard::Run(std::move(*kept), done);
    });
  }

 private:
  Pause* const pause_;
};

// A CPU whose host memory can be used up.
class FullDevice final : public Device {
 public:
  std::string name() const override { return device_->name(); }
  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override {
    return device_->Allocate(size_bytes, tag, ledger);
  }
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override {
    if (full || TakeRefusal()) {
      return absl::ResourceExhaustedError("no host memory");
    }
    return device_->AllocateHost(size_bytes, tag, ledger);
  }

  std::atomic<bool> full{false};
  std::atomic<int64_t> refusals{0};  // so many are refused all the same

 private:
  bool TakeRefusal() {
    if (refusals == 0) return false;
    --refusals;
    return true;
  }

  const std::unique_ptr<Device> device_ = MakeCpuDevice();
};

class GatherTroubleTest : public ::testing::Test {
 protected:
  int64_t held_bytes() {
    return harness_.environment().ledger->live_bytes(MemoryTag::kGathered);
  }

  FullDevice device_;  // outlives the harness's models
  Harness harness_;
};

// The pass reads what was held to its end; then nobody holds it any more.
TEST_F(GatherTroubleTest, ADeletionDuringThePassFreesWhatItReadAfterIt) {
  PausedShard::Pause pause;
  harness_.environment().make_shard =
      WrappedShards([&pause](std::unique_ptr<kernels::Shard> shard, int64_t) {
        return std::make_unique<PausedShard>(std::move(shard), &pause);
      });
  auto model = harness_.Make(GatherSpec(2));
  const std::string a = harness_.Open(*model, "a")->id;
  const std::string b = harness_.Open(*model, "b")->id;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1}).ok());
  auto last = harness_.Send(*model, harness_.NewPush(*model, a, 2, {3}));
  const std::function<void()> go_on = pause.go_on.get_future().get();
  auto waiting = harness_.Send(*model, harness_.NewPush(*model, b, 1, {3}));
  model->Delete();
  EXPECT_EQ(held_bytes(), 2 * kHeldFloat);
  go_on();
  EXPECT_TRUE(last.get().ok()) << "it was folded";
  EXPECT_EQ(waiting.get().status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(held_bytes(), 0);
}

// What the pass reads is there to its end, and so is what was reserved for it.
TEST_F(GatherTroubleTest, ADeletedModelsReservationEndsWithItsPass) {
  PausedShard::Pause pause;
  harness_.environment().make_shard =
      WrappedShards([&pause](std::unique_ptr<kernels::Shard> shard, int64_t) {
        return std::make_unique<PausedShard>(std::move(shard), &pause);
      });
  ModelStore::Options options;
  options.environment = harness_.environment();
  // sgd: momentum and four publications.
  options.state_memory_bytes = 5 * 4 + GatherBytes(GatherSpec(2));
  ModelStore store(options);
  auto create = [&] {
    std::promise<absl::StatusOr<ModelStore::Created>> made;
    store.Create(GatherSpec(2),
                 [&](auto created) { made.set_value(std::move(created)); });
    return made.get_future().get();
  };
  std::shared_ptr<Model> model = create()->model;
  ASSERT_TRUE(harness_.Initialize(*model, 0).ok());
  const std::string a = harness_.Open(*model, "a")->id;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1}).ok());
  auto last = harness_.Send(*model, harness_.NewPush(*model, a, 2, {3}));
  std::function<void()> go_on = pause.go_on.get_future().get();
  ASSERT_TRUE(store.Delete("m").ok());
  model.reset();
  EXPECT_EQ(store.reserved_state_bytes(), options.state_memory_bytes);
  EXPECT_EQ(GetErrorInfo(create().status()).reason, Reason::kStateMemory);
  std::exchange(go_on, nullptr)();
  EXPECT_TRUE(last.get().ok());
  // The pool may hold the model for a moment.
  const absl::Time limit = absl::Now() + absl::Seconds(60);
  while (store.reserved_state_bytes() > 0 && absl::Now() < limit) {
    std::this_thread::yield();
  }
  EXPECT_EQ(store.reserved_state_bytes(), 0);
  EXPECT_TRUE(create().ok());
}

class ParkedGatherTest : public GatherTroubleTest {
 protected:
  // A cycle of two whose last push waits for a reader of an old version.
  void Park() {
    ModelSpec spec = GatherSpec(2);
    spec.max_publications = 2;
    model_ = harness_.Make(spec);
    a_ = harness_.Open(*model_, "a")->id;
    reader_ = HoldingReader::Of(model_->newest());
    for (int64_t push = 1; push <= 3; ++push) {
      ASSERT_TRUE(harness_.PushNow(*model_, a_, push, {1}).ok());
    }
    auto push = harness_.NewPush(*model_, a_, 4, {5});
    push->reservation = std::make_shared<int>(0);
    const std::weak_ptr<void> reservation = push->reservation;
    parked_ = harness_.Send(*model_, std::move(push));
    EXPECT_FALSE(reader_->Why().ok());
    EXPECT_EQ(held_bytes(), 2 * kHeldFloat);
    EXPECT_TRUE(reservation.expired()) << "ingest memory waits for no reader";
    EXPECT_EQ(model_->Describe().version->number, 1);
  }

  std::shared_ptr<Model> model_;
  std::string a_;
  std::shared_ptr<HoldingReader> reader_;
  std::future<absl::StatusOr<PushOutcome>> parked_;
};

TEST_F(ParkedGatherTest, FoldsWhenAReaderHasLetGo) {
  ASSERT_NO_FATAL_FAILURE(Park());
  reader_->LetGo();
  const auto pushed = parked_.get();
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(pushed->published);
  EXPECT_EQ(pushed->groups[0].updates, 2);
  EXPECT_EQ(pushed->groups[0].position, 0);
  EXPECT_THAT(harness_.Parameters(*model_), ElementsAre(-4));
  EXPECT_EQ(held_bytes(), 0);
}

TEST_F(ParkedGatherTest, EndsWithItsModel) {
  ASSERT_NO_FATAL_FAILURE(Park());
  model_->Delete();
  EXPECT_EQ(parked_.get().status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(held_bytes(), 0);
  reader_->LetGo();
}

// Nothing is folded and nothing lost: the next EndCycle folds it.
TEST_F(GatherTroubleTest, AnEndCycleWithoutMemoryLeavesWhatIsHeld) {
  harness_.environment().device = &device_;
  auto model = harness_.Make(GatherSpec(3));
  const std::string a = harness_.Open(*model, "a")->id;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1}).ok());
  ASSERT_TRUE(harness_.PushNow(*model, a, 2, {3}).ok());
  device_.full = true;
  const StateImage before = harness_.Image(*model);
  const absl::Status refused = harness_.EndCycle(*model).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_EQ(harness_.Image(*model), before);
  // Nor is the push that would have completed the cycle.
  const absl::Status push = harness_.PushNow(*model, a, 3, {5}).status();
  EXPECT_EQ(push.code(), absl::StatusCode::kResourceExhausted) << push;
  EXPECT_EQ(harness_.Image(*model), before);

  device_.full = false;
  const auto ended = harness_.EndCycle(*model);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_THAT(ended->missing_pushes, ElementsAre(1));
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-2));
  EXPECT_EQ(held_bytes(), 0);
  EXPECT_TRUE(harness_.PushNow(*model, a, 3, {5}).ok());
}

// A timeout's close is nobody's request: it is tried again by itself.
TEST_F(GatherTroubleTest, ATimeoutWithoutMemoryIsTriedAgain) {
  harness_.environment().device = &device_;
  ModelSpec spec = GatherSpec(4);
  spec.cycle_timeout = absl::Milliseconds(5);
  spec.min_pushes = 3;
  spec.max_pushes_per_worker = 1;
  auto model = harness_.Make(spec);
  NextVersion next(*model);
  device_.refusals = 2;
  // The fourth worker is dead, and these may push no more.
  for (const char* worker : {"a", "b", "c"}) {
    const std::string session = harness_.Open(*model, worker)->id;
    ASSERT_TRUE(harness_.PushNow(*model, session, 1, {3}).ok());
  }
  const auto publication = next.Wait();
  ASSERT_NE(publication, nullptr);
  EXPECT_EQ(device_.refusals, 0);
  EXPECT_EQ(publication->facts().missing_pushes, 1);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-3));
  EXPECT_EQ(held_bytes(), 0);
}

TEST_F(GatherTroubleTest, SoIsTheCloseOfACycleThatWasOverdue) {
  harness_.environment().device = &device_;
  ModelSpec spec = GatherSpec(4);
  spec.cycle_timeout = absl::Milliseconds(1);
  spec.min_pushes = 2;
  auto model = harness_.Make(spec);
  const std::string a = harness_.Open(*model, "a")->id;
  NextVersion next(*model);
  device_.refusals = 1;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {3}).ok());
  Outlast(harness_, *model, 2 * spec.cycle_timeout);
  EXPECT_EQ(device_.refusals, 1) << "two pushes are what it waits for";
  ASSERT_TRUE(harness_.PushNow(*model, a, 2, {5}).ok());
  const auto publication = next.Wait();
  ASSERT_NE(publication, nullptr);
  EXPECT_EQ(device_.refusals, 0);
  EXPECT_EQ(publication->facts().missing_pushes, 2);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-4));
}

// A single element takes more bytes than a float does, in a pair or with a
// scale.
TEST(GatherBytesTest, AreEnoughInEveryEncoding) {
  using kernels::Encoding;
  for (const int64_t elems : {1, 2, 3, 1023, 1024, 1025, 16'411}) {
    ModelSpec spec = GatherSpec(3);
    spec.tensors[0].shape = {elems};
    for (const Encoding encoding :
         {Encoding::kF32, Encoding::kBf16, Encoding::kF16, Encoding::kInt8,
          Encoding::kTopK}) {
      const int64_t most = kernels::PayloadBytesOf(encoding, elems).most;
      EXPECT_LE(3 * HeldBytes(most, 1), GatherBytes(spec)) << elems;
    }
    if (elems == 1) continue;
    EXPECT_EQ(3 * HeldBytes(4 * elems, 1), GatherBytes(spec)) << elems;
  }
}

// What it is charged for is what it takes: with many groups, a norm of each.
TEST_F(GatherTroubleTest, APushOfManyGroupsIsChargedForItsNorms) {
  constexpr int64_t kGroups = 1000;
  ModelSpec spec = GatherSpec(2);
  spec.tensors.clear();
  const GroupSpec group = spec.groups[0];
  spec.groups.clear();
  for (int64_t g = 0; g < kGroups; ++g) {
    spec.groups.push_back(group);
    spec.groups.back().name = "g" + std::to_string(g);
    spec.tensors.push_back(
        {"t" + std::to_string(g), {1}, "g" + std::to_string(g)});
  }
  auto model = harness_.Make(spec);
  const std::string a = harness_.Open(*model, "a")->id;
  const std::vector<float> gradient(kGroups, 1.0f);
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, gradient).ok());
  EXPECT_GE(held_bytes(), kGroups * 4 + kGroups * 8);
  EXPECT_EQ(2 * held_bytes(), GatherBytes(model->spec()));
  const auto pushed = harness_.PushNow(*model, a, 2, gradient);
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  for (const GroupProgress& progress : pushed->groups) {
    EXPECT_EQ(progress.updates, 1);
    EXPECT_EQ(progress.position, 0);
  }
  EXPECT_EQ(held_bytes(), 0);
}

}  // namespace
}  // namespace accrue
