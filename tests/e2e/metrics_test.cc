// What Prometheus reads of the real daemon, and where.
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/acked_pushes.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/damage.h"
#include "tests/e2e/scrape.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public testing::Test {
 protected:
  const TemporaryDirectory place_;
  const std::string data_ = place_ / "data";
};

TEST_F(MetricsTest, TheyFollowPushes) {
  const auto daemon = Daemon::Start();
  AckedPushes pushes(*daemon, "m", v1::DURABILITY_MEMORY);
  Scrape scrape = ScrapeOf(*daemon);
  EXPECT_EQ(scrape.At("accrue_folded_pushes", "m"), 0);
  EXPECT_EQ(scrape.At("accrue_version", "m"), 0);
  pushes.PushAll(5);
  scrape = ScrapeOf(*daemon);
  EXPECT_EQ(scrape.At("accrue_folded_pushes", "m"), 5);
  EXPECT_EQ(scrape.At("accrue_version", "m"), 2);
  EXPECT_EQ(scrape.At("accrue_sessions", "m"), 1);
  EXPECT_EQ(scrape.At("accrue_lost_pushes_total", "m"), 0);
  EXPECT_EQ(scrape.At("accrue_usable", "m"), 1);
  EXPECT_EQ(scrape.At("accrue_draining"), 0);
  EXPECT_TRUE(pushes.wire().Delete("m").status.ok());
  EXPECT_FALSE(
      ScrapeOf(*daemon).samples.contains("accrue_version{model=\"m\"}"));
}

TEST_F(MetricsTest, IngestMemoryShowsWithItsLimit) {
  const auto daemon = Daemon::Start({"--ingest_memory=8MiB"});
  Wire wire(daemon->tcp());
  const std::vector<float> gradient(1000, 1.0F);
  wire.Make(Wire::Spec("m", 1000, 1));
  EXPECT_EQ(ScrapeOf(*daemon).At("accrue_ingest_reserved_bytes"), 0);
  Wire::HalfPush half(wire, wire.Header("m", wire.Open("m", "w"), 1, gradient),
                      FloatBytes(gradient), 100);
  wire.AwaitIngest();
  const Scrape scrape = ScrapeOf(*daemon);
  EXPECT_EQ(scrape.At("accrue_ingest_reserved_bytes"), wire.ReservedBytes());
  EXPECT_EQ(scrape.At("accrue_ingest_memory_bytes"), 8 << 20);
  EXPECT_TRUE(half.Complete().status.ok());
}

TEST_F(MetricsTest, CheckpointsAndJournalsShow) {
  const auto daemon =
      Daemon::Start({"--data_dir=" + data_, "--journal_limit=16MiB"});
  AckedPushes kept(*daemon, "kept", v1::DURABILITY_MEMORY);
  AckedPushes journaled(*daemon, "journaled", v1::DURABILITY_JOURNAL);
  const double empty =
      ScrapeOf(*daemon).At("accrue_journal_bytes", "journaled");
  kept.PushAll(3);
  ASSERT_TRUE(kept.Checkpoint().status.ok());
  kept.PushAll(1);
  journaled.PushAll(3);
  const Scrape scrape = ScrapeOf(*daemon);
  EXPECT_EQ(scrape.At("accrue_checkpoint_folded_pushes", "kept"), 3);
  EXPECT_EQ(static_cast<int64_t>(
                scrape.At("accrue_checkpoint_timestamp_seconds", "kept")),
            kept.wire().Describe("kept").checkpoint().create_time().seconds());
  EXPECT_FALSE(scrape.samples.contains("accrue_journal_bytes{model=\"kept\"}"));
  EXPECT_GT(scrape.At("accrue_journal_bytes", "journaled"),
            empty + 3 * 4 * AckedPushes::kElems);
  EXPECT_EQ(scrape.At("accrue_journal_limit_bytes", "journaled"), 16 << 20);
}

TEST_F(MetricsTest, ADamagedModelIsNotUsable) {
  const auto daemon = Daemon::Start({"--data_dir=" + data_});
  AckedPushes(*daemon, "hurt", v1::DURABILITY_MEMORY);
  AckedPushes(*daemon, "sound", v1::DURABILITY_MEMORY);
  EXPECT_EQ(ScrapeOf(*daemon).At("accrue_usable", "hurt"), 1);
  daemon->Kill();
  FlipBit(NewestFile(data_, "hurt", "/parameters.safetensors"), 5000);
  ASSERT_TRUE(daemon->Restart()) << daemon->Log();
  const Scrape scrape = ScrapeOf(*daemon);
  EXPECT_EQ(scrape.At("accrue_usable", "hurt"), 0);
  EXPECT_EQ(scrape.At("accrue_usable", "sound"), 1);
  EXPECT_EQ(scrape.At("accrue_version", "sound"), 0);
  EXPECT_FALSE(scrape.samples.contains("accrue_version{model=\"hurt\"}"));
}

// Prometheus sees the end coming, and its last figures.
TEST_F(MetricsTest, TheyStayWhileTheDaemonDrains) {
  const auto daemon = Daemon::Start({"--data_dir=" + data_});
  Wire wire(daemon->tcp());
  wire.Make(Wire::Spec("m", 16 << 20, 1));
  // A pull goes on until it is read to its end.
  BoundedContext context;
  v1::PullRequest request;
  request.set_model("m");
  request.set_encoding(v1::ENCODING_F32);
  const auto pull = wire.workers().Pull(&context, request);
  v1::PullResponse part;
  ASSERT_TRUE(pull->Read(&part));

  daemon->Signal(SIGTERM);
  const absl::Time deadline = absl::Now() + Daemon::kPatience;
  while (ScrapeOf(*daemon).At("accrue_draining") == 0) {
    ASSERT_LT(absl::Now(), deadline);
  }
  EXPECT_EQ(ScrapeOf(*daemon).At("accrue_version", "m"), 0);
  while (pull->Read(&part)) {
  }
  EXPECT_TRUE(pull->Finish().ok());
  EXPECT_EQ(daemon->AwaitExit(), 0);
  // It does not wait for HTTP.
  EXPECT_THAT(daemon->Log(),
              AllOf(HasSubstr("stopped"), Not(HasSubstr("do not close"))));
}

TEST_F(MetricsTest, TheTableHasAllOfThemAndNoOther) {
  std::ifstream page(std::string(std::getenv("ACCRUE_SOURCE_DIR")) +
                     "/server/ops/METRICS.md");
  std::map<std::string, std::string> told;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| `")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, " | ");
    ASSERT_GE(cells.size(), 3) << line;
    told[cells[0].substr(3, cells[0].size() - 4)] = cells[1];
  }
  const auto daemon = Daemon::Start();
  EXPECT_EQ(ScrapeOf(*daemon).types, told);
}

TEST_F(MetricsTest, AnAddressThatOthersReachTakesInsecure) {
  const Finished refused =
      RunProgram({"accrued", "--listen=127.0.0.1:0", "--http=0.0.0.0:0"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.out + refused.err,
              AllOf(HasSubstr("--http=0.0.0.0:0 is reachable from other "),
                    HasSubstr("--insecure")));
  const auto daemon = Daemon::Start({"--insecure", "--http=0.0.0.0:0"});
  EXPECT_EQ(ScrapeOf(*daemon).At("accrue_draining"), 0);
}

TEST_F(MetricsTest, ATakenAddressStopsTheStartAndTouchesNothing) {
  const auto daemon = Daemon::Start();
  const std::string address(absl::StripPrefix(daemon->http(), "http://"));
  const Finished refused =
      RunProgram({"accrued", "--listen=127.0.0.1:0", "--data_dir=" + data_,
                  "--http=" + address});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.out + refused.err,
              HasSubstr("accrued cannot start: cannot listen on --http=" +
                        address + ": another process listens there"));
  EXPECT_FALSE(std::filesystem::exists(data_));
}

TEST_F(MetricsTest, ADaemonMayBeWithout) {
  const auto daemon = Daemon::Start({"--http=none"});
  EXPECT_EQ(daemon->http(), "");
  EXPECT_THAT(daemon->Log(), Not(HasSubstr("http")));
}

}  // namespace
}  // namespace accrue
