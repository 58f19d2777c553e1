// GATHER: pushes are held, acknowledged when they are, and folded together when
// their cycle ends, in an order of their own.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/model/gathering.h"
#include "tests/model/failing_shard.h"
#include "tests/model/harness.h"
#include "tests/model/noting_shard.h"

namespace accrue {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint32_t kSeed = 1611;
constexpr int64_t kBlock = kernels::kBlockElems;
constexpr double kWeights[] = {1.0, 0.3, 2.5, 0.7};
const char* const kWorkers[] = {"ann", "bob", "cid", "dot"};

ModelSpec GatherSpec(int64_t elems, int64_t k) {
  ModelSpec spec = SimpleSpec(elems, k);
  spec.optimizer.buffering = rule::Buffering::kGather;
  return spec;
}

// Adam with everything that depends on a sum: weights, L2, both clips.
ModelSpec AdamSpec(int64_t elems, rule::Buffering buffering) {
  ModelSpec spec = SimpleSpec(elems, 4);
  spec.optimizer.optimizer = rule::Optimizer::kAdam;
  spec.optimizer.buffering = buffering;
  rule::Hyperparameters& hyper = spec.groups[0].hyper;
  hyper = {};
  hyper.learning_rate = 0.01;
  hyper.weight_decay = 0.01;
  // A push has a norm of about sqrt(elems), the mean of four one of less than
  // half that.
  hyper.clip_norm = 0.25 * std::sqrt(static_cast<double>(elems));
  hyper.clip_push_norm = std::sqrt(static_cast<double>(elems));
  return spec;
}

std::vector<std::vector<float>> Gradients(int64_t count, int64_t elems) {
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> gradients(static_cast<size_t>(count));
  for (std::vector<float>& gradient : gradients) {
    gradient.resize(static_cast<size_t>(elems));
    for (float& g : gradient) g = normal(random);
  }
  return gradients;
}

class GatherTest : public ::testing::Test {
 protected:
  // A push that its four workers made together: `gradients[4*cycle + worker]`,
  // in several encodings.
  std::unique_ptr<Push> NewPush(Model& model, const std::string& session,
                                int64_t cycle, int64_t worker,
                                const std::vector<float>& gradient) {
    constexpr kernels::Encoding kEncodings[] = {kernels::Encoding::kF32,
                                                kernels::Encoding::kBf16,
                                                kernels::Encoding::kF16};
    auto push = harness_.NewPush(model, session, cycle + 1, gradient,
                                 kEncodings[worker % 3]);
    push->header.weight = kWeights[worker];
    push->header.scale = worker == 2 ? 4.0 : 1.0;
    return push;
  }

  // Cycles of four workers' pushes, in this order within the odd ones and in
  // the workers' own in the others; what the model is then.
  StateImage Train(const ModelSpec& spec,
                   const std::vector<std::vector<float>>& gradients,
                   const std::vector<int64_t>& order) {
    auto model = harness_.Make(spec, 0.5);
    std::vector<std::string> sessions;
    for (const char* worker : kWorkers) {
      sessions.push_back(harness_.Open(*model, worker)->id);
    }
    const auto cycles = static_cast<int64_t>(gradients.size() / 4);
    for (int64_t cycle = 0; cycle < cycles; ++cycle) {
      for (int64_t i = 0; i < 4; ++i) {
        const int64_t w = cycle % 2 == 0 ? order[static_cast<size_t>(i)] : i;
        const auto pushed = harness_.PushNow(
            *model, NewPush(*model, sessions[static_cast<size_t>(w)], cycle, w,
                            gradients[static_cast<size_t>(4 * cycle + w)]));
        EXPECT_TRUE(pushed.ok()) << pushed.status();
        EXPECT_EQ(pushed.ok() && pushed->published, i == 3);
      }
    }
    EXPECT_GT(model->Describe().groups[0].clip_norm_seen,
              spec.groups[0].hyper.clip_norm)
        << "nothing was clipped";
    return Anonymous(harness_.Image(*model));
  }

  int64_t held_bytes() {
    return harness_.environment().ledger->live_bytes(MemoryTag::kGathered);
  }

  Harness harness_;
};

TEST_F(GatherTest, EveryOrderOfArrivalGivesTheSameBits) {
  std::cout << "seed " << kSeed << "\n";
  const int64_t elems = kBlock + 77;
  const auto gradients = Gradients(3 * 4, elems);
  const ModelSpec gather = AdamSpec(elems, rule::Buffering::kGather);
  const ModelSpec classic = AdamSpec(elems, rule::Buffering::kClassic);
  std::vector<int64_t> order = {0, 1, 2, 3};
  // CLASSIC's, where pushes come in the workers' order; and where they do not,
  // other ones: the order could be seen if it were there.
  StateImage want = Train(classic, gradients, order);
  want.accumulation.clear();
  want.accumulation_bytes = 0;
  int64_t orders = 0, classics_that_differ = 0;
  do {
    const StateImage got = Train(gather, gradients, order);
    EXPECT_TRUE(got == want) << "order " << testing::PrintToString(order);
    if (++orders % 6 == 0) {
      StateImage other = Train(classic, gradients, order);
      classics_that_differ += other.parameters != want.parameters ? 1 : 0;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(orders, 24);
  EXPECT_GT(classics_that_differ, 0);
}

// sgd with momentum, unit weights, b = 1/2 (a float), lr = 1/8. The sum of four
// gradients has 3 roundings in either order, each of at most 2^-24 of
// S = sum|g|; 1/4 is exact. So the two mean gradients differ by 2*3*2^-24*S/4
// at most. Of each m, the product b*m is exact and the sum rounds once: 2^-24 *
// M, M >= |m|, in either; m's difference is E <- E/2 + 6/4*2^-24*S + 2*2^-24*M.
// theta takes lr*E of it, exactly, and rounds twice, once in either: 2*2^-24*T,
// T >= |theta|.
TEST_F(GatherTest, IsWithinRoundingOfClassicInAnyOrder) {
  std::cout << "seed " << kSeed << "\n";
  const int64_t elems = 67, cycles = 50;
  const auto gradients = Gradients(4 * cycles, elems);
  ModelSpec specs[2] = {SimpleSpec(elems, 4), GatherSpec(elems, 4)};
  std::vector<float> parameters[2];
  for (size_t i = 0; i < 2; ++i) {
    specs[i].groups[0].hyper.learning_rate = 0.125;
    specs[i].groups[0].hyper.beta1 = 0.5;
  }
  specs[0].optimizer.buffering = rule::Buffering::kClassic;
  std::vector<double> error(elems), m(elems), theta(elems), bound(elems);
  std::mt19937 random(kSeed);
  std::vector<size_t> order = {0, 1, 2, 3};
  std::shared_ptr<Model> models[2];
  std::vector<std::string> sessions[2];
  for (size_t i = 0; i < 2; ++i) {
    models[i] = harness_.Make(specs[i]);
    for (const char* worker : kWorkers) {
      sessions[i].push_back(harness_.Open(*models[i], worker)->id);
    }
  }
  for (int64_t cycle = 0; cycle < cycles; ++cycle) {
    std::shuffle(order.begin(), order.end(), random);
    for (const size_t w : order) {
      for (size_t i = 0; i < 2; ++i) {
        ASSERT_TRUE(harness_
                        .PushNow(*models[i], sessions[i][w], cycle + 1,
                                 gradients[static_cast<size_t>(4 * cycle) + w])
                        .ok());
      }
    }
    for (size_t i = 0; i < 2; ++i) {
      parameters[i] = harness_.Parameters(*models[i]);
    }
    for (size_t e = 0; e < static_cast<size_t>(elems); ++e) {
      double sum = 0;
      for (size_t w = 0; w < 4; ++w) {
        sum += std::abs(static_cast<double>(
            gradients[static_cast<size_t>(4 * cycle) + w][e]));
      }
      m[e] = m[e] / 2 + sum / 4;
      theta[e] += 0.125 * m[e];
      error[e] = error[e] / 2 + 0x1p-24 * (1.5 * sum + 2 * m[e]);
      bound[e] += 0.125 * error[e] + 2 * 0x1p-24 * theta[e];
      ASSERT_NEAR(parameters[0][e], parameters[1][e], bound[e]) << cycle;
    }
  }
  EXPECT_NE(parameters[0], parameters[1]) << "no order was another";
}

TEST_F(GatherTest, APushIsAnsweredWhenItIsHeldAndOneWorkerFillsACycle) {
  auto model = harness_.Make(GatherSpec(1, 4));
  const std::string session = harness_.Open(*model, "a")->id;
  for (int64_t push = 1; push <= 8; ++push) {
    const auto pushed =
        harness_.PushNow(*model, session, push, {static_cast<float>(push)});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_EQ(pushed->folded_pushes, push);
    EXPECT_EQ(pushed->published, push % 4 == 0);
    EXPECT_EQ(pushed->version.number, push / 4);
    EXPECT_EQ(pushed->groups[0].position, push % 4);
    EXPECT_EQ(pushed->groups[0].updates, push / 4);
    const float want = push < 4 ? 0.0f : push < 8 ? -2.5f : -9.0f;
    EXPECT_THAT(harness_.Parameters(*model), ElementsAre(want));
  }
}

TEST_F(GatherTest, WhatIsHeldIsCountedAndIngestMemoryIsFreeAgain) {
  const int64_t elems = 100'000;
  const int64_t payload = elems * 4;
  auto model = harness_.Make(GatherSpec(elems, 4));
  const std::vector<float> gradient(static_cast<size_t>(elems), 1.0f);
  const std::string session = harness_.Open(*model, "a")->id;
  for (int64_t push = 1; push <= 4; ++push) {
    auto sent = harness_.NewPush(*model, session, push, gradient);
    auto reservation = std::make_shared<int>(0);
    const std::weak_ptr<int> reserved = reservation;
    sent->reservation = std::move(reservation);
    ASSERT_TRUE(harness_.PushNow(*model, std::move(sent)).ok());
    EXPECT_TRUE(reserved.expired());
    const int64_t held = push % 4;
    const int64_t counted = model->Describe().accumulation_buffer_bytes;
    EXPECT_GE(counted, held * payload);
    EXPECT_LE(counted, held * (payload + payload / 8 + 1024));
    EXPECT_EQ(held_bytes(), counted);
  }
  for (const MemoryLedger::Row& row : model->Describe().memory) {
    if (row.tag != MemoryTag::kGathered) continue;
    EXPECT_EQ(row.live_bytes, 0);
    EXPECT_EQ(row.peak_bytes, GatherBytes(model->spec()));
  }
}

// Of other small models the thread that submits a push folds it; of these it
// would plan a whole cycle, and it may be one that must not take so long.
TEST_F(GatherTest, ACycleIsPlannedOnThePoolHoweverSmallTheModel) {
  std::vector<std::thread::id> threads;
  harness_.environment().make_shard = NotingShards(&threads);
  auto model = harness_.Make(GatherSpec(1, 2));
  const std::string session = harness_.Open(*model, "a")->id;
  for (int64_t push = 1; push <= 8; ++push) {
    ASSERT_TRUE(harness_.PushNow(*model, session, push, {1}).ok());
  }
  EXPECT_EQ(threads.size(), 4);
  EXPECT_THAT(threads, Not(Contains(std::this_thread::get_id())));
}

TEST_F(GatherTest, ARepeatedPushIsHeldOnce) {
  auto model = harness_.Make(GatherSpec(1, 2));
  const std::string a = harness_.Open(*model, "a")->id;
  const auto first = harness_.PushNow(*model, a, 1, {4});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = harness_.PushNow(*model, a, 1, {4});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(again->folded_pushes, 1);
  EXPECT_EQ(GetErrorInfo(harness_.PushNow(*model, a, 1, {5}).status()).reason,
            Reason::kSequenceReused);
  ASSERT_TRUE(harness_.PushNow(*model, a, 2, {8})->published);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-6));
}

// Who took the session over goes on where the other was; what that one had
// pushed is folded, before his.
TEST_F(GatherTest, ATakeoverLeavesWhatWasHeld) {
  auto model = harness_.Make(GatherSpec(1, 3));
  auto straight = harness_.Make(GatherSpec(1, 3));
  // In float the sum depends on the order: (1 + 2^24) - 2^24 is 0, but
  // (1 - 2^24) + 2^24 and (2^24 - 2^24) + 1 are 1.
  const float first = 0x1p24f;
  const std::string b = harness_.Open(*model, "b")->id;
  ASSERT_TRUE(harness_.PushNow(*model, b, 1, {first}).ok());
  const std::string again = harness_.Open(*model, "b")->id;
  const std::string a = harness_.Open(*model, "a")->id;
  EXPECT_EQ(GetErrorInfo(harness_.PushNow(*model, b, 2, {1}).status()).reason,
            Reason::kSessionFenced);
  ASSERT_TRUE(harness_.PushNow(*model, again, 1, {-first}).ok());
  ASSERT_TRUE(harness_.CloseSession(*model, again).ok());
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1})->published);

  const std::string one = harness_.Open(*straight, "one")->id;
  int64_t sequence = 0;
  for (const float g : {1.0f, first, -first}) {
    ASSERT_TRUE(harness_.PushNow(*straight, one, ++sequence, {g}).ok());
  }
  EXPECT_EQ(harness_.Parameters(*model), harness_.Parameters(*straight));
}

TEST_F(GatherTest, AWorkersShareOfAVersionIsUsedWhenItsPushIsHeld) {
  ModelSpec spec = GatherSpec(1, 4);
  spec.max_pushes_per_worker = 1;
  auto model = harness_.Make(spec);
  const std::string a = harness_.Open(*model, "a")->id;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1}).ok());
  EXPECT_EQ(GetErrorInfo(harness_.PushNow(*model, a, 2, {1}).status()).reason,
            Reason::kQuota);
  ASSERT_TRUE(harness_.EndCycle(*model).ok());
  EXPECT_TRUE(harness_.PushNow(*model, a, 2, {1}).ok());
}

TEST_F(GatherTest, EndCycleFoldsWhatIsHeldAndDividesByIt) {
  auto model = harness_.Make(GatherSpec(1, 4));
  const std::string a = harness_.Open(*model, "a")->id;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1}).ok());
  ASSERT_TRUE(harness_.PushNow(*model, a, 2, {3}).ok());
  const auto ended = harness_.EndCycle(*model);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_THAT(ended->missing_pushes, ElementsAre(2));
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-2));
  EXPECT_EQ(held_bytes(), 0);
  EXPECT_TRUE(harness_.EndCycle(*model)->closed_groups.empty());
}

TEST_F(GatherTest, ATimeoutFoldsWhatIsHeldAndDividesByIt) {
  ModelSpec spec = GatherSpec(1, 4);
  spec.cycle_timeout = absl::Milliseconds(5);
  auto model = harness_.Make(spec);
  const std::string a = harness_.Open(*model, "a")->id;
  std::promise<int64_t> missing;
  auto subscription = model->Subscribe(
      [&](auto news) { missing.set_value((*news)->facts().missing_pushes); });
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {3}).ok());
  EXPECT_EQ(missing.get_future().get(), 3);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-3));
}

// Of groups that differ in k the longest cycle says how long pushes stay.
TEST_F(GatherTest, PushesStayUntilEveryGroupHasFoldedThem) {
  ModelSpec spec = GatherSpec(1, 2);
  spec.groups.push_back(spec.groups[0]);
  spec.groups[0].name = "fast";
  spec.groups[1].name = "slow";
  spec.groups[1].k = spec.groups[1].update_every = 4;
  spec.tensors = {{"f", {1}, "fast"}, {"s", {1}, "slow"}};
  auto model = harness_.Make(spec);
  const std::string a = harness_.Open(*model, "a")->id;
  const std::string b = harness_.Open(*model, "b")->id;
  const int64_t one = GatherBytes(spec) / 4;
  ASSERT_TRUE(harness_.PushNow(*model, b, 1, {1, 1}).ok());
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {3, 3})->published);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-2, 0));
  EXPECT_EQ(held_bytes(), 2 * one) << "slow has yet to fold them";
  ASSERT_TRUE(harness_.PushNow(*model, b, 2, {5, 5}).ok());
  EXPECT_EQ(held_bytes(), 3 * one);
  ASSERT_TRUE(harness_.PushNow(*model, a, 2, {7, 7})->published);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-8, -4));
  EXPECT_EQ(held_bytes(), 0);
}

TEST_F(GatherTest, ADeletedModelHoldsNothing) {
  auto model = harness_.Make(GatherSpec(1, 4));
  const std::string a = harness_.Open(*model, "a")->id;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1}).ok());
  EXPECT_GT(held_bytes(), 0);
  model->Delete();
  EXPECT_EQ(held_bytes(), 0);
  EXPECT_EQ(harness_.PushNow(*model, a, 2, {1}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(GatherTest, APoisonedModelHoldsNothing) {
  harness_.environment().make_shard = FailingShards(3, 0);
  auto model = harness_.Make(GatherSpec(3, 3));
  const std::string a = harness_.Open(*model, "a")->id;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1, 1, 1}).ok());
  ASSERT_TRUE(harness_.PushNow(*model, a, 2, {1, 1, 1}).ok());
  EXPECT_EQ(
      GetErrorInfo(harness_.PushNow(*model, a, 3, {1, 1, 1}).status()).reason,
      Reason::kDeviceFault);
  EXPECT_EQ(held_bytes(), 0);
}

TEST_F(GatherTest, ADrainTakesWhatIsCompleteAndDoesNotWaitForTheCycle) {
  auto model = harness_.Make(GatherSpec(1, 4));
  const std::string a = harness_.Open(*model, "a")->id;
  std::optional<Hold> hold(std::in_place, *model);
  auto pushed = harness_.Send(*model, harness_.NewPush(*model, a, 1, {1}));
  std::promise<void> drained;
  model->Drain([&] { drained.set_value(); });
  hold.reset();
  EXPECT_TRUE(pushed.get().ok());
  drained.get_future().wait();
  EXPECT_EQ(model->Describe().folded_pushes, 1);
}

TEST_F(GatherTest, ACyclesPushesAreReservedFromTheStateMemory) {
  const ModelSpec spec = GatherSpec(1000, 4);
  // sgd: momentum and four publications.
  const int64_t state = 5 * 4000;
  EXPECT_GE(GatherBytes(spec), 4 * 4000);
  ModelStore::Options options;
  options.environment = harness_.environment();
  options.state_memory_bytes = state + GatherBytes(spec);
  ModelStore store(options);
  auto create = [&](ModelSpec wanted) {
    std::promise<absl::StatusOr<ModelStore::Created>> made;
    store.Create(std::move(wanted),
                 [&](auto created) { made.set_value(std::move(created)); });
    return made.get_future().get();
  };
  ModelSpec large = spec;
  large.groups[0].k = large.groups[0].update_every = 5;
  const absl::Status refused = create(large).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorInfo(refused).reason, Reason::kStateMemory);
  EXPECT_EQ(GetErrorInfo(refused).subject, "--state_memory");
  EXPECT_THAT(std::string(refused.message()),
              testing::AllOf(HasSubstr("--state_memory"), HasSubstr("GATHER")));
  EXPECT_EQ(store.reserved_state_bytes(), 0);
  ASSERT_TRUE(create(spec).ok());
  EXPECT_EQ(store.reserved_state_bytes(), options.state_memory_bytes);
  ASSERT_TRUE(store.Delete("m").ok());
  EXPECT_EQ(store.reserved_state_bytes(), 0);
}

}  // namespace
}  // namespace accrue
