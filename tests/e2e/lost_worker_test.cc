// kill -9 of one of four synchronous workers: with a cycle timeout training
// goes on, and comes to what the oracle says; without one the others wait, and
// the daemon names who is missing.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/peer.h"
#include "tests/oracle/oracle.h"

namespace accrue {
namespace {

using client::Client;
using testing::UnorderedElementsAre;

constexpr char kModel[] = "m";
constexpr int kWorkers = 4;
constexpr int kElements = 1000;
constexpr int kVersions = 8;
// The victim has pushed toward all versions up to this one.
constexpr int kLastOfVictim = 4;

int Number(const std::string& text) {
  int number = -1;
  return absl::SimpleAtoi(text, &number) ? number : -1;
}

std::string WorkerName(int worker) { return absl::StrCat("worker", worker); }

// The gradient of a worker at a version.
std::vector<float> Gradient(int worker, int64_t version) {
  std::mt19937 random(static_cast<uint32_t>(version * kWorkers + worker));
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> gradient(kElements);
  for (float& g : gradient) g = uniform(random);
  return gradient;
}

// TARGET WORKER LAST FREEZE WAIT_MS: one push a version until version LAST is
// there; stops itself at version FREEZE, if that is not negative. Says
// "pushed T VERSION" of each push, and "unchanged MILLISECONDS" and ends where
// a pull waited in vain.
int SyncWorker(const std::vector<std::string>& arguments) {
  const int worker_number = Number(arguments[1]);
  const int last = Number(arguments[2]);
  const int freeze = Number(arguments[3]);
  const absl::Duration wait = absl::Milliseconds(Number(arguments[4]));
  const auto client = Client::Connect(arguments[0]);
  if (!client.ok()) return EXIT_FAILURE;
  const auto model = client->OpenModel(kModel);
  if (!model.ok()) return EXIT_FAILURE;
  auto worker = model->OpenWorker({.name = WorkerName(worker_number)});
  std::vector<float> parameters(kElements);
  if (!worker.ok() || !worker->Pull(&parameters).ok()) return EXIT_FAILURE;
  Say("open");
  Hear();  // until all are
  while (worker->version()->number < last) {
    const int64_t version = worker->version()->number;
    if (freeze >= 0 && version >= freeze) Freeze();
    const auto pushed = worker->Push(Gradient(worker_number, version));
    if (!pushed.ok()) return EXIT_FAILURE;
    // One that came after its cycle's timeout is refused: the next version is
    // there.
    if (pushed->accepted) {
      Say(absl::StrCat("pushed ", pushed->folded_pushes, " ", version));
    }
    const absl::Time start = absl::Now();
    const auto pulled = worker->PullNewer(&parameters, wait);
    if (!pulled.ok()) return EXIT_FAILURE;
    if (pulled->unchanged) {
      Say(absl::StrCat("unchanged ",
                       absl::ToInt64Milliseconds(absl::Now() - start)));
      return EXIT_SUCCESS;
    }
  }
  Say("trained");
  return EXIT_SUCCESS;
}
const PeerRole kSyncWorker("sync_worker", SyncWorker);

client::ModelSpec Spec(std::optional<absl::Duration> cycle_timeout) {
  client::ModelSpec spec;
  spec.name = kModel;
  spec.tensors = {{"w", {kElements}}};
  spec.groups = {{"g", kWorkers, {}, {.learning_rate = 0.125}}};
  spec.max_pushes_per_worker = 1;
  spec.cycle_timeout = cycle_timeout;
  return spec;
}

// The same to the oracle.
oracle::Oracle MakeOracle() {
  rule::RuleSpec rule;
  rule.k = rule.update_every = kWorkers;
  rule.hyper.learning_rate = 0.125;
  return oracle::Oracle({{rule, std::vector<float>(kElements, 0)}});
}

struct Pushed {
  int worker;
  int64_t version;  // that its gradient was computed from
};

class LostWorkerTest : public testing::Test {
 protected:
  // A daemon, a model of zeros, and four workers of which the last stops
  // itself before its push toward the version after kLastOfVictim, and is
  // killed.
  void Start(std::optional<absl::Duration> cycle_timeout, absl::Duration wait) {
    daemon_ = Daemon::Start();
    ASSERT_NE(daemon_, nullptr);
    const auto client = Client::Connect(daemon_->tcp());
    ASSERT_TRUE(client.ok()) << client.status();
    auto model = client->CreateOrOpen(Spec(cycle_timeout));
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    const auto initialized = model_->InitializeWith(
        {{"w", client::ConstantInitializer{0}}}, /*seed=*/1);
    ASSERT_TRUE(initialized.ok()) << initialized.status();
    for (int i = 0; i < kWorkers; ++i) {
      const bool victim = i == kWorkers - 1;
      workers_.push_back(Peer::Start(
          "sync_worker",
          {i % 2 == 0 ? daemon_->tcp() : daemon_->uds(), absl::StrCat(i),
           absl::StrCat(kVersions), absl::StrCat(victim ? kLastOfVictim : -1),
           absl::StrCat(absl::ToInt64Milliseconds(wait))}));
      ASSERT_NE(workers_.back(), nullptr);
      ASSERT_EQ(workers_.back()->AwaitLine(), "open");
    }
    for (const auto& worker : workers_) worker->Tell("go");
  }

  // Reads what a worker says, up to its last words, and takes note of its
  // pushes.
  std::string Follow(int worker) {
    while (const auto line = workers_[worker]->AwaitLine()) {
      const std::vector<std::string> words = absl::StrSplit(*line, ' ');
      if (words[0] != "pushed") return *line;
      pushed_[Number(words[1])] = {worker, Number(words[2])};
    }
    return "";
  }

  void KillVictim() {
    const int victim = kWorkers - 1;
    ASSERT_EQ(Follow(victim), "frozen");
    workers_[victim]->Kill();
  }

  std::unique_ptr<Daemon> daemon_;
  std::optional<client::Model> model_;
  std::vector<std::unique_ptr<Peer>> workers_;
  std::map<int64_t, Pushed> pushed_;  // by t
};

TEST_F(LostWorkerTest, TrainingEndsWithAllUpdatesAndTheOracleAgrees) {
  ASSERT_NO_FATAL_FAILURE(Start(absl::Seconds(1), /*wait=*/absl::Seconds(30)));
  ASSERT_NO_FATAL_FAILURE(KillVictim());
  for (int i = 0; i < kWorkers - 1; ++i) {
    EXPECT_EQ(Follow(i), "trained");
    EXPECT_EQ(workers_[i]->AwaitExit(), EXIT_SUCCESS);
  }
  // In the order in which they were folded; what is missing at the end of a
  // version counts as zero.
  oracle::Oracle oracle = MakeOracle();
  int64_t t = 0, version = 0, short_cycles = 0;
  int in_cycle = 0;
  for (const auto& [folded, push] : pushed_) {
    ASSERT_EQ(folded, ++t) << "a push that nobody was told of";
    if (push.version != version) {
      ASSERT_EQ(push.version, ++version);
      if (in_cycle < kWorkers) {
        oracle.Close();
        ++short_cycles;
      }
      in_cycle = 0;
    }
    oracle.Push({Gradient(push.worker, push.version)}, {});
    ++in_cycle;
  }
  if (in_cycle < kWorkers) {
    oracle.Close();
    ++short_cycles;
  }
  const auto description = model_->Describe();
  ASSERT_TRUE(description.ok());
  EXPECT_EQ(description->version->number, kVersions);
  EXPECT_EQ(description->groups[0].updates, kVersions);
  EXPECT_EQ(description->folded_pushes, t);
  EXPECT_EQ(description->short_cycles, short_cycles);
  EXPECT_GT(short_cycles, 0);
  std::vector<float> parameters(kElements);
  ASSERT_TRUE(model_->Pull(&parameters).ok());
  EXPECT_EQ(oracle::Mismatch("theta", oracle.theta(0), parameters.data(),
                             parameters.size()),
            "");
  std::cout << "pushes " << t << ", versions " << version + 1
            << ", short cycles " << short_cycles << "\n";
}

TEST_F(LostWorkerTest, WithoutATimeoutTheOthersWaitAndItIsNamed) {
  constexpr absl::Duration kWait = absl::Seconds(4);
  ASSERT_NO_FATAL_FAILURE(Start(/*cycle_timeout=*/std::nullopt, kWait));
  ASSERT_NO_FATAL_FAILURE(KillVictim());
  for (int i = 0; i < kWorkers - 1; ++i) {
    const std::string last = Follow(i);
    const std::vector<std::string> words = absl::StrSplit(last, ' ');
    ASSERT_EQ(words[0], "unchanged") << last;
    const absl::Duration waited = absl::Milliseconds(Number(words[1]));
    EXPECT_GE(waited, kWait);
    EXPECT_LE(waited, kWait + absl::Seconds(10));
    EXPECT_EQ(workers_[i]->AwaitExit(), EXIT_SUCCESS);
  }
  const auto description = model_->Describe();
  ASSERT_TRUE(description.ok());
  EXPECT_EQ(description->version->number, kLastOfVictim);
  EXPECT_EQ(description->groups[0].position, kWorkers - 1);
  EXPECT_THAT(description->missing_workers,
              UnorderedElementsAre(WorkerName(kWorkers - 1)));
  EXPECT_THAT(
      description->pushed_workers,
      UnorderedElementsAre(WorkerName(0), WorkerName(1), WorkerName(2)));
}

}  // namespace
}  // namespace accrue
