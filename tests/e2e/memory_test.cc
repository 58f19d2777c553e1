// Memory: however many push at once, and whoever freezes in it, every live
// worker's push is folded and the daemon stays under the ceiling it names.
//
// Ten seconds a test; with ACCRUE_LONG=1 in the environment a minute.
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

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

#if defined(__SANITIZE_ADDRESS__)
// Freed memory is kept back for a while, and all has a shadow.
constexpr bool kMeasures = false;
#else
constexpr bool kMeasures = true;
#endif

absl::Duration RunTime() {
  const char* const wanted = std::getenv("ACCRUE_LONG");
  const bool is_long = wanted != nullptr && std::string(wanted) == "1";
  return is_long ? absl::Minutes(1) : absl::Seconds(10);
}

// One worker on a connection of its own: pushes `gradient` until `end`. The
// number of pushes, or minus one after an error.
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

// Sums up what a process of pushers reports; counts below 1 are failures.
int64_t PushesOf(Peer& peer) {
  std::vector<std::string> words;
  do {
    const auto line = peer.AwaitLine(RunTime() + 2 * kPushTimeout);
    if (!line) return 0;
    words = absl::StrSplit(*line, ' ');
  } while (words[0] != "counts");
  int64_t sum = 0;
  for (size_t i = 1; i < words.size(); ++i) {
    int64_t count = 0;
    EXPECT_TRUE(absl::SimpleAtoi(words[i], &count));
    EXPECT_GE(count, 1) << "a worker's push failed";
    sum += count;
  }
  return sum;
}

// The first `frozen` processes stop once their workers push.
void PushAtOnce(int frozen) {
  const auto daemon =
      Daemon::Start({"--ingest_memory=256MiB", "--push_idle_timeout=2s"});
  ASSERT_NE(daemon, nullptr);
  const auto client = Client::Connect(daemon->tcp());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto model = client->CreateOrOpen(Spec());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto initialized =
      model->InitializeWith({{"w", client::ConstantInitializer{0}}}, 1);
  ASSERT_TRUE(initialized.ok()) << initialized.status();

  const std::string seconds = absl::StrCat(absl::ToDoubleSeconds(RunTime()));
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < kProcesses; ++i) {
    const std::string& target = i % 2 == 0 ? daemon->tcp() : daemon->uds();
    peers.push_back(Peer::Start("pushers", {target, absl::StrCat(i), seconds}));
    ASSERT_NE(peers.back(), nullptr);
  }
  for (int i = 0; i < frozen; ++i) {
    // All workers but one, perhaps, are in a push at any moment.
    for (int n = 0; n < kWorkersPerProcess; ++n) {
      ASSERT_EQ(peers[i]->AwaitLine(), "pushed");
    }
    peers[i]->Signal(SIGSTOP);
  }
  int64_t pushes = 0;
  for (int i = frozen; i < kProcesses; ++i) pushes += PushesOf(*peers[i]);

  const auto description = model->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_GE(description->folded_pushes, pushes);
  if (frozen == 0) {
    EXPECT_EQ(description->folded_pushes, pushes);
  }
  const int64_t peak = daemon->PeakMemoryBytes();
  const int64_t ceiling = description->memory.ceiling_bytes;
  std::cout << "seconds " << seconds << ", frozen workers "
            << frozen * kWorkersPerProcess << ", pushes " << pushes
            << ", VmHWM " << (peak >> 20) << " MiB, ceiling " << (ceiling >> 20)
            << " MiB\n";
  if (kMeasures) {
    EXPECT_LT(peak, ceiling);
  }
}

TEST(MemoryTest, SixtyFourPushersStayUnderTheCeiling) {
  PushAtOnce(/*frozen=*/0);
}

TEST(MemoryTest, EightFrozenOnesOfThemDoNotHurtTheOthers) {
  PushAtOnce(/*frozen=*/1);
}

}  // namespace
}  // namespace accrue
