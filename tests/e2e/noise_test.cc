// Gradients of planted noise through the real daemon: what it measures, what
// accruectl makes of it, and k that follows it.

#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accrue/client.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr uint32_t kSeed = 20211205;

class NoiseTest : public testing::Test {
 protected:
  void SetUp() override {
    std::cout << "seed " << kSeed << "\n";
    daemon_ = Daemon::Start();
    ASSERT_NE(daemon_, nullptr);
    auto client = client::Client::Connect(daemon_->uds());
    ASSERT_TRUE(client.ok()) << client.status();
    client_.emplace(*std::move(client));
  }

  // `elems` parameters, zeros, under momentum 0.9, and one worker.
  void Create(int64_t elems, const std::string& group_fields,
              const std::string& optimizer_fields = "") {
    elems_ = elems;
    const std::string spec =
        "name: m\noptimizer: {optimizer: adam" + optimizer_fields +
        "}\ngroups:\n  - {name: all, " + group_fields +
        ", hyperparameters: {learning_rate: 1e-4}}\n"
        "tensors: [{name: w, shape: [" +
        std::to_string(elems) + "]}]\ninitializers: [{tensor: w, constant: 0}]";
    const Finished created = Ctl({"create", "-"}, spec);
    ASSERT_EQ(created.exit_code, 0) << created.err;
    auto model = client_->OpenModel("m");
    ASSERT_TRUE(model.ok()) << model.status();
    model_.emplace(*std::move(model));
    auto worker = model_->OpenWorker({.name = "worker"});
    ASSERT_TRUE(worker.ok()) << worker.status();
    worker_.emplace(*std::move(worker));
  }

  // Gradients of mean 1 and this deviation, an element.
  void Push(int pushes, float deviation,
            const client::PushOptions& options = {}) {
    std::normal_distribution<float> normal(1, deviation);
    std::vector<float> parameters(static_cast<size_t>(elems_));
    std::vector<float> gradient(parameters.size());
    for (int push = 0; push < pushes; ++push) {
      for (float& g : gradient) g = normal(random_);
      ASSERT_TRUE(worker_->Pull(&parameters).ok());
      const auto pushed = worker_->Push(gradient, options);
      ASSERT_TRUE(pushed.ok()) << pushed.status();
      ASSERT_TRUE(pushed->accepted) << pushed->message;
    }
  }

  void Delete() {
    worker_.reset();
    ASSERT_TRUE(client_->DeleteModel("m").ok());
  }

  int64_t K() {
    const auto description = model_->Describe();
    EXPECT_TRUE(description.ok()) << description.status();
    return description.ok() ? description->groups[0].k : 0;
  }

  Finished Ctl(std::vector<std::string> arguments,
               const std::string& input = "") {
    arguments.insert(arguments.begin(),
                     {"accruectl", "--target", daemon_->uds()});
    return RunProgram(arguments, input);
  }

  Json CtlJson(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--output", "json"});
    const Finished finished = Ctl(arguments);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return Json::parse(finished.out, nullptr, /*allow_exceptions=*/false);
  }

  std::unique_ptr<Daemon> daemon_;
  std::optional<client::Client> client_;
  std::optional<client::Model> model_;
  std::optional<client::Worker> worker_;
  int64_t elems_ = 0;
  std::mt19937 random_{kSeed};
};

// SNR^2 = 0.1, hence CV^2 = 10 and C_4 = 0.318. With rho = 0.02 and 1e5
// elements mu^2 has a relative deviation of 0.3 %: 3 % are plenty.
TEST_F(NoiseTest, PlantedNoiseIsDescribedAndAdvisedOn) {
  constexpr int64_t kElems = 100'000;
  Create(kElems, "k: 4");
  const Json before = CtlJson({"advise", "m", "--batch_size=32"});
  EXPECT_FALSE(before["groups"][0].contains("noise"));
  EXPECT_EQ(before["groups"][0]["choices"].size(), 3);

  Push(60, std::sqrt(10.0f));
  const Json group = CtlJson({"describe", "m"})["groups"][0];
  const Json& noise = group["noise"];
  EXPECT_NEAR(noise["mean_squared"].get<double>(), kElems, 0.03 * kElems);
  EXPECT_NEAR(noise["variance"].get<double>(), 10 * kElems, 0.3 * kElems);
  EXPECT_NEAR(noise["power_left"].get<double>(), 0.318, 0.03 * 0.318);
  EXPECT_EQ(noise["updates"], 15);
  EXPECT_EQ(noise["variation_at_least"], false);
  EXPECT_THAT(Ctl({"describe", "m"}).out, HasSubstr("  3.1"));

  const Json advice =
      CtlJson({"advise", "m", "--batch_size=32", "--bottleneck=communication"});
  const Json& choices = advice["groups"][0]["choices"];
  ASSERT_EQ(choices.size(), 5);
  EXPECT_EQ(choices[1]["by"], "CV");
  EXPECT_EQ(choices[1]["k"], 4);
  EXPECT_EQ(choices[2]["by"], "CV^2");
  EXPECT_NEAR(choices[2]["k"].get<double>(), 10, 1);
  EXPECT_NEAR(choices[0]["step_factor"].get<double>(), std::sqrt(0.318), 0.02);
  EXPECT_THAT(advice["answer"].get<std::string>(), HasSubstr("micro_steps"));

  const std::string text = Ctl({"advise", "m"}).out;
  for (const char* part : {"update 15", "in force", "CV^2", "NOISE/SIGNAL",
                           "memory", "stability", "communication", "none"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_EQ(Ctl({"advise", "m", "--bottleneck=money"}).exit_code, 2);
  EXPECT_EQ(Ctl({"advise", "none"}).exit_code, 1);
}

// 7.1's k for large batches is 1, which pushes of two micro-steps cannot have.
TEST_F(NoiseTest, AdviceIsAMultipleOfTheMicroStepsInUse) {
  Create(100, "k: 4");
  std::vector<float> parameters(100);
  ASSERT_TRUE(worker_->Pull(&parameters).ok());
  ASSERT_TRUE(worker_->Push(parameters, {.micro_steps = 2})->accepted);
  EXPECT_EQ(CtlJson({"describe", "m"})["micro_steps"], 2);
  const Json advice = CtlJson({"advise", "m", "--batch_size=300"});
  const Json& choice = advice["groups"][0]["choices"].back();
  EXPECT_EQ(choice["k"], 2);
  EXPECT_EQ(choice["rule_k"], 1);
  EXPECT_THAT(Ctl({"advise", "m", "--batch_size=300"}).out,
              HasSubstr("2 (rule: 1)"));
}

// The same of every decay and buffering, in cycles of four pushes and of two
// that are means over two micro-batches, with weights. PER_PUSH averages the
// fewest: rho is 1/19, times 1.3 for the weights, and mu^2 has a deviation of
// sqrt((2*rho^2 + 4*rho*0.1)/1e5)/0.1 = 0.6 %. 5 % are eight of them. At SNR^2
// = 0.01 that would be 3.5 %: it takes the others, whose rho is a quarter of
// that and 1.07 times as large after 32 updates, hence 1.2 %.
TEST_F(NoiseTest, EveryDecayTellsSignalAndNoiseApart) {
  constexpr int64_t kElems = 100'000;
  constexpr double kWeights[] = {0.5, 1, 2};
  struct Row {
    const char* fields;
    float variance;  // mean 1
    int updates;
  };
  for (const auto& [fields, variance, updates] :
       {Row{"decay: per_push", 10, 16}, Row{"decay: per_cycle", 10, 16},
        Row{"decay: sliding", 10, 16}, Row{"decay: sliding_exact", 10, 16},
        Row{"buffering: classic", 10, 16}, Row{"buffering: gather", 10, 16},
        Row{"decay: per_cycle", 100, 32}, Row{"decay: sliding", 100, 32},
        Row{"decay: sliding_exact", 100, 32},
        Row{"buffering: classic", 100, 32},
        Row{"buffering: gather", 100, 32}}) {
    SCOPED_TRACE(testing::Message() << fields << ", variance " << variance);
    Create(kElems, "k: 4", std::string(", ") + fields);
    int push = 0;
    for (int update = 0; update < updates; ++update) {
      const int micro_steps = 1 + update % 2;
      const float deviation =
          std::sqrt(variance / static_cast<float>(micro_steps));
      for (int i = 0; i < 4 / micro_steps; ++i) {
        Push(1, deviation,
             {.micro_steps = micro_steps, .weight = kWeights[push++ % 3]});
      }
    }
    const auto description = model_->Describe();
    ASSERT_TRUE(description.ok()) << description.status();
    const auto& noise = description->groups[0].noise;
    ASSERT_TRUE(noise.has_value());
    EXPECT_NEAR(noise->mean_squared / kElems, 1, 0.05);
    EXPECT_NEAR(noise->variance / kElems, variance, 0.05 * variance);
    const double power_left = (1 + variance / 4.0) / (1 + variance);
    EXPECT_NEAR(noise->power_left, power_left, 0.05 * power_left);
    EXPECT_EQ(noise->updates, updates);
    Delete();
  }
}

// From CV 2 to 8 and back: k too, and every change is told.
TEST_F(NoiseTest, KFollowsARiseAndAFallOfTheNoise) {
  Create(10'000, "k: 2, adaptive_k: {min_k: 1, max_k: 32}");
  Push(60, 2);
  EXPECT_EQ(K(), 2);
  Push(250, 8);
  EXPECT_NEAR(static_cast<double>(K()), 8, 1);
  Push(300, 2);
  EXPECT_EQ(K(), 2);

  const Json model = CtlJson({"describe", "m"});
  EXPECT_EQ(model["spec"]["groups"][0]["k"], 2);
  EXPECT_EQ(model["spec"]["groups"][0]["adaptive_k"]["hysteresis"], 0.25);
  const Json& changes = model["k_changes"];
  ASSERT_GE(changes.size(), 2);
  int64_t k = 2;
  for (const Json& change : changes) {
    EXPECT_EQ(change["group"], "all");
    EXPECT_EQ(change["from_k"], k);
    k = change["to_k"].get<int64_t>();
    EXPECT_THAT(daemon_->Log(), HasSubstr(": k " + change["from_k"].dump() +
                                          " -> " + change["to_k"].dump()));
  }
  EXPECT_EQ(k, 2);
  const std::string text = Ctl({"describe", "m"}).out;
  EXPECT_THAT(text, HasSubstr("K CHANGED"));
  EXPECT_THAT(text, HasSubstr("adaptive k 1 to 32"));
}

// Per-layer k is shown before it is applied; then it is what was shown.
TEST_F(NoiseTest, KByDepthIsShownAndThenApplied) {
  const std::string spec =
      "name: deep\n"
      "groups: [{name: all, hyperparameters: {learning_rate: 1}}]\n"
      "tensors:\n"
      "  - {name: in.weight, shape: [3]}\n"
      "  - {name: middle.weight, shape: [4]}\n"
      "  - {name: middle.bias, shape: [2]}\n"
      "  - {name: out.weight, shape: [5]}\n"
      "initializers: [{tensor: '*', constant: 0}]\n"
      "per_layer_k:\n"
      "  {k_min: 1, max_k: 8, depths: [{tensors: 'in.*', depth: 0},\n"
      "   {tensors: 'middle.*', depth: 2}, {tensors: out.weight, depth: 4}]}\n";
  const Finished shown = Ctl({"create", "-", "--dry_run"}, spec);
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  for (const char* part :
       {"all.k4  4        1         3  lr 1", "all.k2  2        2         6",
        "all.k1  1 ", "middle.bias"}) {
    EXPECT_THAT(shown.out, HasSubstr(part));
  }
  EXPECT_TRUE(CtlJson({"list"}).empty());

  ASSERT_EQ(Ctl({"create", "-"}, spec).exit_code, 0);
  const Json model = CtlJson({"describe", "deep"});
  ASSERT_EQ(model["groups"].size(), 3);
  EXPECT_EQ(model["groups"][0]["group"], "all.k4");
  EXPECT_EQ(model["groups"][0]["k"], 4);
  EXPECT_EQ(model["spec"]["tensors"][2]["group"], "all.k2");

  // Of four pushes of ones each group makes 4, 2 and 1 to one update.
  model_.emplace(*client_->OpenModel("deep"));
  auto worker = model_->OpenWorker({.name = "worker"});
  ASSERT_TRUE(worker.ok()) << worker.status();
  std::vector<float> parameters(14);
  for (int push = 0; push < 4; ++push) {
    ASSERT_TRUE(worker->Pull(&parameters).ok());
    ASSERT_TRUE(worker->Push(std::vector<float>(14, 1)).ok());
  }
  const auto description = model_->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->groups[0].updates, 1);
  EXPECT_EQ(description->groups[1].updates, 2);
  EXPECT_EQ(description->groups[2].updates, 4);

  const Finished lost = Ctl(
      {"create", "-", "--dry_run"},
      "name: m\n"
      "groups: [{name: all, hyperparameters: {learning_rate: 1}}]\n"
      "tensors: [{name: w, shape: [2]}]\n"
      "per_layer_k: {k_min: 1, max_k: 8, depths: [{tensors: v, depth: 0}]}\n");
  EXPECT_EQ(lost.exit_code, 2);
  EXPECT_THAT(lost.err, HasSubstr("line 4: per_layer_k: tensor \"w\" has no"));
}

TEST_F(NoiseTest, BoundsThatCannotBeAreRefused) {
  const Finished refused =
      Ctl({"create", "-"},
          "name: m\n"
          "groups: [{name: all, k: 2, adaptive_k: {min_k: 4, max_k: 8},\n"
          "          hyperparameters: {learning_rate: 1}}]\n"
          "tensors: [{name: w, shape: [2]}]\n");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("INVALID_ARGUMENT (INVALID_SPEC)"));
  EXPECT_THAT(refused.err, HasSubstr("adaptive_k: the first k, 2"));
}

}  // namespace
}  // namespace accrue
