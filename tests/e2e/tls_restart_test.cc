// Workers ride through a killed daemon over TLS, each with its token: they
// shake hands again, are let in again, and their sessions go on.
#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/training.h"
#include "tests/faults/proxy.h"

namespace accrue {
namespace {

using client::Client;
using client::ClientOptions;
using client::TlsOptions;
using client::Watcher;
using ::testing::IsEmpty;

constexpr int64_t kVersions = 30;

class TlsRestartTest : public testing::Test {
 protected:
  TlsRestartTest() {
    certificates_.MakeCa("ca");
    certificates_.Make("daemon", "ca");
    certificates_.Make("worker", "ca");
    daemon_ = Daemon::Start(
        {"--data_dir=" + data_.path(),
         "--tls_cert=" + certificates_.Cert("daemon"),
         "--tls_key=" + certificates_.Key("daemon"),
         "--tls_client_ca=" + certificates_.Cert("ca"),
         "--token_file=" + certificates_.Write("tokens", kTokens)});
  }

  ClientOptions Options(const std::string& token) const {
    ClientOptions options;
    options.tls = TlsOptions{.ca = certificates_.Cert("ca"),
                             .cert = certificates_.Cert("worker"),
                             .key = certificates_.Key("worker")};
    options.token = token;
    return options;
  }

  void RideThroughKills(const std::string& target);

  // For long enough that all workers notice.
  static void ExpectAway(const std::string& target, ClientOptions options) {
    options.connect_timeout = absl::Milliseconds(500);
    const absl::Status away = Client::Connect(target, options).status();
    EXPECT_EQ(away.code(), absl::StatusCode::kUnavailable) << away;
  }

  static constexpr char kAdmin[] = "the-token-of-an-admin";
  static constexpr char kPusher[] = "the-token-of-a-pusher";
  static constexpr char kTokens[] =
      "- {name: owner, token: the-token-of-an-admin, role: admin}\n"
      "- {name: worker, token: the-token-of-a-pusher, role: push}\n";

  Certificates certificates_;
  const TemporaryDirectory data_;
  std::unique_ptr<Daemon> daemon_;
};

// Of workers that know the daemon as `target`.
void TlsRestartTest::RideThroughKills(const std::string& target) {
  Training training;
  training.connection = Options(kAdmin);
  const client::Model model = Make(daemon_->tcp(), training);
  training.connection = Options(kPusher);
  Gate gate(0);
  training.gate = &gate;
  const auto trained = Train(target, training, kVersions, [&] {
    Watcher watcher = model.Watch();
    for (int64_t at = 7; at < kVersions; at += 11) {
      gate.MoveTo(at + 4);
      AwaitVersion(watcher, at);
      daemon_->Kill();
      ExpectAway(target, training.connection);
      EXPECT_TRUE(daemon_->Restart()) << daemon_->Log();
    }
    gate.MoveTo(kVersions);
  });
  for (const Trained& worker : trained) {
    EXPECT_TRUE(worker.status.ok()) << worker.status;
    EXPECT_EQ(worker.accepted, kVersions);
    EXPECT_THAT(worker.refusals, IsEmpty());
  }
  const auto described = Value(model.Describe());
  EXPECT_EQ(described.folded_pushes, kVersions * training.workers);
  EXPECT_EQ(described.lost_pushes, 0);

  const auto twin = Daemon::Start();
  const Training plain = {.durability = client::Durability::kMemory};
  Make(twin->tcp(), plain);
  Train(twin->tcp(), plain, kVersions);
  EXPECT_TRUE(Parameters(daemon_->tcp(), training) ==
              Parameters(twin->tcp(), plain));
}

TEST_F(TlsRestartTest, NoWorkerNoticesThatTheDaemonWasKilled) {
  RideThroughKills(daemon_->tcp());
}

// There, connecting succeeds while the daemon is away, and then the connection
// ends without a word.
TEST_F(TlsRestartTest, NorBehindAProxyThatCannotReachIt) {
  const auto proxy = faults::FaultProxy::Start(
      {.upstream = daemon_->tcp(), .mean_bytes = 1e18});
  ASSERT_NE(proxy, nullptr);
  RideThroughKills(proxy->target());
}

// As a tool does that replaces a certificate, and then its key.
TEST_F(TlsRestartTest, AKeyThatIsBeingReplacedIsReadAgain) {
  certificates_.Make("next", "ca");
  ClientOptions options = Options(kPusher);
  options.call_timeout = absl::Seconds(5);
  const Client client = Value(Client::Connect(daemon_->tcp(), options));
  daemon_->Kill();
  Certificates::Replace(options.tls->cert, certificates_.Cert("next"));
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  EXPECT_EQ(client.GetServerInfo().status().code(),
            absl::StatusCode::kUnavailable);
  Certificates::Replace(options.tls->key, certificates_.Key("next"));
  const absl::Status told = client.GetServerInfo().status();
  EXPECT_TRUE(told.ok()) << told;
}

}  // namespace
}  // namespace accrue
