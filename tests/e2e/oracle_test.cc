// The rule through the SDK, gRPC and the real daemon. A pairwise subset of all
// allowed combinations against the oracle: parameters stay within its bounds.
// And k pushes are one step on their mean, bit for bit where nothing rounds.
#include "tests/oracle/oracle.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "server/kernels/convert.h"
#include "tests/e2e/daemon.h"
#include "tests/oracle/combinations.h"

namespace accrue {
namespace {

using oracle::Combination;

constexpr int64_t kPushes = 200;
constexpr int64_t kStretch = 40;
constexpr uint32_t kSeed = 8634;

// The enumerators of both sides stand in the same order, the SDK's from 1.
template <typename To, typename From>
To Same(From value) {
  return static_cast<To>(static_cast<int>(value) + 1);
}

client::Schedule ScheduleOf(const rule::Schedule& schedule) {
  return {.kind = Same<client::Schedule::Kind>(schedule.kind),
          .warmup_updates = schedule.warmup_updates,
          .total_updates = schedule.total_updates,
          .step_updates = schedule.step_updates,
          .gamma = schedule.gamma,
          .final_factor = schedule.final_factor};
}

client::Hyperparameters HyperOf(const rule::RuleSpec& rule) {
  const rule::Hyperparameters& hyper = rule.hyper;
  client::Hyperparameters result{.learning_rate = hyper.learning_rate,
                                 .beta1 = hyper.beta1,
                                 .weight_decay = hyper.weight_decay,
                                 .clip_norm = hyper.clip_norm,
                                 .clip_push_norm = hyper.clip_push_norm,
                                 .schedule = ScheduleOf(hyper.schedule)};
  if (rule::HasDampening(rule.optimizer)) {
    result.dampening = hyper.dampening;
  } else {
    result.beta2 = hyper.beta2;
  }
  if (rule::HasSecondMoment(rule.optimizer)) result.epsilon = hyper.epsilon;
  return result;
}

// Two groups under the same rule; the second's tensor stands between the
// first's two.
client::ModelSpec SpecOf(const Combination& combination,
                         const std::string& name) {
  const rule::RuleSpec rule = combination.Rule();
  client::ModelSpec spec;
  spec.name = name;
  spec.tensors = {{.name = "a", .shape = {3}, .group = "one"},
                  {.name = "b", .shape = {5}, .group = "two"},
                  {.name = "c", .shape = {2}, .group = "one"}};
  spec.optimizer = {
      .optimizer = Same<client::Optimizer>(rule.optimizer),
      .decay = Same<client::Decay>(rule.decay),
      .buffering = Same<client::Buffering>(rule.buffering),
      .second_moment = Same<client::SecondMoment>(rule.second_moment),
      .epsilon_place = Same<client::EpsilonPlace>(rule.epsilon_place),
      .learning_rate_scaling =
          Same<client::LearningRateScaling>(rule.lr_scaling),
      .clip_scope = Same<client::ClipScope>(rule.clip_scope),
      .nesterov = rule.nesterov,
      .slide_beta2 = rule.slide_beta2};
  for (const char* group : {"one", "two"}) {
    spec.groups.push_back({.name = group,
                           .k = rule.k,
                           .update_every = rule.update_every,
                           .hyperparameters = HyperOf(rule)});
  }
  return spec;
}

// The flat vector [a b c] as the groups see it: {a c}, {b}.
oracle::Payload ByGroup(const std::vector<float>& flat) {
  return {{flat[0], flat[1], flat[2], flat[8], flat[9]},
          {flat[3], flat[4], flat[5], flat[6], flat[7]}};
}

// A gradient as it is sent: in one of the encodings, and what is left of it.
struct Gradient {
  explicit Gradient(std::vector<float> exact, kernels::Encoding encoding)
      : floats(std::move(exact)), encoding(encoding), words(floats.size()) {
    if (encoding == kernels::Encoding::kF32) return;
    const auto count = static_cast<int64_t>(floats.size());
    auto* const bytes = reinterpret_cast<std::byte*>(words.data());
    kernels::Encode(floats.data(), count, encoding, bytes);
    kernels::Decode(bytes, count, encoding, floats.data());
  }
  client::Payload payload() const {
    if (encoding == kernels::Encoding::kF32) return floats;
    return client::Payload::Encoded(Same<client::Encoding>(encoding), words);
  }

  std::vector<float> floats;
  kernels::Encoding encoding;
  std::vector<uint16_t> words;
};

// In periods of three, so that every position in a cycle sees each.
kernels::Encoding EncodingOf(int64_t push) {
  constexpr kernels::Encoding kEncodings[] = {kernels::Encoding::kF32,
                                              kernels::Encoding::kBf16,
                                              kernels::Encoding::kF16};
  return kEncodings[push % 3];
}

void Compare(const oracle::Oracle& oracle, const std::vector<float>& flat) {
  const oracle::Payload got = ByGroup(flat);
  for (size_t g = 0; g < 2; ++g) {
    ASSERT_EQ(oracle::Mismatch("theta", oracle.theta(g), got[g].data(), 5), "");
  }
}

void Train(const client::Client& client, const Combination& combination,
           const std::string& name) {
  auto model = client.CreateModel(SpecOf(combination, name));
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> halves(10, 0.5f);
  ASSERT_TRUE(model->InitializeValues(halves).ok());
  auto worker = model->OpenWorker({.name = "w"});
  ASSERT_TRUE(worker.ok()) << worker.status();
  oracle::Oracle oracle(
      {{combination.Rule(), std::vector<float>(5, 0.5f), {3, 2}},
       {combination.Rule(), std::vector<float>(5, 0.5f), {5}}});
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal(oracle::kGradientMean);
  std::vector<float> parameters(10);
  for (int64_t i = 0; i < kPushes; ++i) {
    ASSERT_TRUE(worker->PullNewer(&parameters, absl::ZeroDuration()).ok());
    std::vector<float> exact(2 * oracle::kGroupElems);
    for (float& g : exact) g = normal(random);
    const Gradient gradient(std::move(exact), EncodingOf(i));
    const rule::PushFacts facts = combination.Facts(i);
    auto pushed = worker->Push(
        gradient.payload(),
        {.micro_steps = facts.micro_steps, .weight = facts.weight});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    ASSERT_TRUE(pushed->accepted) << pushed->message;
    oracle.Push(ByGroup(gradient.floats), facts);
    if (i == kPushes / 2) {
      ASSERT_TRUE(model->EndCycle().ok());
      oracle.Close();
    }
    if (i % kStretch != kStretch - 1) continue;
    ASSERT_TRUE(worker->Pull(&parameters).ok());
    ASSERT_NO_FATAL_FAILURE(Compare(oracle, parameters));
  }
  EXPECT_EQ(oracle::IdleClip(combination, oracle), "");
  ASSERT_TRUE(client.DeleteModel(name).ok());
}

// What was compared: printed, and beside the build's other results.
void List(const std::vector<Combination>& subset) {
  const char* const bin = std::getenv("ACCRUE_BIN_DIR");
  ASSERT_NE(bin, nullptr);
  std::ofstream file(std::string(bin) + "/../wire_oracle_combinations.txt");
  for (std::ostream* out : {static_cast<std::ostream*>(&file), &std::cout}) {
    *out << subset.size() << " combinations, " << kPushes
         << " pushes each, seed " << kSeed << "\n";
    for (const Combination& combination : subset) {
      *out << combination.Name() << "\n";
    }
  }
  EXPECT_TRUE(file.good());
}

TEST(OracleTest, APairwiseSubsetAgreesOverTheWire) {
  const auto daemon = Daemon::Start({"--log_level=warn"});
  auto client = client::Client::Connect(daemon->tcp());
  ASSERT_TRUE(client.ok()) << client.status();
  const std::vector<Combination> subset =
      oracle::PairwiseSubset(oracle::AllowedCombinations());
  for (size_t i = 0; i < subset.size(); ++i) {
    SCOPED_TRACE(subset[i].Name());
    Train(*client, subset[i], "pair-" + std::to_string(i));
  }
  List(subset);
}

// b = d = 1/2 and gains 2^-s, s <= 3; integers |g| <= 2^3, hence |m| <= 2^3:
// 3 + 3 + 15 <= 24 bits hold every m of 16 cycles, so that the mean's way and
// the pushes' way meet in the same floats.
TEST(OracleTest, KPushesAreOneStepOnTheirMeanBitForBitOverTheWire) {
  const auto daemon = Daemon::Start({"--log_level=warn"});
  auto client = client::Client::Connect(daemon->uds());
  ASSERT_TRUE(client.ok()) << client.status();
  std::cout << "seed " << kSeed << "\n";
  std::mt19937 random(kSeed);
  std::uniform_int_distribution<int> integer(-8, 8);
  constexpr int64_t kElems = 64;
  for (const int64_t k : {1, 2, 4}) {
    client::ModelSpec spec;
    spec.name = "mean-" + std::to_string(k);
    spec.tensors = {{.name = "w", .shape = {kElems}, .group = "all"}};
    spec.optimizer.optimizer = client::Optimizer::kSgd;
    spec.groups = {
        {.name = "all",
         .k = k,
         .hyperparameters = {
             .learning_rate = 0.125, .beta1 = 0.5, .dampening = 0.5}}};
    auto model = client->CreateModel(spec);
    ASSERT_TRUE(model.ok()) << model.status();
    ASSERT_TRUE(model->InitializeValues(std::vector<float>(kElems)).ok());
    auto worker = model->OpenWorker({.name = "w"});
    ASSERT_TRUE(worker.ok()) << worker.status();
    std::vector<float> m(kElems), theta(kElems), parameters(kElems);
    for (int cycle = 0; cycle < 16; ++cycle) {
      ASSERT_TRUE(worker->Pull(&parameters).ok());
      std::vector<float> sum(kElems);
      for (int64_t i = 0; i < k; ++i) {
        std::vector<float> gradient(kElems);
        for (size_t e = 0; e < gradient.size(); ++e) {
          gradient[e] = static_cast<float>(integer(random));
          sum[e] += gradient[e];
        }
        auto pushed = worker->Push(gradient);
        ASSERT_TRUE(pushed.ok()) << pushed.status();
        ASSERT_TRUE(pushed->accepted) << pushed->message;
        ASSERT_EQ(pushed->published, i + 1 == k);
      }
      for (size_t e = 0; e < m.size(); ++e) {
        m[e] = 0.5f * m[e] + 0.5f * (sum[e] / static_cast<float>(k));
        theta[e] = theta[e] - 0.125f * m[e];
      }
      ASSERT_TRUE(worker->Pull(&parameters).ok());
      ASSERT_EQ(parameters, theta) << "k = " << k << ", cycle " << cycle;
    }
  }
}

}  // namespace
}  // namespace accrue
