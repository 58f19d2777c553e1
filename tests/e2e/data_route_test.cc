// The SDK's pushes over data connections to the real daemon.
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "accrue/client.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using client::Client;
using client::ClientOptions;
using client::Model;
using client::Payload;
using client::Worker;

constexpr uint32_t kSeed = 4711;
constexpr int64_t kMebibyte = (1 << 20) / 4;  // in elements
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

std::vector<float> Random(int64_t elems, uint32_t seed) {
  std::mt19937 random(kSeed + seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(elems));
  for (float& value : values) value = normal(random);
  return values;
}

// Connections to a port of this machine, as the kernel has them.
int ConnectionsTo(const std::string& target) {
  const int port = std::stoi(target.substr(target.rfind(':') + 1));
  const std::string want = absl::StrFormat("0100007F:%04X", port);
  constexpr char kEstablished[] = "01";
  std::ifstream table("/proc/self/net/tcp");
  std::string line, number, local, remote, state;
  int count = 0;
  std::getline(table, line);
  while (std::getline(table, line)) {
    std::istringstream(line) >> number >> local >> remote >> state;
    if (remote == want && state == kEstablished) ++count;
  }
  return count;
}

class DataRouteTest : public testing::Test {
 protected:
  void Start(const std::vector<std::string>& flags = {},
             const ClientOptions& options = {}) {
    daemon_ = Daemon::Start(flags);
    ASSERT_NE(daemon_, nullptr);
    Connect(options);
  }
  void Connect(const ClientOptions& options) {
    auto client = Client::Connect(daemon_->tcp(), options);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }

  // sgd without momentum at learning rate 1: a push of g takes g off zeros, or
  // k of them their mean.
  Model Make(const std::string& name, int64_t elems, int64_t k = 1) {
    client::ModelSpec spec;
    spec.name = name;
    spec.tensors = {{.name = "w", .shape = {elems}}};
    spec.groups = {
        {.name = "all", .k = k, .hyperparameters = {.learning_rate = 1}}};
    spec.optimizer.optimizer = client::Optimizer::kSgd;
    auto model = client_->CreateOrOpen(spec);
    EXPECT_TRUE(model.ok()) << model.status();
    EXPECT_TRUE(model
                    ->InitializeWith({{"w", client::ConstantInitializer{0}}},
                                     /*seed=*/1)
                    .ok());
    return *std::move(model);
  }
  static Worker Open(const Model& model,
                     const client::WorkerOptions& options = {}) {
    auto worker = model.OpenWorker(options);
    EXPECT_TRUE(worker.ok()) << worker.status();
    return *std::move(worker);
  }
  // From the newest version.
  static void Push(Worker& worker, const Model& model, const Payload& gradient,
                   absl::Duration timeout = absl::Seconds(60)) {
    const auto described = model.Describe();
    ASSERT_TRUE(described.ok()) << described.status();
    const auto pushed = worker.Push(
        gradient, {.version = described->version, .timeout = timeout});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_TRUE(pushed->accepted) << pushed->message;
  }
  static std::vector<float> Parameters(const Model& model) {
    std::vector<float> parameters(static_cast<size_t>(model.parameter_count()));
    EXPECT_TRUE(model.Pull(&parameters).ok());
    return parameters;
  }
  static int64_t FoldedPushes(const Model& model) {
    const auto described = model.Describe();
    EXPECT_TRUE(described.ok()) << described.status();
    return described.ok() ? described->folded_pushes : -1;
  }

  std::unique_ptr<Daemon> daemon_;
  std::optional<Client> client_;
};

TEST_F(DataRouteTest, PushesOfAMebibyteHaveAConnectionAndSmallerOnesNone) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const Model model = Make("m", kMebibyte);
  Worker worker = Open(model);
  const Model less_model = Make("less", kMebibyte - 1);
  Worker less_worker = Open(less_model);
  const int before = ConnectionsTo(daemon_->tcp());
  EXPECT_GT(before, 0);
  Push(less_worker, less_model, std::vector<float>(kMebibyte - 1, 1));
  EXPECT_EQ(ConnectionsTo(daemon_->tcp()), before);
  for (int i = 0; i < 3; ++i) {
    Push(worker, model, std::vector<float>(kMebibyte, 1));
    EXPECT_EQ(ConnectionsTo(daemon_->tcp()), before + 1);
  }
  EXPECT_EQ(Parameters(model), std::vector<float>(kMebibyte, -3));
  // Both sides count the payload, wherever it travels.
  const auto described = model.Describe();
  ASSERT_TRUE(described.ok());
  EXPECT_EQ(described->traffic.push_request_bytes,
            worker.traffic().push_request_bytes);
  EXPECT_GT(worker.traffic().push_request_bytes, 3 << 20);
}

TEST_F(DataRouteTest, ThereIsNoneWhereItIsNotWanted) {
  ASSERT_NO_FATAL_FAILURE(Start({}, {.data_connection_min_bytes = kNever}));
  const Model model = Make("m", kMebibyte);
  Worker worker = Open(model);
  const int before = ConnectionsTo(daemon_->tcp());
  Push(worker, model, std::vector<float>(kMebibyte, 1));
  EXPECT_EQ(ConnectionsTo(daemon_->tcp()), before);
  EXPECT_EQ(Parameters(model), std::vector<float>(kMebibyte, -1));
}

TEST_F(DataRouteTest, ADaemonThatAllowsNoneGetsMessages) {
  ASSERT_NO_FATAL_FAILURE(Start({"--max_data_connections=0"}));
  const Model model = Make("m", kMebibyte);
  Worker worker = Open(model);
  const int before = ConnectionsTo(daemon_->tcp());
  for (int i = 0; i < 3; ++i) {
    Push(worker, model, std::vector<float>(kMebibyte, 1));
  }
  EXPECT_EQ(ConnectionsTo(daemon_->tcp()), before);
  EXPECT_EQ(Parameters(model), std::vector<float>(kMebibyte, -3));
}

TEST_F(DataRouteTest, OneWorkerTooManyGetsMessages) {
  ASSERT_NO_FATAL_FAILURE(Start({"--max_data_connections=1"}));
  const Model model = Make("m", kMebibyte);
  Worker first = Open(model), second = Open(model);
  const int before = ConnectionsTo(daemon_->tcp());
  for (int i = 0; i < 2; ++i) {
    Push(first, model, std::vector<float>(kMebibyte, 1));
    Push(second, model, std::vector<float>(kMebibyte, 1));
    EXPECT_EQ(ConnectionsTo(daemon_->tcp()), before + 1);
  }
  EXPECT_EQ(Parameters(model), std::vector<float>(kMebibyte, -4));
}

TEST_F(DataRouteTest, PartsOfOddSizesArriveBitForBit) {
  ASSERT_NO_FATAL_FAILURE(Start());
  std::cout << "seed " << kSeed << "\n";
  constexpr int64_t kElems = 1'234'567;
  const std::vector<float> gradient = Random(kElems, 0);
  std::vector<float> want = gradient;
  for (float& value : want) value = -value;
  const absl::Span<const std::byte> bytes(
      reinterpret_cast<const std::byte*>(gradient.data()), gradient.size() * 4);
  for (const std::string& target : {daemon_->tcp(), daemon_->uds()}) {
    auto client = Client::Connect(target);
    ASSERT_TRUE(client.ok()) << client.status();
    for (const size_t count : {64, 65, 100, 300}) {
      std::vector<Payload::Part> parts;
      size_t start = 0;
      for (size_t i = 1; i < count; ++i) {
        const size_t size = i % 4 == 0 ? 1 : 16'001;
        parts.push_back(bytes.subspan(start, size));
        start += size;
      }
      parts.push_back(bytes.subspan(start));
      client_ = *client;
      client_->DeleteModel("m").IgnoreError();
      const Model model = Make("m", kElems);
      Worker worker = Open(model);
      Push(worker, model, Payload::Encoded(client::Encoding::kF32, parts));
      EXPECT_TRUE(Parameters(model) == want) << target << " " << count;
    }
  }
}

TEST_F(DataRouteTest, CompressedPushesAreTheSameAsInMessages) {
  constexpr int64_t kElems = 300'001;
  std::vector<float> parameters[2];
  std::vector<float> residuals[2];
  ASSERT_NO_FATAL_FAILURE(Start());
  for (const bool by_data : {false, true}) {
    ASSERT_NO_FATAL_FAILURE(
        Connect({.data_connection_min_bytes = by_data ? 1 : kNever}));
    const Model model = Make(by_data ? "data" : "messages", kElems, 2);
    Worker top =
        Open(model, {.compression = {.encoding = client::Encoding::kTopK}});
    Worker int8 =
        Open(model, {.compression = {.encoding = client::Encoding::kInt8}});
    const int before = ConnectionsTo(daemon_->tcp());
    for (uint32_t i = 0; i < 4; ++i) {
      Push(top, model, Random(kElems, i));
      Push(int8, model, Random(kElems, i + 10));
    }
    EXPECT_EQ(ConnectionsTo(daemon_->tcp()), before + (by_data ? 2 : 0));
    parameters[by_data] = Parameters(model);
    residuals[by_data] = top.residual();
  }
  EXPECT_TRUE(parameters[0] == parameters[1]);
  EXPECT_TRUE(residuals[0] == residuals[1]);
}

TEST_F(DataRouteTest, ARefusalLeavesTheNextPushWhole) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const Model model = Make("m", kMebibyte);
  Worker worker = Open(model);
  const auto first = model.Describe()->version;
  const int before = ConnectionsTo(daemon_->tcp());
  float want = 0;
  for (int i = 1; i <= 4; ++i) {
    Push(worker, model, std::vector<float>(kMebibyte, i));
    want -= i;
    // Stale: refused at its header, perhaps after all of it was sent.
    const auto refused =
        worker.Push(std::vector<float>(kMebibyte, 100), {.version = first});
    ASSERT_TRUE(refused.ok()) << refused.status();
    EXPECT_EQ(refused->reason, client::Reason::kStale);
  }
  Push(worker, model, std::vector<float>(kMebibyte, 5));
  EXPECT_EQ(ConnectionsTo(daemon_->tcp()), before + 1);
  EXPECT_EQ(Parameters(model), std::vector<float>(kMebibyte, want - 5));
}

TEST_F(DataRouteTest, ADaemonThatWasStartedAgainIsPushedTo) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string target = daemon_->tcp();
  std::optional<Model> model = Make("m", kMebibyte);
  Worker worker = Open(*model, {.name = "w"});
  Push(worker, *model, std::vector<float>(kMebibyte, 1));
  daemon_->Kill();
  daemon_ = Daemon::Start({"--listen=" + target});
  ASSERT_NE(daemon_, nullptr);
  ASSERT_EQ(daemon_->tcp(), target);
  model = Make("m", kMebibyte);
  // The old worker's session is unknown there: opened anew, sent again.
  for (int i = 1; i <= 2; ++i) {
    Push(worker, *model, std::vector<float>(kMebibyte, 1));
    EXPECT_EQ(FoldedPushes(*model), i);
  }
  EXPECT_EQ(Parameters(*model), std::vector<float>(kMebibyte, -2));
  EXPECT_EQ(ConnectionsTo(target), 2);
}

// 64 MiB: more than the sockets between two processes hold, which may grow to
// tcp_rmem's and tcp_wmem's 36 MiB.
constexpr int64_t kLargeElems = 16 << 20;

TEST_F(DataRouteTest, APushToAFrozenDaemonReturnsWithItsTimeout) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const Model model = Make("m", kLargeElems);
  Worker worker = Open(model);
  const std::vector<float> gradient(kLargeElems, 1);
  Push(worker, model, gradient);
  const auto version = model.Describe()->version;
  daemon_->Signal(SIGSTOP);
  const absl::Time start = absl::Now();
  const auto pushed =
      worker.Push(gradient, {.version = version, .timeout = absl::Seconds(2)});
  const absl::Duration took = absl::Now() - start;
  daemon_->Signal(SIGCONT);
  std::cout << "seconds " << absl::ToDoubleSeconds(took) << "\n";
  EXPECT_EQ(pushed.status().code(), absl::StatusCode::kDeadlineExceeded)
      << pushed.status();
  // A look every 100 ms, a grace of 100 ms, and a busy machine.
  EXPECT_LE(took, absl::Seconds(2 + 3));
  EXPECT_FALSE(worker.in_doubt());
  Push(worker, model, gradient);
  EXPECT_EQ(FoldedPushes(model), 2);
  EXPECT_EQ(Parameters(model), std::vector<float>(kLargeElems, -2));
}

TEST_F(DataRouteTest, KeepaliveEndsAPushThatWaitsForAFrozenDaemon) {
  ASSERT_NO_FATAL_FAILURE(
      Start({}, {.keepalive_time = absl::Milliseconds(200),
                 .keepalive_timeout = absl::Milliseconds(200)}));
  const Model model = Make("m", kLargeElems);
  Worker worker = Open(model);
  const std::vector<float> gradient(kLargeElems, 1);
  Push(worker, model, gradient);
  const auto version = model.Describe()->version;
  // Keepalive ends the connection that the call is made on, and the kernel
  // accepts others for a process that has stopped.
  const int before = ConnectionsTo(daemon_->tcp());
  daemon_->Signal(SIGSTOP);
  client::PendingPush pending = worker.PushAsync(
      gradient, {.version = version, .timeout = absl::Seconds(60)});
  const absl::Time start = absl::Now();
  while (ConnectionsTo(daemon_->tcp()) >= before &&
         absl::Now() < start + absl::Seconds(30)) {
    std::this_thread::yield();
  }
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
  daemon_->Signal(SIGCONT);
  const auto pushed = pending.Wait();
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(pushed->accepted);
  EXPECT_EQ(FoldedPushes(model), 2);
  Push(worker, model, gradient);
  EXPECT_EQ(Parameters(model), std::vector<float>(kLargeElems, -3));
}

}  // namespace
}  // namespace accrue
