// A token that is replaced, in the daemon's file and in that of the workers,
// while they work: they go on with the new one.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using client::Client;
using client::ClientOptions;

constexpr char kOld[] = "the-token-of-before";
constexpr char kNew[] = "the-token-of-after";

class RotationTest : public testing::Test {
 protected:
  RotationTest() {
    Accept({kOld});
    daemon_ = Daemon::Start({"--token_file=" + accepted_});
  }

  void Accept(const std::vector<std::string>& tokens) {
    std::string text;
    for (const std::string& token : tokens) {
      absl::StrAppend(&text, "- {name: ", token, ", token: ", token,
                      ", role: admin}\n");
    }
    accepted_ = files_.Write("accepted", text);
  }

  // What a client shows that has this file.
  ClientOptions Shows(const std::string& file, const std::string& token) const {
    ClientOptions options;
    options.token_file = files_.Write(file, token);
    return options;
  }

  // Until the daemon says this to the token.
  void Await(const std::string& token, absl::StatusCode code) const {
    const absl::Time deadline = absl::Now() + Daemon::kPatience;
    ClientOptions options;
    options.token = token;
    while (Client::Connect(daemon_->tcp(), options).status().code() != code) {
      ASSERT_LT(absl::Now(), deadline) << token;
    }
  }

  const Certificates files_;
  std::string accepted_;
  std::unique_ptr<Daemon> daemon_;
};

client::ModelSpec Spec() {
  client::ModelSpec spec;
  spec.name = "m";
  spec.tensors = {{.name = "w", .shape = {3}}};
  spec.groups = {{.name = "all", .k = 1}};
  spec.groups[0].hyperparameters.learning_rate = 0.1;
  return spec;
}

TEST_F(RotationTest, AWorkerAndAWatchGoOnWithTheTokenThatTheirFileHasThen) {
  const auto client = Client::Connect(daemon_->tcp(), Shows("token", kOld));
  ASSERT_TRUE(client.ok()) << client.status();
  auto model = client->CreateOrOpen(Spec());
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_TRUE(model
                  ->InitializeWith(
                      {{.tensor = "w", .kind = client::ConstantInitializer{}}},
                      /*seed=*/0)
                  .ok());
  auto worker = model->OpenWorker();
  ASSERT_TRUE(worker.ok()) << worker.status();
  std::vector<float> parameters(3);
  ASSERT_TRUE(worker->Pull(&parameters).ok());
  client::Watcher watcher = model->Watch();
  ASSERT_TRUE(watcher.Next(Daemon::kPatience).ok());

  Accept({kOld, kNew});
  Await(kNew, absl::StatusCode::kOk);
  Shows("token", kNew);
  Accept({kNew});
  Await(kOld, absl::StatusCode::kUnauthenticated);
  const auto pushed = worker->Push(std::vector<float>{1, 2, 3});
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(pushed->published);
  const auto notice = watcher.Next(Daemon::kPatience);
  ASSERT_TRUE(notice.ok()) << notice.status();
  EXPECT_EQ(notice->version, pushed->version);
  EXPECT_TRUE(worker->Pull(&parameters).ok());
  EXPECT_TRUE(client->GetServerInfo().ok());
}

// As a tool does that truncates a file before it writes it anew.
TEST_F(RotationTest, AFileThatIsBeingWrittenIsReadAgain) {
  ClientOptions options = Shows("token", kOld);
  options.call_timeout = absl::Seconds(5);
  const auto client = Client::Connect(daemon_->tcp(), options);
  ASSERT_TRUE(client.ok()) << client.status();
  daemon_->Kill();
  Shows("token", "");
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  // It has been tried again until then, as all that passes is.
  EXPECT_EQ(client->GetServerInfo().status().code(),
            absl::StatusCode::kUnavailable);
  Shows("token", kOld);
  const absl::Status told = client->GetServerInfo().status();
  EXPECT_TRUE(told.ok()) << told;
  // Whoever has never been let in is told at once.
  EXPECT_EQ(Client::Connect(daemon_->tcp(), Shows("none", "")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(RotationTest, WhoseFileStaysAsItWasIsRefusedAtOnce) {
  const auto client = Client::Connect(daemon_->tcp(), Shows("token", kOld));
  ASSERT_TRUE(client.ok()) << client.status();
  Accept({kNew});
  Await(kOld, absl::StatusCode::kUnauthenticated);
  const absl::Time start = absl::Now();
  EXPECT_EQ(client->GetServerInfo().status().code(),
            absl::StatusCode::kUnauthenticated);
  // Nothing was tried again: that would have gone on for a minute.
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
}

}  // namespace
}  // namespace accrue
