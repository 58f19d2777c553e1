// Every allowed combination of the rule's choices, pushed through a model,
// against the oracle: parameters after every stretch of pushes, moments and
// masses at the end, each within the oracle's running forward error bound.
// Every combination that is not allowed is refused, with the reason.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "tests/model/harness.h"
#include "tests/oracle/combinations.h"
#include "tests/oracle/oracle.h"

namespace accrue {
namespace {

using oracle::Combination;

constexpr int64_t kPushes = 200;
constexpr int64_t kStretch = 40;
constexpr uint32_t kSeed = 20210824;
// Under a sanitizer every tenth will do: it looks for other things.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStride = 10;
#else
constexpr size_t kStride = 1;
#endif
// GATHER has CLASSIC's combinations, scalars and bits (tests/rule, ACycleIs-
// ClassicsWherePushesComeInTheFoldsOrder): some of them will do. 7 divides no
// dimension's choices.
constexpr size_t kGatherStride = 7;

// Two groups of odd sizes, three tensors, both under the same rule.
ModelSpec SpecOf(const Combination& combination) {
  const rule::RuleSpec rule = combination.Rule();
  ModelSpec spec;
  spec.name = "m";
  spec.tensors = {{"a", {3}, "one"}, {"b", {5}, "two"}, {"c", {2}, "one"}};
  spec.optimizer.optimizer = rule.optimizer;
  spec.optimizer.decay = rule.decay;
  spec.optimizer.buffering = rule.buffering;
  spec.optimizer.second_moment = rule.second_moment;
  spec.optimizer.epsilon_place = rule.epsilon_place;
  spec.optimizer.lr_scaling = rule.lr_scaling;
  spec.optimizer.clip_scope = rule.clip_scope;
  spec.optimizer.nesterov = rule.nesterov;
  spec.optimizer.slide_beta2 = rule.slide_beta2;
  for (const char* name : {"one", "two"}) {
    spec.groups.push_back({name, rule.k, rule.update_every, rule.hyper});
  }
  return spec;
}

// The flat vector [a b c] as the groups see it: {a c}, {b}.
oracle::Payload ByGroup(const std::vector<float>& flat) {
  return {{flat[0], flat[1], flat[2], flat[8], flat[9]},
          {flat[3], flat[4], flat[5], flat[6], flat[7]}};
}

// Each at every position of every cycle, with each scale.
kernels::Encoding EncodingOf(int64_t push) {
  constexpr kernels::Encoding kEncodings[] = {kernels::Encoding::kF32,
                                              kernels::Encoding::kBf16,
                                              kernels::Encoding::kF16};
  return kEncodings[push / 3 % 3];
}

// A clip's factor is a float that the oracle knows to a few of its roundings,
// and some tens of them stand in a sum, R's twice: 2^-16 covers them.
bool AreClose(const rule::NoiseSums& got, const rule::NoiseSums& want) {
  const auto close = [](double a, double b) {
    return std::abs(a - b) <= 0x1p-16 * std::abs(b);
  };
  return close(got.mass, want.mass) && close(got.squares, want.squares) &&
         close(got.power, want.power) && close(got.step_share, want.step_share);
}

bool SameCycle(rule::CycleState got, rule::CycleState want) {
  if (got.active.clip_norm == 0) return got == want;
  if (!AreClose(got.noise.moment, want.noise.moment) ||
      !AreClose(got.noise.cycle, want.noise.cycle)) {
    return false;
  }
  got.noise = want.noise = {};
  return got == want;
}

class Comparison {
 public:
  Comparison(Harness& harness, const Combination& combination)
      : harness_(harness),
        combination_(combination),
        model_(harness.Make(SpecOf(combination), 0.5)),
        oracle_({{combination.Rule(), std::vector<float>(5, 0.5f), {3, 2}},
                 {combination.Rule(), std::vector<float>(5, 0.5f), {5}}}),
        session_(harness.Open(*model_, "w")->id) {}

  // Empty, or what did not agree.
  std::string Run() {
    for (int64_t i = 0; i < kPushes; ++i) {
      if (std::string why = Push(i); !why.empty()) return why;
      if (i == kPushes / 4) CloseEarly();
      if (i == kPushes / 2) ChangeRate();
      if (i % kStretch != kStretch - 1) continue;
      if (std::string why = CompareParameters(); !why.empty()) return why;
    }
    std::string why = CompareState();
    return why.empty() ? oracle::IdleClip(combination_, oracle_) : why;
  }

 private:
  std::string Push(int64_t i) {
    std::vector<float> gradient(2 * oracle::kGroupElems);
    for (float& g : gradient) g = normal_(random_) + oracle::kGradientMean;
    rule::PushFacts facts = combination_.Facts(i);
    facts.scale = i % 3 == 0 ? 1024 : 1;
    if (facts.scale != 1) {
      for (float& g : gradient) g *= 1024;
    }
    const kernels::Encoding encoding = EncodingOf(i);
    auto push = harness_.NewPush(*model_, session_, i + 1, gradient, encoding);
    push->header.micro_steps = facts.micro_steps;
    push->header.weight = facts.weight;
    push->header.scale = facts.scale;
    auto answer = harness_.PushNow(*model_, std::move(push));
    if (!answer.ok()) return answer.status().ToString();
    oracle_.Push(ByGroup(Rounded(gradient, encoding)), facts);
    return "";
  }

  void CloseEarly() {
    ASSERT_TRUE(harness_.EndCycle(*model_).ok());
    oracle_.Close();
  }

  void ChangeRate() {
    rule::Hyperparameters hyper = combination_.Rule().hyper;
    hyper.learning_rate *= 0.5;
    ASSERT_TRUE(
        harness_.Update(*model_, {{"", [&](auto& h) { h = hyper; }}}).ok());
    for (size_t g = 0; g < 2; ++g) oracle_.SetHyperparameters(g, hyper);
  }

  std::string Compare(const char* what, const std::vector<float>& flat,
                      const std::vector<oracle::Bounded>& one,
                      const std::vector<oracle::Bounded>& two) {
    const oracle::Payload got = ByGroup(flat);
    std::string why = oracle::Mismatch(what, one, got[0].data(), 5);
    if (why.empty()) why = oracle::Mismatch(what, two, got[1].data(), 5);
    return why;
  }

  std::string CompareParameters() {
    return Compare("theta", harness_.Parameters(*model_), oracle_.theta(0),
                   oracle_.theta(1));
  }

  std::string CompareState() {
    const StateImage image = harness_.Image(*model_);
    std::string why = Compare("m", image.momentum, oracle_.m(0), oracle_.m(1));
    if (why.empty() && !image.variance.empty()) {
      why = Compare("v", image.variance, oracle_.v(0), oracle_.v(1));
    }
    for (size_t g = 0; why.empty() && g < 2; ++g) {
      if (!SameCycle(image.cycles[g], oracle_.cycle(g))) why = "cycle state";
    }
    return why;
  }

  Harness& harness_;
  const Combination& combination_;
  const std::shared_ptr<Model> model_;
  oracle::Oracle oracle_;
  const std::string session_;
  std::mt19937 random_{kSeed};
  std::normal_distribution<float> normal_;
};

TEST(ModelOracleTest, EveryAllowedCombinationStaysWithinItsBounds) {
  std::cout << "seed " << kSeed << "\n";
  ASSERT_TRUE(InitLogging("warn").ok());
  Harness harness(1);
  const std::vector<Combination> all = oracle::AllowedCombinations();
  int64_t compared = 0, failures = 0;
  for (size_t i = 0; i < all.size() && failures < 20; i += kStride) {
    if (all[i].buffering == rule::Buffering::kGather &&
        i % kGatherStride != 0) {
      continue;
    }
    const std::string why = Comparison(harness, all[i]).Run();
    EXPECT_EQ(why, "") << all[i].Name();
    ++compared;
    failures += why.empty() ? 0 : 1;
  }
  std::cout << compared << " of " << all.size() << " combinations, " << kPushes
            << " pushes each\n";
}

TEST(ModelOracleTest, EveryOtherCombinationIsRefusedWithTheReason) {
  int64_t refused = 0;
  for (const Combination& combination : oracle::AllCombinations()) {
    const std::vector<std::string> words = combination.Refusals();
    if (words.empty()) continue;
    ++refused;
    ModelSpec spec = SpecOf(combination);
    FillDefaults(spec);
    const absl::Status status = ValidateSpec(spec, SpecLimits());
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument)
        << combination.Name();
    EXPECT_EQ(GetErrorInfo(status).reason, Reason::kInvalidSpec);
    const std::string message(status.message());
    EXPECT_TRUE(std::any_of(words.begin(), words.end(),
                            [&](const std::string& word) {
                              return message.find(word) != std::string::npos;
                            }))
        << combination.Name() << ": " << message;
  }
  std::cout << refused << " combinations refused\n";
}

}  // namespace
}  // namespace accrue
