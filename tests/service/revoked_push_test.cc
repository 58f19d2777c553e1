// A push whose token is taken back while its record waits for the disk: it is
// folded all the same, and its worker finds that out.

#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "tests/service/disk_fixture.h"

namespace accrue {
namespace {

using client::Client;
using client::ClientOptions;
using client::PushResult;

constexpr char kToken[] = "the-token-of-a-worker";
constexpr char kNext[] = "the-token-of-afterwards";
constexpr absl::Duration kPatience = absl::Seconds(60);

// With a file of tokens.
struct GuardedDisk : Disk {
  GuardedDisk() { Accept(kToken); }

  std::string Write(const std::string& name, const std::string& text) const {
    std::string path = place / name;
    std::ofstream(path + ".new") << text;
    chmod((path + ".new").c_str(), 0600);
    std::filesystem::rename(path + ".new", path);
    return path;
  }
  // This one alone.
  void Accept(const std::string& token) const {
    Write("tokens",
          absl::StrCat("- {name: worker, token: ", token, ", role: admin}\n"));
  }
};

class RevokedPushTest : private GuardedDisk, public ServiceFixture {
 protected:
  RevokedPushTest() : ServiceFixture(OptionsOn(*this)) {}

  void Open(const ClientOptions& options) {
    auto client = Client::Connect(target(), options);
    ASSERT_TRUE(client.ok()) << client.status();
    client::ModelSpec spec;
    spec.name = "m";
    spec.tensors = {{.name = "w", .shape = {3}}};
    spec.groups = {{.name = "all", .k = 1}};
    spec.groups[0].hyperparameters.learning_rate = 0.1;
    spec.durability = client::Durability::kJournal;
    auto model = client->CreateOrOpen(spec);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = std::make_unique<client::Model>(*model);
    const std::vector<client::Initializer> zeros = {
        {.tensor = "w", .kind = client::ConstantInitializer{}}};
    ASSERT_TRUE(model_->InitializeWith(zeros, /*seed=*/0).ok());
    auto worker = model_->OpenWorker();
    ASSERT_TRUE(worker.ok()) << worker.status();
    worker_ = std::make_unique<client::Worker>(*std::move(worker));
    Push();
  }

  // Of a gradient of its own, at the newest version.
  void Push() {
    ASSERT_TRUE(worker_->Pull(&parameters_).ok());
    gradient_[0] += 1;
    const auto pushed = worker_->Push(gradient_);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_TRUE(pushed->accepted) << pushed->message;
  }

  // The same; when this returns the disk holds it up, until go_on_.
  std::future<absl::StatusOr<PushResult>> PushHeldUp() {
    std::promise<void> reached;
    files.faults().Add({.operation = "sync",
                        .path_part = "/m@",
                        .code = absl::StatusCode::kOk,
                        .first = [&] {
                          reached.set_value();
                          go_on_.get_future().wait();
                        }});
    EXPECT_TRUE(worker_->Pull(&parameters_).ok());
    gradient_[0] += 1;
    auto pushed = std::async(std::launch::async,
                             [this] { return worker_->Push(gradient_); });
    reached.get_future().wait();
    return pushed;
  }

  // Until the daemon says this to the token.
  void Await(const std::string& token, absl::StatusCode code) const {
    const absl::Time deadline = absl::Now() + kPatience;
    ClientOptions options;
    options.token = token;
    while (Client::Connect(target(), options).status().code() != code) {
      ASSERT_LT(absl::Now(), deadline) << token;
    }
  }

  int64_t FoldedPushes() const {
    const auto description = model_->Describe();
    EXPECT_TRUE(description.ok()) << description.status();
    return description.ok() ? description->folded_pushes : -1;
  }

  std::string target() const { return server_->addresses()[0]; }
  using GuardedDisk::Accept;
  using GuardedDisk::Write;

  std::promise<void> go_on_;
  std::vector<float> parameters_ = {0, 0, 0};
  std::vector<float> gradient_ = {1, 2, 3};
  std::unique_ptr<client::Model> model_;
  std::unique_ptr<client::Worker> worker_;

 private:
  static ServerOptions OptionsOn(GuardedDisk& disk) {
    ServerOptions options = Options();
    options.durability.data_dir = disk.place / "data";
    options.files = &disk.files;
    options.credentials.token_file = disk.place / "tokens";
    return options;
  }
};

TEST_F(RevokedPushTest, IsInDoubtAndIsSettledOnceTheTokenIsGoodAgain) {
  ClientOptions options;
  options.token = kToken;
  Open(options);
  auto pushed = PushHeldUp();
  Accept(kNext);
  const absl::Status ended = pushed.get().status();
  EXPECT_EQ(ended.code(), absl::StatusCode::kUnauthenticated) << ended;
  EXPECT_TRUE(worker_->in_doubt());
  // What is refused from the start has no outcome to be in doubt of.
  EXPECT_EQ(worker_->Settle().status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(worker_->in_doubt());
  go_on_.set_value();
  Accept(kToken);
  Await(kToken, absl::StatusCode::kOk);
  const auto settled = worker_->Settle();
  ASSERT_TRUE(settled.ok()) << settled.status();
  ASSERT_TRUE(settled->has_value()) << "it was folded";
  EXPECT_FALSE(worker_->in_doubt());
  Push();
  EXPECT_EQ(FoldedPushes(), 3);
}

TEST_F(RevokedPushTest, IsNotInDoubtIfItWasNotLetIn) {
  ClientOptions options;
  options.token = kToken;
  Open(options);
  Accept(kNext);
  Await(kToken, absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(worker_->Push(gradient_).status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_FALSE(worker_->in_doubt());
}

TEST_F(RevokedPushTest, IsFoldedOnceWhereTheTokensFileHasTheNextOne) {
  ClientOptions options;
  options.token_file = Write("token", kToken);
  Open(options);
  auto pushed = PushHeldUp();
  Write("token", kNext);
  Accept(kNext);
  Await(kToken, absl::StatusCode::kUnauthenticated);
  go_on_.set_value();
  const auto result = pushed.get();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->accepted);
  Push();
  EXPECT_EQ(FoldedPushes(), 3);
}

}  // namespace
}  // namespace accrue
