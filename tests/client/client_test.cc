#include "accrue/client.h"

#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

using grpc::StatusCode;
using v1::ErrorDetail;

class ClientTest : public SdkTest {};

TEST_F(ClientTest, CreateOrOpenTakesAModelThatIsThereAlready) {
  const Client client = Connect();
  const Model first = ValueOf(client.CreateOrOpen(SmallSpec()));
  EXPECT_EQ(first.name(), "small");
  EXPECT_EQ(first.parameter_count(), 17);
  EXPECT_EQ(first.spec().tensors[0].shape, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(ValueOf(client.CreateOrOpen(SmallSpec())).name(), "small");
  EXPECT_EQ(client.CreateModel(SmallSpec()).status().code(),
            absl::StatusCode::kAlreadyExists);
  ModelSpec other = SmallSpec();
  other.max_staleness = 5;
  EXPECT_EQ(GetReason(client.CreateOrOpen(other).status()),
            Reason::kModelExists);
}

TEST_F(ClientTest, ModelsAreFoundListedAndDeleted) {
  const Client client = Connect();
  for (const char* name : {"e", "a", "c", "b", "d"}) {
    ModelSpec spec = SmallSpec();
    spec.name = name;
    ValueOf(client.CreateModel(spec));
  }
  std::vector<std::string> names;
  for (const ModelDescription& model : ValueOf(client.ListModels())) {
    names.push_back(model.spec.name);
  }
  EXPECT_THAT(names, testing::ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_EQ(ValueOf(client.OpenModel("c")).name(), "c");
  EXPECT_EQ(client.DeleteModel("c"), absl::OkStatus());
  EXPECT_EQ(GetReason(client.DeleteModel("c")), Reason::kModelUnknown);
  EXPECT_EQ(GetReason(client.OpenModel("c").status()), Reason::kModelUnknown);
  EXPECT_EQ(GetReason(client.Describe("c").status()), Reason::kModelUnknown);
}

TEST_F(ClientTest, ABrokenConnectionIsMended) {
  const Client client = Connect();
  daemon_.Script("CreateModel", {{Fate::kCut},
                                 {Fate::kServeAndCut},
                                 Refuse(StatusCode::UNAVAILABLE,
                                        ErrorDetail::REASON_DRAINING)});
  ValueOf(client.CreateOrOpen(SmallSpec()));
  EXPECT_EQ(daemon_.calls("CreateModel"), 4);
  daemon_.CutConnections();
  ValueOf(client.OpenModel("small"));
}

TEST_F(ClientTest, ATooManyModelsErrorComesAtOnce) {
  const Client client = Connect();
  daemon_.Script("CreateModel", {Refuse(StatusCode::RESOURCE_EXHAUSTED,
                                        ErrorDetail::REASON_LIMIT)});
  EXPECT_EQ(GetReason(client.CreateOrOpen(SmallSpec()).status()),
            Reason::kLimit);
  EXPECT_EQ(daemon_.calls("CreateModel"), 1);
}

TEST_F(ClientTest, TheFirstInitializationWins) {
  const Model model = OpenModel();
  // 17 elements; large enough values for the bytes to differ everywhere.
  const InitializeResult first = ValueOf(model.InitializeValues(Ramp(17, 1)));
  EXPECT_TRUE(first.initialized);
  EXPECT_EQ(first.version.number, 0);
  EXPECT_EQ(daemon_.parameters(), BytesOf(Ramp(17, 1)));
  EXPECT_EQ(daemon_.initialized_by()->encoding(), v1::ENCODING_F32);
  EXPECT_EQ(daemon_.initialized_by()->payload_bytes(), 68);
  const InitializeResult second = ValueOf(model.InitializeValues(Ramp(17, 2)));
  EXPECT_FALSE(second.initialized);
  EXPECT_EQ(second.version.number, 7);
  EXPECT_EQ(daemon_.parameters(), BytesOf(Ramp(17, 1)));
}

TEST_F(ClientTest, InitializersTravelInTheHeader) {
  const Model model = OpenModel();
  ValueOf(model.InitializeWith(
      {{.tensor = "w", .kind = Initializer::Normal{.stddev = 0.1}},
       {.tensor = "b", .kind = Initializer::Uniform{.low = -2, .high = 3}},
       {.tensor = "c", .kind = Initializer::Constant{.value = 4}}},
      /*seed=*/99));
  const v1::InitializeModelHeader header = *daemon_.initialized_by();
  EXPECT_EQ(header.seed(), 99);
  EXPECT_EQ(header.encoding(), v1::ENCODING_UNSPECIFIED);
  EXPECT_EQ(header.payload_bytes(), 0);
  ASSERT_EQ(header.initializers_size(), 3);
  EXPECT_EQ(header.initializers(0).normal().stddev(), 0.1);
  EXPECT_EQ(header.initializers(1).uniform().low(), -2);
  EXPECT_EQ(header.initializers(1).uniform().high(), 3);
  EXPECT_EQ(header.initializers(2).constant(), 4);
}

TEST_F(ClientTest, ACutInitializationIsRetried) {
  const Model model = OpenModel();
  daemon_.Script("InitializeModel", {{Fate::kCut}});
  EXPECT_TRUE(ValueOf(model.InitializeValues(Ramp(17))).initialized);
  EXPECT_EQ(daemon_.calls("InitializeModel"), 2);
}

TEST_F(ClientTest, AnInitializationSaysHowFarItIs) {
  const Model model = OpenModel();
  const std::vector<float> values = Ramp(3 << 20);
  std::vector<int64_t> seen;
  ValueOf(model.InitializeValues(values, {.progress = [&](int64_t sent_bytes) {
                                   seen.push_back(sent_bytes);
                                 }}));
  // By message: 64 KiB with the header, then chunks.
  EXPECT_EQ(seen, (std::vector<int64_t>{64 << 10, (4 << 20) + (64 << 10),
                                        (8 << 20) + (64 << 10), 12 << 20}));
}

TEST_F(ClientTest, AnInitializationEndsByItsTimeout) {
  const Model model = OpenModel();
  daemon_.Script("InitializeModel", {{Fate::kHang}});
  EXPECT_EQ(
      model.InitializeValues(Ramp(17), {.timeout = absl::Milliseconds(200)})
          .status()
          .code(),
      absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, EndCycleIsRepeatedOnlyWhereThatIsSafe) {
  const Model model = OpenModel();
  EXPECT_EQ(ValueOf(model.EndCycle()).missing_pushes,
            (std::vector<int64_t>{3}));
  daemon_.Script("EndCycle", {{Fate::kServeAndCut}});
  EXPECT_EQ(model.EndCycle().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(daemon_.calls("EndCycle"), 2);
  daemon_.Script("EndCycle", {{Fate::kServeAndCut}});
  const Version newest = {.lineage = daemon_.version().lineage(),
                          .number = daemon_.version().number()};
  // The lost attempt has closed it, the next finds a newer version.
  const EndCycleResult repeated = ValueOf(model.EndCycle(newest));
  EXPECT_TRUE(repeated.closed_groups.empty());
  EXPECT_EQ(repeated.version.number, newest.number + 1);
  EXPECT_EQ(daemon_.calls("EndCycle"), 4);
  // A refusal is none that acted.
  daemon_.Script("EndCycle", {Refuse(StatusCode::UNAVAILABLE,
                                     ErrorDetail::REASON_DRAINING)});
  ValueOf(model.EndCycle());
  EXPECT_EQ(daemon_.calls("EndCycle"), 6);
}

TEST_F(ClientTest, HyperparametersThatAreSetReplaceTheOldOnes) {
  const Model model = OpenModel();
  const ModelDescription description = ValueOf(model.UpdateHyperparameters(
      {{.hyperparameters = {.learning_rate = 0.25}},
       {.group = "all", .hyperparameters = {.clip_norm = 1}}}));
  const Hyperparameters& now = description.spec.groups[0].hyperparameters;
  EXPECT_EQ(now.learning_rate, 0.25);
  EXPECT_EQ(now.clip_norm, 1);
  EXPECT_FALSE(now.beta1.has_value());
}

TEST_F(ClientTest, SessionsAreListedThroughAllPages) {
  const Model model = OpenModel();
  std::vector<Worker> workers;
  for (const char* name : {"w0", "w1", "w2", "w3", "w4"}) {
    workers.push_back(ValueOf(model.OpenWorker({.name = name})));
  }
  const std::vector<SessionDescription> sessions =
      ValueOf(model.ListSessions());
  ASSERT_EQ(sessions.size(), 5);
  EXPECT_EQ(sessions[4].worker, "w4");
  EXPECT_EQ(sessions[4].id_prefix, "00000000");
  EXPECT_EQ(sessions[4].last_active_time, absl::FromUnixSeconds(1'700'000'000));
}

TEST_F(ClientTest, TheServerDescribesItself) {
  const ServerInfo info = ValueOf(Connect().GetServerInfo());
  EXPECT_EQ(info.version, "fake");
  EXPECT_THAT(info.encodings, testing::ElementsAre(Encoding::kF32));
  EXPECT_EQ(info.max_chunk_bytes, 4 << 20);
}

TEST_F(ClientTest, ACallToADaemonThatNeverAnswersEndsWithItsTimeout) {
  ClientOptions options = QuickOptions();
  options.call_timeout = absl::Milliseconds(200);
  const Client client = Connect(options);
  daemon_.Script("GetServerInfo", {{Fate::kHang}});
  const absl::Time start = absl::Now();
  EXPECT_EQ(client.GetServerInfo().status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST_F(ClientTest, ItCanBeConnectedBeforeTheDaemonIsThere) {
  ClientOptions options = QuickOptions();
  options.connect_timeout = absl::ZeroDuration();
  EXPECT_TRUE(Client::Connect("127.0.0.1:1", options).ok());
}

TEST(ConnectTest, NobodyThereIsUnavailableAndNamed) {
  // A port that is bound, so that nobody else takes it, but not listened on.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string target =
      absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  ClientOptions options = QuickOptions();
  options.connect_timeout = absl::Milliseconds(100);
  for (const std::string& nobody :
       {target, std::string("unix:/nonexistent/accrue.sock")}) {
    const absl::Time start = absl::Now();
    const absl::Status status = Client::Connect(nobody, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(nobody));
    EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  }
  close(fd);
}

TEST(ConnectTest, WhatIsNoTargetIsRefused) {
  for (const char* target :
       {"", "localhost", "localhost:", ":7700", "localhost:0",
        "localhost:65536", "localhost:x", "::1:7700", "unix:"}) {
    EXPECT_EQ(Client::Connect(target, QuickOptions()).status().code(),
              absl::StatusCode::kInvalidArgument)
        << target;
  }
  EXPECT_EQ(Client::Connect("unix:" + std::string(200, 'x'), QuickOptions())
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ConnectTest, OptionsThatCannotBeAreRefused) {
  const auto refused = [](auto change) {
    ClientOptions options = QuickOptions();
    change(options);
    return Client::Connect("127.0.0.1:1", options).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](auto& o) { o.chunk_bytes = (16 << 10) - 1; }));
  EXPECT_TRUE(refused([](auto& o) { o.chunk_bytes = (4 << 20) + 1; }));
  EXPECT_TRUE(refused([](auto& o) { o.receive_window_bytes = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.max_backoff = absl::ZeroDuration(); }));
  EXPECT_TRUE(
      refused([](auto& o) { o.keepalive_time = absl::ZeroDuration(); }));
}

TEST(ConnectTest, NumericIpv6AndNamesAreTargets) {
  ClientOptions options = QuickOptions();
  options.connect_timeout = absl::ZeroDuration();
  for (const char* target : {"[::1]:7700", "localhost:7700", "unix:a.sock",
                             "unix:///run/accrue.sock"}) {
    EXPECT_TRUE(Client::Connect(target, options).ok()) << target;
  }
}

}  // namespace
}  // namespace accrue::client
