// Workers push through a network that fails all the time: payloads in messages,
// and on data connections.
#include "tests/faults/proxy.h"

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/fail_point.h"
#include "server/base/status_macros.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/daemon.h"
#include "tests/faults/fail_points.h"
#include "tests/faults/trial.h"
#include "tests/faults/verdict.h"

namespace accrue::faults {
namespace {

using testing::Each;
using testing::Ge;
using testing::IsEmpty;

constexpr int64_t kFaults = 500;
constexpr int64_t kFaultsOfAKind = 20;
constexpr absl::Duration kPatience = absl::Seconds(100);

struct Network {
  uint64_t seed;
  int64_t size;  // TrialOptions::size
  int64_t data_connection_min_bytes;
  double mean_bytes;
  int64_t duplicates;  // of the replayed model, that are answered at least
  client::Durability durability = client::Durability::kMemory;
};

// Small payloads, so that faults come to answers too: of some ten a run.
constexpr Network kOnDataConnections = {.seed = 2,
                                        .size = 10,
                                        .data_connection_min_bytes = 500,
                                        .mean_bytes = 5'000,
                                        .duplicates = 1};

constexpr Network kInMessages = {.seed = 1,
                                 .size = 1,
                                 .data_connection_min_bytes = INT64_MAX,
                                 .mean_bytes = 5'000,
                                 .duplicates = 5};

constexpr Network Durable(Network network) {
  network.durability = client::Durability::kJournal;
  return network;
}

class FaultProxyTest : public testing::TestWithParam<Network> {};

std::vector<int64_t> CountFaults(const FaultProxy& proxy) {
  std::vector<int64_t> counts(static_cast<size_t>(NetworkFault::kCount));
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = proxy.count(static_cast<NetworkFault>(i));
  }
  return counts;
}

int64_t Sum(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

struct Found {
  std::vector<int64_t> faults;  // [NetworkFault]
  // Of the replayed model: the other's pushes are small, and come in messages.
  int64_t duplicates = 0;
  Verdict verdict;
};

// What becomes of pushes through `network` to a daemon in such an environment.
absl::StatusOr<Found> PushThrough(
    const Network& network, const std::string& program,
    const std::vector<std::string>& environment = {}) {
  const TemporaryDirectory directory;
  const auto daemon =
      Daemon::Start({"--log_level=warn", "--data_dir=" + directory.path()},
                    program, environment);
  if (daemon == nullptr) return absl::InternalError("no daemon");
  const auto proxy = FaultProxy::Start({.upstream = daemon->tcp(),
                                        .seed = network.seed,
                                        .mean_bytes = network.mean_bytes});
  if (proxy == nullptr) return absl::InternalError("no proxy");
  client::ClientOptions client = ImpatientClient();
  client.data_connection_min_bytes = network.data_connection_min_bytes;
  ACCRUE_ASSIGN_OR_RETURN(const auto trial,
                          Trial::Create({.seed = network.seed,
                                         .size = network.size,
                                         .durability = network.durability,
                                         .network_repeats = true,
                                         .target = proxy->target(),
                                         .client = client}));
  std::cout << "seed " << network.seed << ": " << trial->description() << "\n";
  trial->Start();
  const absl::Time deadline = absl::Now() + kPatience;
  for (int64_t next = 1; Sum(CountFaults(*proxy)) < kFaults; ++next) {
    if (!trial->AwaitAcknowledged(next, deadline - absl::Now())) break;
  }
  trial->Stop();
  ACCRUE_ASSIGN_OR_RETURN(Verdict verdict,
                          trial->Judge(daemon->tcp(), {}, directory.path()));
  const std::vector<int64_t> faults = CountFaults(*proxy);
  const int64_t duplicates = trial->replayed().history.duplicates();
  std::cout << testing::PrintToString(faults) << " faults, " << verdict.acked
            << " pushes, " << verdict.duplicates << " duplicates, "
            << duplicates << " of them of the replayed model\n";
  return Found{faults, duplicates, std::move(verdict)};
}

TEST_P(FaultProxyTest, EachPushIsFoldedOnceAndEveryBitIsRight) {
  const auto found = PushThrough(GetParam(), "accrued");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_GE(Sum(found->faults), kFaults);
  EXPECT_THAT(found->faults, Each(Ge(kFaultsOfAKind)));
  const Verdict& verdict = found->verdict;
  EXPECT_GE(found->duplicates, GetParam().duplicates);
  EXPECT_EQ(verdict.lost, 0);
  EXPECT_EQ(verdict.twice, 0);
  EXPECT_EQ(verdict.mismatched_bytes, 0);
  EXPECT_GT(verdict.moments_compared, 0);
  EXPECT_THAT(verdict.complaints, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Networks, FaultProxyTest,
    testing::Values(
        kInMessages, Durable(kInMessages), kOnDataConnections,
        Durable(kOnDataConnections),
        // Faults come to payloads, seldom to answers: none has to come again.
        Network{.seed = 2,
                .size = 300,
                .data_connection_min_bytes = 1000,
                .mean_bytes = 100'000,
                .duplicates = 0}));

TEST(MistakeTest, ARepeatThatIsFoldedAgainIsNoticed) {
  const auto found =
      PushThrough(kInMessages, "accrued_faulty",
                  {FailPointVariable(FailPoint::kFoldRepeat, /*count=*/1)});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_GT(found->verdict.twice, 0);
  EXPECT_EQ(found->verdict.lost, 0);
}

}  // namespace
}  // namespace accrue::faults
