// What steers a model besides pushes, over restarts of the daemon: new
// hyperparameters, a cycle that is closed, k that follows the noise, a session
// that ends. A model whose daemon was killed after each is in every bit the one
// whose daemon never was.
#include <csignal>
#include <cstdint>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/training.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using client::Client;
using client::Durability;
using client::Model;
using client::Worker;

constexpr char kModel[] = "model";
constexpr int64_t kElems = 1000;
constexpr uint32_t kSeed = 20250719;

Model Create(const std::string& target, Durability durability) {
  client::ModelSpec spec;
  spec.name = kModel;
  // Beside a group whose k stays, so that k are powers of two, as micro-steps.
  spec.tensors = {{.name = "w", .shape = {kElems - 7}, .group = "adapts"},
                  {.name = "b", .shape = {7}, .group = "stays"}};
  const client::Hyperparameters hyperparameters = {.learning_rate = 0.01,
                                                   .beta1 = 0.5};
  spec.groups = {
      {.name = "adapts",
       .k = 8,
       .hyperparameters = hyperparameters,
       .adaptive_k =
           client::AdaptiveK{.min_k = 2, .max_k = 32, .hysteresis = 0}},
      {.name = "stays", .k = 4, .hyperparameters = hyperparameters}};
  spec.durability = durability;
  Model model = Value(Value(Client::Connect(target)).CreateModel(spec));
  EXPECT_TRUE(model
                  .InitializeWith(
                      {{.tensor = "w", .kind = client::ConstantInitializer{1}},
                       {.tensor = "b", .kind = client::ConstantInitializer{1}}},
                      /*seed=*/0)
                  .ok());
  return model;
}

// The same training of any daemon's model, step by step.
class Course {
 public:
  Course(const std::string& target, Durability durability)
      : model_(Create(target, durability)),
        stays_(Value(model_.OpenWorker({.name = "stays"}))),
        leaves_(Value(model_.OpenWorker({.name = "leaves"}))) {}

  // After each step, `between`.
  void Run(const std::function<void()>& between) {
    const std::vector<std::function<void()>> steps = {
        [&] { Push(stays_, 5, /*deviation=*/8, /*micro_steps=*/4); },
        [&] {
          Update({.learning_rate = 0.02, .beta1 = 0.75});
        },  // in mid-cycle
        [&] { Push(leaves_, 20, 8, 4); },
        [&] { End(); },
        [&] { Push(stays_, 61, 0.5f, 1); },
        [&] { ASSERT_TRUE(leaves_.Close().ok()); },
        [&] { Update({.weight_decay = 0.5, .clip_norm = 3}); },
        [&] { End(); },
        [&] { Push(stays_, 31, 8, 2); },
    };
    for (const auto& step : steps) {
      ASSERT_NO_FATAL_FAILURE(step());
      ASSERT_NO_FATAL_FAILURE(between());
    }
  }

  const Model& model() const { return model_; }
  // In force at every push.
  const std::vector<int64_t>& ks() const { return ks_; }
  const std::string& closed_session() const { return closed_session_; }

 private:
  // Of mean 1 and this deviation, an element.
  void Push(Worker& worker, int pushes, float deviation, int64_t micro_steps) {
    std::normal_distribution<float> normal(1, deviation);
    std::vector<float> parameters(kElems), gradient(kElems);
    for (int push = 0; push < pushes; ++push) {
      for (float& g : gradient) g = normal(random_);
      ASSERT_TRUE(worker.Pull(&parameters).ok());
      const auto pushed =
          Value(worker.Push(gradient, {.micro_steps = micro_steps}));
      ASSERT_TRUE(pushed.accepted) << pushed.message;
      ks_.push_back(pushed.groups[0].k);
    }
  }
  void Update(const client::Hyperparameters& hyperparameters) {
    const auto updated =
        model_.UpdateHyperparameters({{.hyperparameters = hyperparameters}});
    ASSERT_TRUE(updated.ok()) << updated.status();
  }
  void End() { ASSERT_TRUE(model_.EndCycle().ok()); }

  const Model model_;
  Worker stays_, leaves_;
  const std::string closed_session_ = leaves_.session_id();
  std::mt19937 random_{kSeed};
  std::vector<int64_t> ks_;
};

// What a model is: all but what another one, and one that was restarted, may
// differ in; and its parameters.
struct State {
  explicit State(Wire&& wire)
      : described(Described(wire)), parameters(wire.Parameters(kModel)) {}

  static std::string Described(Wire& wire) {
    v1::Model model = wire.Describe(kModel);
    model.mutable_version()->clear_lineage();
    model.mutable_spec()->clear_durability();
    model.clear_memory();
    model.clear_sent_bytes();
    model.clear_traffic();
    model.clear_checkpoint();
    model.clear_restored_folded_pushes();
    std::string text = model.DebugString();
    for (v1::Session& session : wire.Sessions(kModel)) {
      session.clear_id_prefix();
      session.clear_last_active_time();
      text += session.DebugString();
    }
    return text;
  }

  std::string described, parameters;
};

class SteeredRestartTest : public testing::TestWithParam<bool> {};

TEST_P(SteeredRestartTest, AModelIsTheOneThatNeverWasKilled) {
  const bool checkpoints = GetParam();
  std::cout << "seed " << kSeed << "\n";
  const auto undisturbed = Daemon::Start();
  Course twin(undisturbed->tcp(), Durability::kMemory);
  std::vector<State> states;
  ASSERT_NO_FATAL_FAILURE(
      twin.Run([&] { states.emplace_back(Wire(undisturbed->tcp())); }));
  EXPECT_GE(Value(twin.model().Describe()).k_changes.size(), 3);

  const TemporaryDirectory data;
  const auto daemon = Daemon::Start({"--data_dir=" + data.path()});
  Course course(daemon->tcp(), Durability::kJournal);
  size_t step = 0;
  const auto kill_and_compare = [&] {
    SCOPED_TRACE(testing::Message() << "after step " << step);
    if (checkpoints) {
      ASSERT_TRUE(course.model().Checkpoint().ok());
    }
    daemon->Kill();
    ASSERT_TRUE(daemon->Restart()) << daemon->Log();
    const State state{Wire(daemon->tcp())};
    ASSERT_EQ(state.described, states[step].described);
    ASSERT_TRUE(state.parameters == states[step].parameters);
    ++step;
  };
  ASSERT_NO_FATAL_FAILURE(course.Run(kill_and_compare));
  EXPECT_EQ(course.ks(), twin.ks());
  const Ending resumed =
      Wire(daemon->tcp()).TryOpen(kModel, "leaves", course.closed_session());
  EXPECT_EQ(resumed.detail.reason(), v1::ErrorDetail::REASON_SESSION_UNKNOWN)
      << resumed.status.error_message();
}

INSTANTIATE_TEST_SUITE_P(All, SteeredRestartTest, testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "FromACheckpoint"
                                             : "FromTheJournal";
                         });

}  // namespace
}  // namespace accrue
