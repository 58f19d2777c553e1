// Batches: pushes that are ready together are folded in one pass, up to the
// first update of any group, and nothing tells that from one by one.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

constexpr uint32_t kSeed = 4711;
constexpr int64_t kWorkers = 8;
constexpr int64_t kRounds = 3;

struct Case {
  std::string name;
  int64_t k_one, k_two;
  int64_t elems;  // of the first tensor
  std::function<void(ModelSpec&)> change;
};

// Two groups, the second's tensors around the first's.
ModelSpec SpecOf(const Case& c) {
  ModelSpec spec;
  spec.name = "m";
  spec.tensors = {{"a", {c.elems}, "two"},
                  {"b", {c.elems / 2 + 1}, "one"},
                  {"c", {3}, "two"}};
  spec.groups = {{"one", c.k_one, 0, {}}, {"two", c.k_two, 0, {}}};
  spec.max_staleness = -1;
  c.change(spec);
  FillDefaults(spec);
  return spec;
}

class BatchTest : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Push> NewPush(Model& model, const std::string& session,
                                int64_t round, int64_t worker,
                                const std::vector<float>& gradient) {
    constexpr kernels::Encoding kEncodings[] = {kernels::Encoding::kF32,
                                                kernels::Encoding::kBf16,
                                                kernels::Encoding::kF16};
    auto push = harness_.NewPush(model, session, round, gradient,
                                 kEncodings[(worker + round) % 3]);
    push->header.weight = worker % 2 == 0 ? 1.0 : 0.3;
    push->header.scale = worker % 3 == 0 ? 4.0 : 1.0;
    return push;
  }

  // When its answer came, the model had folded `folded` pushes: all of its
  // batch, and no more.
  struct Answer {
    absl::StatusOr<PushOutcome> outcome;
    int64_t folded = 0;
  };

  // Queues everybody's push while the executor is held.
  std::vector<Answer> PushTogether(Model& model,
                                   const std::vector<std::string>& sessions,
                                   int64_t round) {
    std::vector<std::promise<Answer>> promises(kWorkers);
    {
      const Hold hold(model);
      for (size_t w = 0; w < sessions.size(); ++w) {
        auto push = NewPush(model, sessions[w], round, static_cast<int64_t>(w),
                            gradients_[w]);
        push->done = [&model, promise = &promises[w]](auto outcome) {
          promise->set_value(
              {std::move(outcome), model.Describe().folded_pushes});
        };
        NotedArrival arrival;
        model.Submit(std::move(push), &arrival);
      }
    }
    std::vector<Answer> answers;
    for (auto& promise : promises) {
      answers.push_back(promise.get_future().get());
    }
    return answers;
  }

  Harness harness_;
  std::vector<std::vector<float>> gradients_;
};

TEST_P(BatchTest, PushesThatAreReadyTogetherFoldAsOneByOne) {
  std::cout << "seed " << kSeed << "\n";
  const ModelSpec spec = SpecOf(GetParam());
  auto together = harness_.Make(spec, 0.5);
  auto alone = harness_.Make(spec, 0.5);
  std::vector<std::string> sessions, others;
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  for (int64_t w = 0; w < kWorkers; ++w) {
    sessions.push_back(harness_.Open(*together, std::to_string(w))->id);
    others.push_back(harness_.Open(*alone, std::to_string(w))->id);
    std::vector<float>& gradient = gradients_.emplace_back();
    gradient.resize(static_cast<size_t>(together->layout()->elems()));
    for (float& g : gradient) g = normal(random);
  }
  // The first update of any group at or after push t.
  const auto batch_end = [&](int64_t t) {
    while (t % GetParam().k_one != 0 && t % GetParam().k_two != 0) ++t;
    return t;
  };

  int64_t t = 0, shared = 0;
  for (int64_t round = 1; round <= kRounds; ++round) {
    const std::vector<Answer> answers =
        PushTogether(*together, sessions, round);
    const int64_t last = t + kWorkers;
    for (size_t w = 0; w < answers.size(); ++w) {
      ++t;
      const absl::StatusOr<PushOutcome>& got = answers[w].outcome;
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(got->folded_pushes, t);
      EXPECT_EQ(answers[w].folded, std::min(batch_end(t), last));
      if (answers[w].folded > t) ++shared;
      auto want = harness_.PushNow(
          *alone, NewPush(*alone, others[w], round, static_cast<int64_t>(w),
                          gradients_[w]));
      ASSERT_TRUE(want.ok()) << want.status();
      EXPECT_EQ(got->published, want->published);
      EXPECT_EQ(got->version.number, want->version.number);
      for (size_t g = 0; g < 2; ++g) {
        EXPECT_EQ(got->groups[g].updates, want->groups[g].updates);
        EXPECT_EQ(got->groups[g].position, want->groups[g].position);
      }
    }
    EXPECT_TRUE(Anonymous(harness_.Image(*together)) ==
                Anonymous(harness_.Image(*alone)))
        << "after round " << round;
  }
  EXPECT_GT(shared, 0) << "no batch was larger than one push";
}

void Momentum(ModelSpec& spec) {
  spec.optimizer.optimizer = rule::Optimizer::kSgd;
  for (GroupSpec& group : spec.groups) {
    group.hyper.beta1 = 0.9;
    group.hyper.weight_decay = 0.01;
  }
}

constexpr int64_t kBlock = kernels::kBlockElems;

INSTANTIATE_TEST_SUITE_P(
    Models, BatchTest,
    testing::Values(Case{"AdamW", 2, 4, kBlock + 5, [](ModelSpec&) {}},
                    Case{"AdamWOfOneBlock", 2, 4, 5, [](ModelSpec&) {}},
                    Case{"AdamWClipped", 2, 4, kBlock + 5,
                         [](ModelSpec& spec) {
                           for (GroupSpec& group : spec.groups) {
                             group.hyper.clip_norm = 50;
                             group.hyper.clip_push_norm = 100;
                           }
                         }},
                    Case{"Nesterov", 2, 4, kBlock + 5,
                         [](ModelSpec& spec) {
                           Momentum(spec);
                           spec.optimizer.nesterov = true;
                         }},
                    Case{"Classic", 2, 4, kBlock + 5,
                         [](ModelSpec& spec) {
                           spec.optimizer.optimizer = rule::Optimizer::kAdam;
                           spec.optimizer.buffering = rule::Buffering::kClassic;
                           spec.groups[0].hyper.weight_decay = 0.01;
                         }},
                    Case{"LambClipped", 2, 4, kBlock + 5,
                         [](ModelSpec& spec) {
                           spec.optimizer.optimizer = rule::Optimizer::kLamb;
                           spec.groups[0].hyper.clip_norm = 50;
                           spec.groups[0].hyper.weight_decay = 0.01;
                         }},
                    Case{"LionClassic", 2, 4, kBlock + 5,
                         [](ModelSpec& spec) {
                           spec.optimizer.optimizer = rule::Optimizer::kLion;
                           spec.optimizer.buffering = rule::Buffering::kClassic;
                         }},
                    Case{"Gather", 3, 4, kBlock + 5,
                         [](ModelSpec& spec) {
                           spec.optimizer.buffering = rule::Buffering::kGather;
                           for (GroupSpec& group : spec.groups) {
                             group.hyper.clip_norm = 50;
                             group.hyper.clip_push_norm = 100;
                           }
                         }},
                    Case{"PerPushNotNested", 3, 4, kBlock + 5,
                         [](ModelSpec& spec) {
                           Momentum(spec);
                           spec.optimizer.decay = rule::Decay::kPerPush;
                         }}),
    [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace accrue
