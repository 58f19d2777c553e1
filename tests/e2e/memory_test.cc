// Memory: however many push at once, and whoever freezes in it, every live
// worker's push is folded and the daemon stays under the ceiling it names.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <sys/resource.h>
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
constexpr int64_t kElements = 8 << 20;  // 32 MiB a push
constexpr int kWorkers = 64;
constexpr int kProcesses = 8;
constexpr int kWorkersPerProcess = kWorkers / kProcesses;
constexpr absl::Duration kPushTimeout = absl::Minutes(2);
constexpr absl::Duration kIdleTimeout = absl::Seconds(15);  // the default
// A push each, and some that are not counted out yet: a ceiling with room for
// many more streams would allow anything.
constexpr char kMaxStreams[] = "--max_push_streams=80";

#if defined(__SANITIZE_ADDRESS__)
// Freed memory is kept back for a while, and all has a shadow.
constexpr bool kMeasures = false;
constexpr absl::Duration kRunTime = absl::Seconds(10);
#else
constexpr bool kMeasures = true;
constexpr absl::Duration kRunTime = absl::Seconds(60);
#endif

// One worker on a connection of its own: pushes `gradient` until `end`. The
// number of pushes, or minus one after an error, whose reason it says.
int64_t PushUntil(absl::Time end, const std::string& target,
                  const std::string& name, const std::vector<float>& gradient) {
  // A retry would hide a refusal: the wait before it is beyond any timeout.
  const auto client = Client::Connect(
      target,
      {.initial_backoff = 2 * kPushTimeout, .max_backoff = 2 * kPushTimeout});
  if (!client.ok()) return -1;
  const auto model = client->OpenModel(kModel);
  if (!model.ok()) return -1;
  auto worker = model->OpenWorker({.name = name});
  const auto description = model->Describe();
  if (!worker.ok() || !description.ok()) return -1;
  int64_t pushes = 0;
  do {
    const auto pushed = worker->Push(
        gradient, {.version = description->version, .timeout = kPushTimeout});
    if (!pushed.ok() || !pushed->accepted) {
      std::cerr << name << ": " << pushed.status() << "\n";
      Say(absl::StrCat("refused ",
                       client::ReasonName(client::GetReason(pushed.status()))));
      return -1;
    }
    if (++pushes == 1) Say("pushed");
  } while (absl::Now() < end);
  return pushes;
}

// TARGET NUMBER SECONDS: kWorkersPerProcess workers that share a gradient.
// Says "pushed" of each worker's first push, then "counts N N ...".
int Pushers(const std::vector<std::string>& arguments) {
  double seconds = 0;
  if (!absl::SimpleAtod(arguments[2], &seconds)) return EXIT_FAILURE;
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  const std::vector<float> gradient(kElements, 0.5f);
  std::vector<int64_t> counts(kWorkersPerProcess);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkersPerProcess; ++i) {
    threads.emplace_back([&, i] {
      counts[i] =
          PushUntil(end, arguments[0],
                    absl::StrCat("worker", arguments[1], "-", i), gradient);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string line = "counts";
  for (const int64_t count : counts) absl::StrAppend(&line, " ", count);
  Say(line);
  return EXIT_SUCCESS;
}
const PeerRole kPushers("pushers", Pushers);

client::ModelSpec Spec() {
  client::ModelSpec spec;
  spec.name = kModel;
  spec.tensors = {{"w", {kElements}}};
  spec.groups = {{"g", kWorkers, {}, {.learning_rate = 0.001}}};
  spec.max_staleness = -1;
  return spec;
}

struct Report {
  std::vector<int64_t> counts;        // by worker
  std::vector<std::string> refusals;  // reasons
};

// What a process of pushers has to say, up to its end.
Report AwaitReport(Peer& peer) {
  Report report;
  while (const auto line = peer.AwaitLine(kRunTime + 2 * kPushTimeout)) {
    const std::vector<std::string> words = absl::StrSplit(*line, ' ');
    if (words[0] == "refused") report.refusals.push_back(words[1]);
    if (words[0] != "counts") continue;
    for (size_t i = 1; i < words.size(); ++i) {
      int64_t count = 0;
      EXPECT_TRUE(absl::SimpleAtoi(words[i], &count));
      report.counts.push_back(count);
    }
    break;
  }
  return report;
}

// A daemon with a model, and pushers on TCP and the Unix socket.
class MemoryTest : public testing::Test {
 protected:
  // Tests that run at the same time come first: this one is not about speed,
  // and takes whatever they leave.
  static void SetUpTestSuite() { setpriority(PRIO_PROCESS, 0, 5); }

  void Start() {
    daemon_ = Daemon::Start({"--ingest_memory=256MiB", kMaxStreams});
    ASSERT_NE(daemon_, nullptr);
    const auto client = Client::Connect(daemon_->tcp());
    ASSERT_TRUE(client.ok()) << client.status();
    auto model = client->CreateOrOpen(Spec());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    const auto initialized =
        model_->InitializeWith({{"w", client::ConstantInitializer{0}}}, 1);
    ASSERT_TRUE(initialized.ok()) << initialized.status();
    for (int i = 0; i < kProcesses; ++i) {
      peers_.push_back(Peer::Start(
          "pushers",
          {i % 2 == 0 ? daemon_->tcp() : daemon_->uds(), absl::StrCat(i),
           absl::StrCat(absl::ToDoubleSeconds(kRunTime))}));
      ASSERT_NE(peers_.back(), nullptr);
    }
  }

  // Stops a process once all its workers push: all but one, perhaps, are in a
  // push at any moment.
  void Freeze(int process) {
    for (int i = 0; i < kWorkersPerProcess; ++i) {
      ASSERT_EQ(peers_[process]->AwaitLine(), "pushed");
    }
    peers_[process]->Signal(SIGSTOP);
  }

  // Waits for all processes from `first` on, whose every push must have been
  // answered OK. The number of their pushes.
  int64_t AwaitPushes(int first) {
    int64_t pushes = 0;
    for (int i = first; i < kProcesses; ++i) {
      const Report report = AwaitReport(*peers_[i]);
      EXPECT_THAT(report.refusals, testing::IsEmpty());
      EXPECT_EQ(report.counts.size(), kWorkersPerProcess);
      for (const int64_t count : report.counts) {
        EXPECT_GE(count, 1) << "a worker's push failed";
        pushes += count;
      }
    }
    return pushes;
  }

  void ExpectUnderTheCeiling(const client::ModelDescription& description) {
    const int64_t peak = daemon_->PeakMemoryBytes();
    const int64_t ceiling = description.memory.ceiling_bytes;
    std::cout << "VmHWM " << (peak >> 20) << " MiB, ceiling " << (ceiling >> 20)
              << " MiB\n";
    if (kMeasures) {
      EXPECT_LT(peak, ceiling);
    }
  }

  std::unique_ptr<Daemon> daemon_;
  std::optional<client::Model> model_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

TEST_F(MemoryTest, SixtyFourPushersStayUnderTheCeiling) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const int64_t pushes = AwaitPushes(/*first=*/0);
  const auto description = model_->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  std::cout << "pushes " << pushes << "\n";
  EXPECT_EQ(description->folded_pushes, pushes);
  ExpectUnderTheCeiling(*description);
}

TEST_F(MemoryTest, EightFrozenOnesOfThemDoNotHurtTheOthers) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(Freeze(0));
  const int64_t pushes = AwaitPushes(/*first=*/1);
  const auto description = model_->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_GE(description->folded_pushes, pushes);
  ExpectUnderTheCeiling(*description);
  // They had memory, which the others had to wait for until they were ended.
  peers_[0]->Signal(SIGCONT);
  const Report frozen = AwaitReport(*peers_[0]);
  std::cout << "pushes " << pushes << ", of the frozen were refused "
            << frozen.refusals.size() << "\n";
  if (kRunTime > kIdleTimeout) {
    EXPECT_GE(
        std::count(frozen.refusals.begin(), frozen.refusals.end(), "SLOW_PUSH"),
        kWorkersPerProcess / 2);
  }
}

TEST(CeilingTest, IsTheSumOfWhatTheFlagsAndTheSpecsAllow) {
  constexpr int64_t kStreams = 10;
  constexpr int64_t kWindow = int64_t{1} << 20;
  constexpr int64_t kIngest = int64_t{48} << 20;
  constexpr int64_t kArray = kElements * 4;
  constexpr int64_t kEmpty =
      kIngest + kStreams * (kWindow + (32 << 10)) + (int64_t{64} << 20);
  const auto daemon =
      Daemon::Start({absl::StrCat("--ingest_memory=", kIngest),
                     absl::StrCat("--max_push_streams=", kStreams),
                     absl::StrCat("--stream_window=", kWindow)});
  ASSERT_NE(daemon, nullptr);
  const auto client = Client::Connect(daemon->tcp());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto ceiling = [&] {
    const auto info = client->GetServerInfo();
    return info.ok() ? info->memory_ceiling_bytes : -1;
  };
  EXPECT_EQ(ceiling(), kEmpty);

  struct Row {
    client::Optimizer optimizer;
    client::Buffering buffering;
    int64_t publications;
    int64_t arrays;  // of state
  };
  int64_t sum = kEmpty;
  for (const Row& row : std::vector<Row>{
           {client::Optimizer::kSgd, client::Buffering::kEmbedded, 2, 1},
           {client::Optimizer::kAdamW, client::Buffering::kEmbedded, 4, 2},
           {client::Optimizer::kAdam, client::Buffering::kClassic, 3, 3},
       }) {
    client::ModelSpec spec = Spec();
    spec.name = absl::StrCat("arrays", row.arrays);
    spec.optimizer.optimizer = row.optimizer;
    spec.optimizer.buffering = row.buffering;
    spec.max_publications = row.publications;
    const auto model = client->CreateOrOpen(spec);
    ASSERT_TRUE(model.ok()) << model.status();
    sum += (row.arrays + row.publications) * kArray;
    const auto description = model->Describe();
    ASSERT_TRUE(description.ok()) << description.status();
    EXPECT_EQ(description->memory.ceiling_bytes, sum);
    EXPECT_EQ(ceiling(), sum);
  }
  ASSERT_TRUE(client->DeleteModel("arrays2").ok());
  EXPECT_TRUE(Eventually([&] { return ceiling() == sum - (2 + 4) * kArray; }))
      << ceiling();
}

}  // namespace
}  // namespace accrue
