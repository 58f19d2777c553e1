// Commands that move parameters, against a daemon that takes its time.

#include "client/ctl/transfer.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "accrue/client.h"
#include "client/ctl/command.h"
#include "client/ctl/failure.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::ctl {
namespace {

using client::FakeDaemon;
using client::Fate;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(TransferTest, TheTimeoutGrowsWithTheBytes) {
  EXPECT_EQ(DefaultTransferTimeout(0), absl::Minutes(5));
  EXPECT_EQ(DefaultTransferTimeout(1'200'000'000), absl::Minutes(5));
  EXPECT_EQ(DefaultTransferTimeout(40'000'000'000), absl::Seconds(10'000));
}

// A fake daemon with an initialized model, and a folder.
class TransferCommandTest : public testing::Test {
 protected:
  TransferCommandTest() {
    std::string pattern = testing::TempDir() + "/transfer_XXXXXX";
    folder_ = mkdtemp(pattern.data());
    client::ValueOf(
        client::ValueOf(
            client::Client::Connect(daemon_.target(), client::QuickOptions()))
            .CreateOrOpen(client::SmallSpec()));
    daemon_.Publish(client::BytesOf(client::Ramp(17)));
  }
  ~TransferCommandTest() override { std::filesystem::remove_all(folder_); }

  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"accruectl", "--target", daemon_.target()});
    std::vector<const char*> argv;
    for (const std::string& argument : arguments) {
      argv.push_back(argument.c_str());
    }
    std::istringstream in;
    std::ostringstream out;
    err_.str("");
    return RunCommandLine(static_cast<int>(argv.size()), argv.data(),
                          {.in = in,
                           .out = out,
                           .err = err_,
                           .in_is_terminal = false,
                           .err_is_terminal = true});
  }

  std::string File() const { return folder_ + "/small.safetensors"; }

  // Longer than a progress bar waits before it appears.
  const Fate kLater = client::Refuse(grpc::StatusCode::UNAVAILABLE,
                                     v1::ErrorDetail::REASON_DRAINING,
                                     /*retry_after_ms=*/600);
  FakeDaemon daemon_;
  std::string folder_;
  std::ostringstream err_;
};

TEST_F(TransferCommandTest, AShortOneShowsNoBarALongOneDoes) {
  EXPECT_EQ(Run({"export", "small", File()}), kOk) << err_.str();
  EXPECT_EQ(err_.str(), "");
  daemon_.Script("Pull", {kLater});
  EXPECT_EQ(Run({"export", "small", File()}), kOk) << err_.str();
  EXPECT_THAT(err_.str(),
              HasSubstr("export  [========================] 100 %"));

  daemon_.Script("InitializeModel", {kLater});
  EXPECT_EQ(Run({"initialize", "small", "--values", File()}), kOk)
      << err_.str();
  EXPECT_THAT(err_.str(),
              HasSubstr("initialize  [========================] 100 %"));
}

TEST_F(TransferCommandTest, TheTimeoutFlagBoundsIt) {
  ASSERT_EQ(Run({"export", "small", File()}), kOk) << err_.str();
  daemon_.Script("Pull", {{Fate::kHang}});
  daemon_.Script("InitializeModel", {{Fate::kHang}});
  const absl::Time start = absl::Now();
  EXPECT_EQ(Run({"export", "small", File(), "--transfer_timeout=200ms"}),
            kUnreachable);
  EXPECT_EQ(Run({"initialize", "small", "--values", File(),
                 "--transfer_timeout=200ms"}),
            kUnreachable);
  EXPECT_LT(absl::Now() - start, absl::Minutes(1));
}

TEST_F(TransferCommandTest, AFolderIsRefusedBeforeAnythingIsSent) {
  EXPECT_EQ(Run({"export", "small", folder_}), kFile);
  EXPECT_THAT(err_.str(), HasSubstr("is a folder"));
  EXPECT_EQ(daemon_.calls("Pull"), 0);
}

TEST_F(TransferCommandTest, ATensorNamedAsTheMetadataIsNotExported) {
  client::ModelSpec spec = client::SmallSpec();
  spec.name = "odd";
  spec.tensors[0].name = "__metadata__";
  client::ValueOf(client::ValueOf(client::Client::Connect(daemon_.target()))
                      .CreateOrOpen(spec));
  EXPECT_EQ(Run({"export", "odd", File()}), kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("cannot have a tensor \"__metadata__\""));
  EXPECT_FALSE(std::filesystem::exists(File()));
}

}  // namespace
}  // namespace accrue::ctl
