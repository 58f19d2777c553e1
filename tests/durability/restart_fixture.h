// RestartFixture: a kept model "m" with two workers that take turns, and the
// processes that hold it one after the other.
#ifndef ACCRUE_TESTS_DURABILITY_RESTART_FIXTURE_H_
#define ACCRUE_TESTS_DURABILITY_RESTART_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"
#include "tests/model/kept_models.h"

namespace accrue {

class RestartFixture : public ::testing::Test {
 protected:
  RestartFixture() { StartAgain(); }

  static ModelSpec Spec(Durability durability) {
    ModelSpec spec = TwoGroups("m");
    spec.durability = durability;
    FillDefaults(spec);
    return spec;
  }

  // The process that runs ends without notice.
  void StartAgain() {
    model_.reset();
    process_.reset();
    process_ = std::make_unique<KeepingProcess>(data_.path(), options_);
    const absl::Status started = process_->Start();
    ASSERT_TRUE(started.ok()) << started;
    const auto found = process_->store().Find("m");
    if (found.ok()) model_ = *found;
  }
  void Create(const ModelSpec& spec) {
    const auto made = process_->Create(spec);
    ASSERT_TRUE(made.ok()) << made.status();
    model_ = *made;
    ASSERT_TRUE(harness().Initialize(*model_, 0.5).ok());
    for (Turn& turn : turns_) {
      turn.session = harness().Open(*model_, &turn == turns_ ? "a" : "b")->id;
    }
  }
  std::vector<float> Gradient() {
    std::normal_distribution<float> normal;
    std::vector<float> gradient(kTwoGroupsElems);
    for (float& g : gradient) g = normal(random_);
    return gradient;
  }
  void Push(int count) {
    for (int i = 0; i < count; ++i) {
      Turn& turn = turns_[pushes_++ % 2];
      last_ = Gradient();
      auto push =
          harness().NewPush(*model_, turn.session, ++turn.sequence, last_);
      push->header.loss = last_[0];
      push->header.weight = 1.5;
      const auto outcome = harness().PushNow(*model_, std::move(push));
      ASSERT_TRUE(outcome.ok()) << outcome.status();
    }
  }
  absl::Status SetLearningRate(double rate) {
    return harness().Update(
        *model_,
        {{.group = "slow", .change = [rate](rule::Hyperparameters& hyper) {
            hyper.learning_rate = rate;
          }}});
  }

  Harness& harness() { return process_->harness(); }

  struct Turn {
    std::string session;
    int64_t sequence = 0;
  };
  const TemporaryDirectory data_;
  DurabilityOptions options_;
  std::unique_ptr<KeepingProcess> process_;
  std::shared_ptr<Model> model_;
  std::mt19937 random_{5};
  Turn turns_[2];
  int pushes_ = 0;
  std::vector<float> last_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_RESTART_FIXTURE_H_
