// Sessions: a thousand of them over a hundred connections are served alike, by
// a handful of threads, and each push of each is folded once.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
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

namespace accrue {
namespace {

using client::Client;

constexpr char kModel[] = "m";
constexpr int kProcesses = 4;
constexpr int kConnectionsPerProcess = 25;
constexpr int kSessionsPerConnection = 10;
constexpr int kSessions =
    kProcesses * kConnectionsPerProcess * kSessionsPerConnection;
constexpr int kElements = kSessions;  // one for each
constexpr int kPushes = 10;
constexpr int kMaxThreads = 32;
constexpr double kMaxSlowness = 20;

// Without momentum, with a gain of (1 - d)/k = 2^-7 and a learning rate of
// 2^-3, a parameter is -2^-10 times the sum of what was pushed for it, in
// whatever order; and no sum of powers of two is another's.
constexpr int kK = 8;
constexpr double kGain = 0x1p-7;
constexpr double kLearningRate = 0x1p-3;
constexpr float kExpected =
    static_cast<float>(-kGain * kLearningRate * ((1 << kPushes) - 1));

// Ten pushes of 1, 2, 4, ... for one element; says "session" and how long each
// took, in microseconds.
void PushAll(client::Worker worker, int element) {
  std::vector<float> gradient(kElements, 0);
  std::string line = "session";
  for (int i = 0; i < kPushes; ++i) {
    gradient[static_cast<size_t>(element)] = static_cast<float>(1 << i);
    const absl::Time start = absl::Now();
    const auto pushed = worker.Push(gradient);
    if (!pushed.ok() || !pushed->accepted) {
      std::cerr << worker.name() << ": " << pushed.status() << "\n";
      break;
    }
    absl::StrAppend(&line, " ", absl::ToInt64Microseconds(absl::Now() - start));
  }
  Say(line);
}

// TARGET NUMBER: opens its connections and sessions, says "open", waits to be
// told, and has all sessions push at once, each for an element of its own.
int Sessions(const std::vector<std::string>& arguments) {
  int process = 0;
  if (!absl::SimpleAtoi(arguments[1], &process)) return EXIT_FAILURE;
  std::vector<client::Worker> workers;
  std::vector<float> parameters(kElements);
  for (int i = 0; i < kConnectionsPerProcess; ++i) {
    const auto client = Client::Connect(arguments[0]);
    if (!client.ok()) return EXIT_FAILURE;
    const auto model = client->OpenModel(kModel);
    if (!model.ok()) return EXIT_FAILURE;
    for (int j = 0; j < kSessionsPerConnection; ++j) {
      auto worker = model->OpenWorker();
      if (!worker.ok() || !worker->Pull(&parameters).ok()) return EXIT_FAILURE;
      workers.push_back(*std::move(worker));
    }
  }
  Say("open");
  if (!Hear()) return EXIT_FAILURE;
  std::vector<std::thread> threads;
  int element = process * kSessions / kProcesses;
  for (client::Worker& worker : workers) {
    threads.emplace_back(PushAll, std::move(worker), element++);
  }
  for (std::thread& thread : threads) thread.join();
  return EXIT_SUCCESS;
}
const PeerRole kSessionsRole("sessions", Sessions);

// The latencies that one "session" line tells.
std::vector<int64_t> Latencies(const std::string& line) {
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  EXPECT_EQ(words[0], "session");
  std::vector<int64_t> latencies;
  for (size_t i = 1; i < words.size(); ++i) {
    int64_t microseconds = 0;
    EXPECT_TRUE(absl::SimpleAtoi(words[i], &microseconds));
    latencies.push_back(microseconds);
  }
  EXPECT_EQ(latencies.size(), kPushes);
  return latencies;
}

TEST(SessionsTest, AThousandAreServedAlikeByFewThreads) {
  const auto daemon = Daemon::Start();
  ASSERT_NE(daemon, nullptr);
  const auto client = Client::Connect(daemon->tcp());
  ASSERT_TRUE(client.ok()) << client.status();
  client::ModelSpec spec;
  spec.name = kModel;
  spec.tensors = {{"w", {kElements}}};
  spec.optimizer.optimizer = client::Optimizer::kSgd;
  spec.groups = {
      {"g",
       kK,
       {},
       {.learning_rate = kLearningRate, .dampening = 1 - kK * kGain}}};
  spec.max_staleness = -1;
  const auto model = client->CreateOrOpen(spec);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto initialized =
      model->InitializeWith({{"w", client::ConstantInitializer{0}}}, 1);
  ASSERT_TRUE(initialized.ok()) << initialized.status();

  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < kProcesses; ++i) {
    peers.push_back(Peer::Start(
        "sessions",
        {i % 2 == 0 ? daemon->tcp() : daemon->uds(), absl::StrCat(i)}));
    ASSERT_NE(peers.back(), nullptr);
  }
  for (const auto& peer : peers) ASSERT_EQ(peer->AwaitLine(), "open");
  const auto sessions = model->ListSessions();
  ASSERT_TRUE(sessions.ok()) << sessions.status();
  EXPECT_EQ(sessions->size(), kSessions);

  for (const auto& peer : peers) peer->Tell("go");
  std::vector<int64_t> all;
  int64_t most_threads = daemon->ThreadCount();
  for (const auto& peer : peers) {
    for (int i = 0; i < kSessions / kProcesses; ++i) {
      const auto line = peer->AwaitLine();
      ASSERT_TRUE(line);
      for (const int64_t latency : Latencies(*line)) all.push_back(latency);
      most_threads = std::max(most_threads, daemon->ThreadCount());
    }
  }
  const auto description = model->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->folded_pushes, kSessions * kPushes);
  std::vector<float> parameters(kElements);
  ASSERT_TRUE(model->Pull(&parameters).ok());
  EXPECT_THAT(parameters, testing::Each(kExpected));
  ASSERT_EQ(all.size(), kSessions * kPushes);
  EXPECT_LE(most_threads, kMaxThreads);

  std::sort(all.begin(), all.end());
  const int64_t median = all[all.size() / 2];
  // No session's slowest push is slower than the slowest of all.
  const double slowness =
      static_cast<double>(all.back()) / static_cast<double>(median);
  std::cout << "median " << median << " us, slowest " << all.back()
            << " us, ratio " << slowness << ", threads " << most_threads
            << "\n";
  EXPECT_LE(slowness, kMaxSlowness);
}

}  // namespace
}  // namespace accrue
