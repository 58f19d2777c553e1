// Refusals that are part of training, through the SDK and the real daemon: they
// are results, not errors; nothing was folded, and training goes on.
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using client::Client;
using client::Model;
using client::PushOptions;
using client::Reason;
using client::Worker;

constexpr int kElements = 17;

class RefusalsTest : public testing::Test {
 protected:
  void SetUp() override {
    daemon_ = Daemon::Start();
    ASSERT_NE(daemon_, nullptr);
    auto client = Client::Connect(daemon_->tcp());
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }

  void Make(int64_t k, int64_t max_pushes_per_worker = 0) {
    client::ModelSpec spec;
    spec.name = "m";
    spec.tensors = {{"w", {kElements}}};
    spec.groups = {{"g", k, {}, {.learning_rate = 0.5}}};
    spec.max_pushes_per_worker = max_pushes_per_worker;
    auto model = client_->CreateOrOpen(spec);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    const auto initialized =
        model_->InitializeWith({{"w", client::ConstantInitializer{0}}}, 1);
    ASSERT_TRUE(initialized.ok()) << initialized.status();
  }

  // A worker that has pulled.
  Worker Open(const std::string& name) {
    auto worker = model_->OpenWorker({.name = name});
    EXPECT_TRUE(worker.ok()) << worker.status();
    Pull(*worker);
    return *std::move(worker);
  }

  void Pull(Worker& worker) {
    const auto pulled = worker.Pull(&parameters_);
    EXPECT_TRUE(pulled.ok()) << pulled.status();
  }

  void ExpectAccepted(Worker& worker, const PushOptions& options = {}) {
    const auto pushed = worker.Push(gradient_, options);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_TRUE(pushed->accepted) << pushed->message;
  }

  // And nothing has changed; the version told is the newest.
  void ExpectRefused(Worker& worker, Reason reason,
                     const PushOptions& options = {}) {
    const auto before = model_->Describe();
    const auto pushed = worker.Push(gradient_, options);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_FALSE(pushed->accepted);
    EXPECT_EQ(pushed->reason, reason) << pushed->message;
    EXPECT_NE(pushed->message, "");
    const auto after = model_->Describe();
    ASSERT_TRUE(before.ok() && after.ok());
    EXPECT_EQ(after->folded_pushes, before->folded_pushes);
    EXPECT_EQ(after->groups[0].position, before->groups[0].position);
    EXPECT_EQ(after->version, before->version);
    EXPECT_EQ(pushed->version, *after->version);
  }

  std::unique_ptr<Daemon> daemon_;
  std::optional<Client> client_;
  std::optional<Model> model_;
  std::vector<float> parameters_ = std::vector<float>(kElements);
  std::vector<float> gradient_ = std::vector<float>(kElements, 1);
};

TEST_F(RefusalsTest, AGradientThatIsNotFiniteIsASkippedStep) {
  ASSERT_NO_FATAL_FAILURE(Make(/*k=*/2));
  Worker worker = Open("w");
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity()}) {
    gradient_.back() = bad;
    ExpectRefused(worker, Reason::kNonFinite);
  }
  gradient_.back() = 1;
  ExpectAccepted(worker);
}

TEST_F(RefusalsTest, AStaleGradientIsComputedAgain) {
  ASSERT_NO_FATAL_FAILURE(Make(/*k=*/1));
  Worker slow = Open("slow"), fast = Open("fast");
  ExpectAccepted(fast);
  ExpectRefused(slow, Reason::kStale);
  Pull(slow);
  ExpectAccepted(slow);
}

TEST_F(RefusalsTest, AnotherLineageIsPulledAnew) {
  ASSERT_NO_FATAL_FAILURE(Make(/*k=*/1));
  Worker worker = Open("w");
  ExpectAccepted(worker);
  ASSERT_TRUE(client_->DeleteModel("m").ok());
  ASSERT_NO_FATAL_FAILURE(Make(/*k=*/1));
  ExpectRefused(worker, Reason::kLineageChanged);
  Pull(worker);
  ExpectAccepted(worker);
}

TEST_F(RefusalsTest, AWorkerWhoseShareIsUsedWaitsForTheOthers) {
  ASSERT_NO_FATAL_FAILURE(Make(/*k=*/2, /*max_pushes_per_worker=*/1));
  Worker one = Open("one"), two = Open("two");
  ExpectAccepted(one);
  ExpectRefused(one, Reason::kQuota);
  ExpectAccepted(two);
  Pull(one);
  ExpectAccepted(one);
}

TEST_F(RefusalsTest, ACyclesPushesHaveAsManyMicroSteps) {
  ASSERT_NO_FATAL_FAILURE(Make(/*k=*/4));
  Worker worker = Open("w");
  ExpectAccepted(worker, {.micro_steps = 2});
  ExpectRefused(worker, Reason::kMicroSteps);
  ExpectAccepted(worker, {.micro_steps = 2});
  Pull(worker);
  ExpectAccepted(worker);
}

}  // namespace
}  // namespace accrue
