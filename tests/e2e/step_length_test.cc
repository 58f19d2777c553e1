// Adam embedded with CORRECTED beside CLASSIC's, through the daemon, on the
// same planted gradients: steps are as long.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

constexpr uint32_t kSeed = 20210830;
constexpr int64_t kElems = 2000;  // of one tensor

// A tensor each.
constexpr const char* kSettings[] = {"homogeneous", "half_signal",
                                     "sparse_signal", "lognormal"};
constexpr size_t kSettingCount = std::size(kSettings);

// Of every element a mean and a deviation that stay.
class Gradients {
 public:
  Gradients() {
    for (size_t setting = 0; setting < kSettingCount; ++setting) {
      for (int64_t e = 0; e < kElems; ++e) Plant(setting, e);
    }
  }

  const std::vector<float>& Next() {
    gradient_.resize(mean_.size());
    for (size_t e = 0; e < mean_.size(); ++e) {
      gradient_[e] = mean_[e] + deviation_[e] * normal_(random_);
    }
    return gradient_;
  }

 private:
  void Plant(size_t setting, int64_t e) {
    float mean = std::sqrt(0.1f), deviation = 1;
    if (setting == 1 || setting == 2) {
      const bool signal = e % (setting == 1 ? 2 : 20) == 0;
      mean = signal ? 1 : 0;
      deviation = signal ? 0.1f : 1;
    } else if (setting == 3) {
      mean = 0.3f * std::exp(normal_(random_));
      deviation = std::exp(normal_(random_));
    }
    mean_.push_back(mean);
    deviation_.push_back(deviation);
  }

  std::mt19937 random_{kSeed};
  std::normal_distribution<float> normal_;
  std::vector<float> mean_, deviation_, gradient_;
};

// A model that starts at zeros, and its worker.
class Trainee {
 public:
  Trainee(const client::Client& client, const std::string& name, int64_t k,
          client::Buffering buffering, client::SecondMoment second_moment) {
    client::ModelSpec spec;
    spec.name = name;
    for (const char* setting : kSettings) {
      spec.tensors.push_back({.name = setting, .shape = {kElems}});
    }
    spec.groups = {
        {.name = "all", .k = k, .hyperparameters = {.learning_rate = 0x1p-10}}};
    spec.optimizer = {.optimizer = client::Optimizer::kAdam,
                      .buffering = buffering,
                      .second_moment = second_moment};
    auto model = client.CreateModel(spec);
    EXPECT_TRUE(model.ok()) << model.status();
    model_.emplace(*std::move(model));
    parameters_.resize(kSettingCount * kElems);
    EXPECT_TRUE(model_->InitializeValues(parameters_).ok());
    auto worker = model_->OpenWorker({.name = "w"});
    EXPECT_TRUE(worker.ok()) << worker.status();
    worker_.emplace(*std::move(worker));
    EXPECT_TRUE(worker_->Pull(&parameters_).ok());
  }

  // True where that was an update.
  bool Push(const std::vector<float>& gradient) {
    const auto pushed = worker_->Push(gradient);
    EXPECT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
    if (!pushed.ok() || !pushed->published) return false;
    Step();
    return true;
  }

  void EndCycle() {
    const auto ended = model_->EndCycle();
    EXPECT_TRUE(ended.ok()) << ended.status();
    Step();
  }

  // Of the last step in each setting's tensor.
  const std::vector<double>& norms() const { return norms_; }

 private:
  void Step() {
    const std::vector<float> before = parameters_;
    EXPECT_TRUE(worker_->Pull(&parameters_).ok());
    norms_.assign(kSettingCount, 0);
    for (size_t e = 0; e < before.size(); ++e) {
      const double way =
          static_cast<double>(parameters_[e]) - static_cast<double>(before[e]);
      norms_[e / kElems] += way * way;
    }
    for (double& norm : norms_) norm = std::sqrt(norm);
  }

  std::optional<client::Model> model_;
  std::optional<client::Worker> worker_;
  std::vector<float> parameters_;
  std::vector<double> norms_;
};

class StepLengthTest : public testing::Test {
 protected:
  void SetUp() override {
    std::cout << "seed " << kSeed << "\n";
    daemon_ = Daemon::Start({"--log_level=warn"});
    ASSERT_NE(daemon_, nullptr);
    auto client = client::Client::Connect(daemon_->uds());
    ASSERT_TRUE(client.ok()) << client.status();
    client_.emplace(*std::move(client));
  }

  void Begin(int64_t k) {
    const std::string of_k = std::to_string(k);
    classic_.emplace(*client_, "classic" + of_k, k, client::Buffering::kClassic,
                     client::SecondMoment::kArticle);
    corrected_.emplace(*client_, "corrected" + of_k, k,
                       client::Buffering::kEmbedded,
                       client::SecondMoment::kCorrected);
  }

  // A cycle of both; fewer pushes than k: it is closed early.
  void Cycle(int64_t pushes, int64_t k) {
    for (int64_t push = 0; push < pushes; ++push) {
      const std::vector<float>& gradient = gradients_.Next();
      const bool published = classic_->Push(gradient);
      EXPECT_EQ(corrected_->Push(gradient), published);
      EXPECT_EQ(published, push + 1 == k);
    }
    if (pushes == k) return;
    classic_->EndCycle();
    corrected_->EndCycle();
  }

  void ExpectStepsAsLong() {
    for (size_t setting = 0; setting < kSettingCount; ++setting) {
      const double share =
          corrected_->norms()[setting] / classic_->norms()[setting];
      EXPECT_GT(share, 0.9) << kSettings[setting];
      EXPECT_LT(share, 1.1) << kSettings[setting];
      least_ = std::min(least_, share);
      most_ = std::max(most_, share);
    }
  }

  std::unique_ptr<Daemon> daemon_;
  std::optional<client::Client> client_;
  std::optional<Trainee> classic_, corrected_;
  Gradients gradients_;
  double least_ = 1e9, most_ = 0;
};

TEST_F(StepLengthTest, CorrectedStepsAsFarAsClassic) {
  for (const int64_t k : {2, 4, 8}) {
    SCOPED_TRACE(testing::Message() << "k = " << k);
    Begin(k);
    for (int update = 1; update <= 40; ++update) {
      Cycle(k, k);
      if (update > 20) ExpectStepsAsLong();
    }
  }
  std::cout << "shares of CLASSIC's: " << least_ << " to " << most_ << "\n";
}

// k = 8, of which after 40 updates one push comes, and EndCycle: what v is of
// means of 8 it is less and less. The first short cycles weigh an eighth of the
// long ones in m, but as much in CLASSIC's; after 60 of them the long ones are
// 8*0.9^60 = 1.4 % of m, and the steps can be compared.
TEST_F(StepLengthTest, AlsoOnceCyclesHaveBecomeShort) {
  Begin(8);
  for (int update = 1; update <= 40; ++update) Cycle(8, 8);
  for (int update = 1; update <= 70; ++update) {
    Cycle(1, 8);
    if (update > 60) ExpectStepsAsLong();
  }
  std::cout << "shares of CLASSIC's: " << least_ << " to " << most_ << "\n";
}

}  // namespace
}  // namespace accrue
