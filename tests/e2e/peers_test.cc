// Slow and frozen peers: whoever stops sending or reading harms nobody else.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/peer.h"
#include "tests/e2e/raw_push.h"

namespace accrue {
namespace {

using client::Client;
using client::Model;
using client::Worker;

// More than the sockets and windows between two processes hold.
constexpr int64_t kElements = 4 << 20;
constexpr int64_t kBytes = kElements * 4;
constexpr int64_t kChunkBytes = 1 << 20;
constexpr char kModel[] = "m";

// --- What the peers do. ---

// TARGET WORKER: stops itself in the middle of a push. Once it goes on, it says
// how that push ended.
int HalfPusher(const std::vector<std::string>& arguments) {
  RawPush push(arguments[0], kModel, arguments[1], kBytes);
  if (!push.Send(kBytes / 2, kChunkBytes)) return EXIT_FAILURE;
  Freeze();
  Say(push.Finish());
  return EXIT_SUCCESS;
}
const PeerRole kHalfPusher("half_pusher", HalfPusher);

// TARGET WORKER: sends 16 KiB five times a second, until it is refused. Says
// why.
int Trickler(const std::vector<std::string>& arguments) {
  RawPush push(arguments[0], kModel, arguments[1], kBytes);
  pollfd input{STDIN_FILENO, POLLIN, 0};
  bool sent = push.Send(16 << 10, 16 << 10);
  Say("trickling");
  while (sent && poll(&input, 1, /*timeout=*/200) == 0) {
    sent = push.Send(16 << 10, 16 << 10);
  }
  Say(push.Finish());
  return EXIT_SUCCESS;
}
const PeerRole kTrickler("trickler", Trickler);

// TARGET: stops itself in the middle of a pull. Once it goes on, it must get a
// version, whole: Push() below makes number N of -N/2 everywhere.
int HalfReader(const std::vector<std::string>& arguments) {
  const auto client = Client::Connect(arguments[0]);
  if (!client.ok()) return EXIT_FAILURE;
  const auto model = client->OpenModel(kModel);
  if (!model.ok()) return EXIT_FAILURE;
  std::vector<float> parameters(kElements);
  bool frozen = false;
  const auto pulled = model->Pull(&parameters, {.progress = [&](int64_t) {
    if (!std::exchange(frozen, true)) Freeze();
  }});
  if (!pulled.ok()) {
    std::cerr << "reader: " << pulled.status() << "\n";
    return EXIT_FAILURE;
  }
  const float want = -0.5f * static_cast<float>(pulled->version.number);
  return parameters == std::vector<float>(kElements, want) ? EXIT_SUCCESS
                                                           : EXIT_FAILURE;
}
const PeerRole kHalfReader("half_reader", HalfReader);

// --- The tests. ---

class PeersTest : public testing::Test {
 protected:
  using Peers = std::vector<std::unique_ptr<Peer>>;

  // A daemon with an initialized model of one update a push, a client and a
  // worker.
  void Start(const std::vector<std::string>& flags,
             client::Optimizer optimizer = client::Optimizer::kSgd) {
    daemon_ = Daemon::Start(flags);
    ASSERT_NE(daemon_, nullptr);
    auto client = Client::Connect(daemon_->tcp());
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    Make(kModel, optimizer, model_, worker_);
  }

  void Make(const std::string& name, client::Optimizer optimizer,
            std::optional<Model>& made, std::optional<Worker>& opened) {
    client::ModelSpec spec;
    spec.name = name;
    spec.tensors = {{"w", {kElements}}};
    spec.groups = {{"g", 1, {}, {.learning_rate = 0.5}}};
    spec.optimizer.optimizer = optimizer;
    auto model = client_->CreateOrOpen(spec);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto initialized = model->InitializeWith(
        {{"w", client::ConstantInitializer{0}}}, /*seed=*/1);
    ASSERT_TRUE(initialized.ok()) << initialized.status();
    auto worker = model->OpenWorker({.name = "live"});
    ASSERT_TRUE(worker.ok()) << worker.status();
    made = *std::move(model);
    opened.emplace(*std::move(worker));
  }

  // Of ones, from the newest version; how long it took.
  absl::Duration Push() {
    const absl::Time start = absl::Now();
    PushOf(*worker_, *model_);
    return absl::Now() - start;
  }

  void PushOf(Worker& worker, const Model& model) {
    const auto description = model.Describe();
    ASSERT_TRUE(description.ok()) << description.status();
    const auto pushed =
        worker.Push(gradient_, {.version = description->version});
    EXPECT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
  }

  client::ModelDescription Describe() {
    auto description = model_->Describe();
    EXPECT_TRUE(description.ok()) << description.status();
    return description.ok() ? *std::move(description)
                            : client::ModelDescription();
  }

  client::Version Version() { return *Describe().version; }

  int64_t ReservedBytes() {
    const auto info = client_->GetServerInfo();
    return info.ok() ? info->ingest_reserved_bytes : -1;
  }

  std::vector<float> Parameters() { return ParametersOf(*model_); }

  std::vector<float> ParametersOf(const Model& model) {
    std::vector<float> parameters(kElements);
    EXPECT_TRUE(model.Pull(&parameters).ok());
    return parameters;
  }

  // Half on TCP, half on the Unix socket; each has stopped in its pull.
  void AddFrozenReader() {
    const std::string& target =
        readers_.size() % 2 == 0 ? daemon_->tcp() : daemon_->uds();
    readers_.push_back(Peer::Start("half_reader", {target}));
    ASSERT_NE(readers_.back(), nullptr);
    ASSERT_TRUE(readers_.back()->AwaitFrozen());
  }

  std::unique_ptr<Daemon> daemon_;
  std::optional<Client> client_;
  std::optional<Model> model_;
  std::optional<Worker> worker_;
  Peers readers_;
  const std::vector<float> gradient_ = std::vector<float>(kElements, 1);
};

struct Senders {
  const char* name;
  int frozen, trickling;
  bool uds;  // rather than TCP
};

class SendersTest : public PeersTest,
                    public testing::WithParamInterface<Senders> {};

TEST_P(SendersTest, FillTheBudgetAndAnotherWorkersPushGoesThroughSoon) {
  // Three pushes fit.
  ASSERT_NO_FATAL_FAILURE(
      Start({"--ingest_memory=64MiB", "--push_idle_timeout=2s"}));
  const std::string& target = GetParam().uds ? daemon_->uds() : daemon_->tcp();
  Peers frozen, trickling;
  for (int i = 0; i < GetParam().frozen; ++i) {
    frozen.push_back(
        Peer::Start("half_pusher", {target, absl::StrCat("frozen", i)}));
  }
  for (const auto& peer : frozen) ASSERT_TRUE(peer->AwaitFrozen());
  for (int i = 0; i < GetParam().trickling; ++i) {
    trickling.push_back(
        Peer::Start("trickler", {target, absl::StrCat("trickling", i)}));
  }
  for (const auto& peer : trickling) {
    ASSERT_EQ(peer->AwaitLine(), "trickling");
  }
  ASSERT_TRUE(Eventually([&] { return ReservedBytes() > 3 * kBytes; }));
  const absl::Duration took = Push();
  std::cout << "seconds " << absl::ToDoubleSeconds(took) << "\n";
  EXPECT_LE(took, absl::Seconds(2 + 5));
  EXPECT_EQ(Describe().folded_pushes, 1);

  // It came to its memory by the end of others, who learn of it.
  std::vector<std::string> endings;
  for (const auto& peer : frozen) {
    peer->Signal(SIGCONT);
    endings.push_back(peer->AwaitLine().value_or(""));
  }
  for (const auto& peer : trickling) {
    endings.push_back(peer->AwaitLine().value_or(""));
  }
  EXPECT_THAT(endings, testing::Contains("SLOW_PUSH"));
  Push();
  EXPECT_EQ(Describe().folded_pushes, 2);
}

INSTANTIATE_TEST_SUITE_P(PeersTest, SendersTest,
                         testing::Values(Senders{"FrozenOnTcp", 3, 0, false},
                                         Senders{"FrozenOnUds", 3, 0, true},
                                         Senders{"TricklingOnTcp", 0, 3, false},
                                         Senders{"TricklingOnUds", 0, 3, true},
                                         Senders{"Both", 2, 2, false}),
                         [](const auto& info) { return info.param.name; });

TEST_F(PeersTest, AClientThatDiesInItsPushLeavesNothingBehind) {
  ASSERT_NO_FATAL_FAILURE(Start({}, client::Optimizer::kAdamW));
  // It gets the same good pushes, and nobody dies in any.
  std::optional<Model> twin;
  std::optional<Worker> twin_worker;
  ASSERT_NO_FATAL_FAILURE(
      Make("twin", client::Optimizer::kAdamW, twin, twin_worker));
  Push();
  PushOf(*twin_worker, *twin);
  const client::Version version = Version();
  int64_t pushes = 1;
  for (const std::string& target : {daemon_->tcp(), daemon_->uds()}) {
    const auto pusher = Peer::Start("half_pusher", {target, "dying"});
    ASSERT_NE(pusher, nullptr);
    ASSERT_TRUE(pusher->AwaitFrozen());
    EXPECT_GT(ReservedBytes(), kBytes);
    pusher->Kill();
    EXPECT_TRUE(Eventually([&] { return ReservedBytes() == 0; }));
    EXPECT_EQ(Describe().folded_pushes, pushes);
    EXPECT_EQ(Describe().version->number, pushes);
    EXPECT_TRUE(Parameters() == ParametersOf(*twin));
    Push();
    PushOf(*twin_worker, *twin);
    ++pushes;
    // Moments of which nothing was lost: the step is the same.
    EXPECT_TRUE(Parameters() == ParametersOf(*twin));
  }
  EXPECT_EQ(Version().lineage, version.lineage);
  EXPECT_EQ(Describe().folded_pushes, pushes);
}

TEST_F(PeersTest, ReadersStoppedInTheirPullsDoNotHoldUpUpdates) {
  constexpr int kVersions = 16;
  constexpr int kMaxPublications = 4;  // the default
  ASSERT_NO_FATAL_FAILURE(Start({}));
  absl::Duration slowest = absl::ZeroDuration();
  int64_t most_bytes = 0;
  for (int i = 0; i < kVersions; ++i) {
    ASSERT_NO_FATAL_FAILURE(AddFrozenReader());
    slowest = std::max(slowest, Push());
    const client::MemoryReport memory = Describe().memory;
    EXPECT_LE(memory.publications, kMaxPublications);
    EXPECT_LE(memory.published_bytes, kMaxPublications * kBytes);
    most_bytes = std::max(most_bytes, memory.published_bytes);
  }
  EXPECT_EQ(Version().number, kVersions);
  std::cout << "slowest push with " << kVersions
            << " frozen readers: " << absl::ToDoubleSeconds(slowest)
            << " s, most published bytes " << most_bytes << "\n";
  EXPECT_LE(slowest, absl::Seconds(10));
  // Whoever wakes up finishes its pull by itself: with the newest version,
  // where its own had to go.
  for (const auto& reader : readers_) reader->Signal(SIGCONT);
  for (const auto& reader : readers_) {
    EXPECT_EQ(reader->AwaitExit(), EXIT_SUCCESS);
  }
  EXPECT_EQ(Parameters(), std::vector<float>(kElements, -0.5f * kVersions));
}

TEST_F(PeersTest, APushToAFrozenDaemonReturnsWithinTheKeepaliveBound) {
  ASSERT_NO_FATAL_FAILURE(Start({}));
  const client::ClientOptions options;
  const auto version = Version();
  daemon_->Signal(SIGSTOP);
  const absl::Time start = absl::Now();
  const auto pushed = worker_->Push(
      gradient_, {.version = version, .timeout = absl::Seconds(2)});
  const absl::Duration took = absl::Now() - start;
  daemon_->Signal(SIGCONT);
  std::cout << "seconds " << absl::ToDoubleSeconds(took) << "\n";
  EXPECT_FALSE(pushed.ok());
  EXPECT_LE(took, options.keepalive_time + options.keepalive_timeout);
  // And goes on as if nothing had been: the push that was given up is folded
  // once or never.
  const auto settled = worker_->Settle();
  ASSERT_TRUE(settled.ok()) << settled.status();
  const int64_t folded = settled->has_value() ? 1 : 0;
  EXPECT_EQ(Describe().folded_pushes, folded);
  Push();
  EXPECT_EQ(Describe().folded_pushes, folded + 1);
}

TEST_F(PeersTest, ADaemonWithStoppedReadersEndsInTime) {
  ASSERT_NO_FATAL_FAILURE(Start({"--drain_timeout=3s"}));
  for (int i = 0; i < 16; ++i) {
    ASSERT_NO_FATAL_FAILURE(AddFrozenReader());
  }
  const absl::Time start = absl::Now();
  EXPECT_EQ(daemon_->Terminate(), 0) << daemon_->Log();
  const absl::Duration took = absl::Now() - start;
  std::cout << "seconds " << absl::ToDoubleSeconds(took) << "\n";
  EXPECT_LE(took, absl::Seconds(3 + 2));
}

}  // namespace
}  // namespace accrue
