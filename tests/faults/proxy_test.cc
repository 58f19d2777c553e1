// Workers push through a network that fails all the time: payloads in messages,
// and on data connections.
#include "tests/faults/proxy.h"

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/durability/temporary_directory.h"
#include "tests/e2e/daemon.h"
#include "tests/faults/trial.h"

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
};

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

TEST_P(FaultProxyTest, EachPushIsFoldedOnceAndEveryBitIsRight) {
  const Network network = GetParam();
  const TemporaryDirectory directory;
  const auto daemon =
      Daemon::Start({"--log_level=warn", "--data_dir=" + directory.path()});
  ASSERT_NE(daemon, nullptr);
  const auto proxy = FaultProxy::Start({.upstream = daemon->tcp(),
                                        .seed = network.seed,
                                        .mean_bytes = network.mean_bytes});
  ASSERT_NE(proxy, nullptr);
  client::ClientOptions client = ImpatientClient();
  client.data_connection_min_bytes = network.data_connection_min_bytes;
  const auto trial = Trial::Create({.seed = network.seed,
                                    .size = network.size,
                                    .network_repeats = true,
                                    .target = proxy->target(),
                                    .client = client});
  ASSERT_TRUE(trial.ok()) << trial.status();
  std::cout << "seed " << network.seed << ": " << (*trial)->description()
            << "\n";
  (*trial)->Start();
  const absl::Time deadline = absl::Now() + kPatience;
  for (int64_t next = 1; Sum(CountFaults(*proxy)) < kFaults; ++next) {
    if (!(*trial)->AwaitAcknowledged(next, deadline - absl::Now())) break;
  }
  (*trial)->Stop();
  const auto verdict = (*trial)->Judge(daemon->tcp(), {}, directory.path());
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  const std::vector<int64_t> counts = CountFaults(*proxy);
  std::cout << testing::PrintToString(counts) << " faults, " << verdict->acked
            << " pushes\n";
  EXPECT_GE(Sum(counts), kFaults);
  EXPECT_THAT(counts, Each(Ge(kFaultsOfAKind)));
  EXPECT_EQ(verdict->lost, 0);
  EXPECT_EQ(verdict->twice, 0);
  EXPECT_EQ(verdict->mismatched_bytes, 0);
  EXPECT_GT(verdict->moments_compared, 0);
  EXPECT_THAT(verdict->complaints, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Networks, FaultProxyTest,
    testing::Values(Network{.seed = 1,
                            .size = 1,
                            .data_connection_min_bytes = INT64_MAX,
                            .mean_bytes = 5'000},
                    Network{.seed = 2,
                            .size = 300,
                            .data_connection_min_bytes = 1000,
                            .mean_bytes = 100'000}));

}  // namespace
}  // namespace accrue::faults
