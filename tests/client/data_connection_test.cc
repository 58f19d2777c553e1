// Pushes whose payloads travel on a connection of the worker's own, to daemons
// that take such connections, that do not, and that change their mind.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "accrue/client.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

using grpc::StatusCode;
using v1::ErrorDetail;

constexpr Fate::Kind kServe = Fate::kServe;

// However small a push is, it may have a connection.
ClientOptions DataOptions(int64_t min_bytes = 1) {
  ClientOptions options = QuickOptions();
  options.data_connection_min_bytes = min_bytes;
  return options;
}

class DataConnectionTest : public testing::Test {
 protected:
  DataConnectionTest() : DataConnectionTest({.data_connections = true}) {}
  explicit DataConnectionTest(const FakeDaemon::Options& options)
      : daemon_(options) {}

  Worker OpenWorker(const ClientOptions& options = DataOptions(),
                    const WorkerOptions& worker = {}) {
    const Client client = ValueOf(Client::Connect(daemon_.target(), options));
    return ValueOf(
        ValueOf(client.CreateOrOpen(SmallSpec())).OpenWorker(worker));
  }
  // Pushes 17 values from `first` on; they must be what the daemon folds.
  void Push(Worker& worker, float first) {
    const std::vector<float> gradient = Ramp(17, first);
    const auto pushed = worker.Push(gradient, {.version = kVersion});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_TRUE(pushed->accepted);
    EXPECT_EQ(daemon_.folded().back().payload, BytesOf(gradient));
  }
  // Whether the last one was folded from a data connection.
  bool ByData() const {
    return !daemon_.folded().back().header.data_connection().empty();
  }

  const Version kVersion = {.lineage = std::string(32, 'a'), .number = 3};
  FakeDaemon daemon_;
};

TEST_F(DataConnectionTest, OneServesAllPushesOfAWorker) {
  Worker worker = OpenWorker();
  for (int i = 0; i < 3; ++i) {
    ASSERT_NO_FATAL_FAILURE(Push(worker, i));
    EXPECT_TRUE(ByData());
    EXPECT_EQ(daemon_.folded().back().chunk_bytes, std::vector<size_t>{0});
  }
  EXPECT_EQ(daemon_.data_connections(), 1);
  Worker other = OpenWorker();
  ASSERT_NO_FATAL_FAILURE(Push(other, 9));
  EXPECT_EQ(daemon_.data_connections(), 2);
}

TEST_F(DataConnectionTest, IsForPushesOfSoManyBytesAndMore) {
  constexpr int64_t kBytes = 17 * 4;
  Worker just = OpenWorker(DataOptions(kBytes));
  ASSERT_NO_FATAL_FAILURE(Push(just, 1));
  EXPECT_TRUE(ByData());
  for (const int64_t least :
       {kBytes + 1, std::numeric_limits<int64_t>::max()}) {
    Worker worker = OpenWorker(DataOptions(least));
    ASSERT_NO_FATAL_FAILURE(Push(worker, 2));
    EXPECT_FALSE(ByData());
  }
  EXPECT_EQ(ClientOptions().data_connection_min_bytes, 1 << 20);
  EXPECT_EQ(daemon_.data_connections(), 1);
}

TEST_F(DataConnectionTest, WorksOnAUnixSocket) {
  FakeDaemon daemon({.unix_socket = absl::StrCat(testing::TempDir(), "/accrue-",
                                                 getpid(), ".sock"),
                     .data_connections = true});
  const Client client =
      ValueOf(Client::Connect(daemon.target(), DataOptions()));
  Worker worker =
      ValueOf(ValueOf(client.CreateOrOpen(SmallSpec())).OpenWorker());
  EXPECT_TRUE(ValueOf(worker.Push(Ramp(17), {.version = kVersion})).accepted);
  EXPECT_EQ(daemon.folded().back().payload, BytesOf(Ramp(17)));
  EXPECT_EQ(daemon.data_connections(), 1);
}

TEST_F(DataConnectionTest, AManyPartPayloadArrivesInOrder) {
  // Of more parts than one system call takes, and more bytes.
  const std::vector<float> values = Ramp(1'000'000);
  const auto bytes = absl::MakeConstSpan(
      reinterpret_cast<const std::byte*>(values.data()), values.size() * 4);
  for (const size_t count : {2, 63, 64, 65, 100, 129}) {
    std::vector<Payload::Part> parts;
    size_t start = 0;
    for (size_t i = 0; i + 1 < count; ++i) {
      // Odd sizes, the first ones tiny.
      const size_t size = i % 3 == 0 ? 1 : 2 * i * i + 1;
      parts.push_back(bytes.subspan(start, size));
      start += size;
    }
    parts.push_back(bytes.subspan(start));
    Worker worker = OpenWorker();
    const auto pushed = worker.Push(Payload::Encoded(Encoding::kF32, parts),
                                    {.version = kVersion});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_TRUE(ByData());
    EXPECT_TRUE(daemon_.folded().back().payload == BytesOf(values)) << count;
  }
}

TEST_F(DataConnectionTest, TrafficCountsThePayloadOnce) {
  Worker by_data = OpenWorker(DataOptions(), {.name = "same"});
  Worker by_messages = OpenWorker(
      DataOptions(std::numeric_limits<int64_t>::max()), {.name = "same"});
  ASSERT_NO_FATAL_FAILURE(Push(by_data, 1));
  // A tag and a length, and the number's two bytes.
  const int64_t name_bytes =
      2 + 2 +
      static_cast<int64_t>(
          daemon_.folded().back().header.data_connection().size());
  ASSERT_NO_FATAL_FAILURE(Push(by_messages, 1));
  // The chunk of a message has a tag and a length, of 1 byte each.
  EXPECT_NEAR(by_data.traffic().push_request_bytes,
              by_messages.traffic().push_request_bytes + name_bytes - 2, 2);
  EXPECT_EQ(by_data.traffic().push_response_bytes,
            by_messages.traffic().push_response_bytes);
}

TEST_F(DataConnectionTest, OneThatWasHungUpOnIsReplacedUnnoticed) {
  Worker worker = OpenWorker();
  for (int i = 1; i <= 4; ++i) {
    ASSERT_NO_FATAL_FAILURE(Push(worker, i));
    EXPECT_TRUE(ByData());
    EXPECT_EQ(daemon_.data_connections(), i);
    EXPECT_EQ(daemon_.calls("Push"), i);
    daemon_.CutDataConnections();
  }
}

TEST_F(DataConnectionTest, OneThatTheDaemonDoesNotKnowIsReplacedUnnoticed) {
  Worker worker = OpenWorker();
  for (int i = 1; i <= 4; ++i) {
    ASSERT_NO_FATAL_FAILURE(Push(worker, i));
    EXPECT_TRUE(ByData());
    EXPECT_EQ(daemon_.data_connections(), i);
    daemon_.ForgetDataConnections();
  }
  EXPECT_EQ(daemon_.calls("Push"), 4 + 3);
}

TEST_F(DataConnectionTest, WhereTwoInARowAreOfNoUseMessagesServe) {
  Worker worker = OpenWorker();
  const Fate refused =
      Refuse(StatusCode::UNAVAILABLE, ErrorDetail::REASON_DATA_CONNECTION);
  daemon_.Script("Push", {refused, refused});
  for (int i = 0; i < 3; ++i) {
    ASSERT_NO_FATAL_FAILURE(Push(worker, i));
    EXPECT_FALSE(ByData());
  }
  EXPECT_EQ(daemon_.calls("Push"), 2 + 3);
  EXPECT_EQ(daemon_.data_connections(), 2);
}

// What refuses a call may not have seen its header, and then nobody has read
// the payload.
TEST_F(DataConnectionTest, APayloadThatNobodyReadIsNotTakenForTheNext) {
  const Fate fates[] = {
      Refuse(StatusCode::RESOURCE_EXHAUSTED, ErrorDetail::REASON_LIMIT, 1),
      Refuse(StatusCode::UNAVAILABLE, ErrorDetail::REASON_UNSPECIFIED),
      Refuse(StatusCode::NOT_FOUND, ErrorDetail::REASON_SESSION_UNKNOWN),
      {Fate::kPlainStatus, {StatusCode::UNAVAILABLE}},
      {Fate::kPlainStatus, {StatusCode::RESOURCE_EXHAUSTED}},
      {Fate::kCut}};
  for (const Fate& fate : fates) {
    Worker worker = OpenWorker();
    ASSERT_NO_FATAL_FAILURE(Push(worker, 100));
    daemon_.Script("Push", {fate});
    for (int i = 1; i <= 3; ++i) {
      const std::vector<float> gradient = Ramp(17, i);
      const auto pushed = worker.Push(gradient, {.version = kVersion});
      // A status without detail may be an error to the caller.
      if (!pushed.ok()) continue;
      EXPECT_EQ(daemon_.folded().back().payload, BytesOf(gradient))
          << fate.kind << " " << i;
    }
    EXPECT_EQ(daemon_.folded().back().payload, BytesOf(Ramp(17, 3)));
  }
}

TEST_F(DataConnectionTest, NorIsOneThatARefusalLeftUnread) {
  for (const ErrorDetail::Reason reason :
       {ErrorDetail::REASON_STALE, ErrorDetail::REASON_QUOTA}) {
    Worker worker = OpenWorker();
    daemon_.Script("Push",
                   {{kServe}, Refuse(StatusCode::ABORTED, reason), {kServe}});
    ASSERT_NO_FATAL_FAILURE(Push(worker, 1));
    EXPECT_FALSE(
        ValueOf(worker.Push(Ramp(17, 2), {.version = kVersion})).accepted);
    ASSERT_NO_FATAL_FAILURE(Push(worker, 3));
    EXPECT_TRUE(ByData());
  }
}

TEST_F(DataConnectionTest, NorIsOneThatWasGivenUp) {
  Worker worker = OpenWorker();
  daemon_.Script("Push", {{kServe}, {Fate::kHang}, {kServe}});
  ASSERT_NO_FATAL_FAILURE(Push(worker, 1));
  EXPECT_FALSE(worker
                   .Push(Ramp(17, 2), {.version = kVersion,
                                       .timeout = absl::Milliseconds(300)})
                   .ok());
  daemon_.EndHangs();
  ASSERT_NO_FATAL_FAILURE(Push(worker, 3));
  ASSERT_NO_FATAL_FAILURE(Push(worker, 4));
}

TEST_F(DataConnectionTest, APushWhoseAnswerWasLostIsFoldedOnce) {
  Worker worker = OpenWorker();
  ASSERT_NO_FATAL_FAILURE(Push(worker, 1));
  daemon_.Script("Push", {{Fate::kServeAndCut}});
  const PushResult result =
      ValueOf(worker.Push(Ramp(17, 2), {.version = kVersion}));
  EXPECT_TRUE(result.accepted);
  EXPECT_TRUE(result.duplicate);
  EXPECT_EQ(daemon_.folded().size(), 2);
  ASSERT_NO_FATAL_FAILURE(Push(worker, 3));
  EXPECT_TRUE(ByData());
  EXPECT_EQ(daemon_.folded().size(), 3);
}

TEST_F(DataConnectionTest, CompressedPushesTravelOnItToo) {
  Worker plain = OpenWorker(DataOptions(std::numeric_limits<int64_t>::max()),
                            {.compression = {.encoding = Encoding::kInt8}});
  Worker worker =
      OpenWorker(DataOptions(), {.compression = {.encoding = Encoding::kInt8}});
  for (int i = 0; i < 4; ++i) {
    const std::vector<float> gradient = Ramp(17, 0.37f * i);
    ASSERT_TRUE(ValueOf(plain.Push(gradient, {.version = kVersion})).accepted);
    const std::string want = daemon_.folded().back().payload;
    // The residual must survive what is sent twice.
    if (i == 2) daemon_.ForgetDataConnections();
    ASSERT_TRUE(ValueOf(worker.Push(gradient, {.version = kVersion})).accepted);
    EXPECT_TRUE(ByData());
    EXPECT_EQ(daemon_.folded().back().payload, want);
    EXPECT_EQ(worker.residual(), plain.residual());
  }
  EXPECT_EQ(daemon_.data_connections(), 2);
}

class NoDataConnectionTest : public DataConnectionTest {
 protected:
  NoDataConnectionTest() : DataConnectionTest(FakeDaemon::Options()) {}
};

TEST_F(NoDataConnectionTest, MessagesServeAndThePrefaceIsTriedOnce) {
  Worker worker = OpenWorker();
  const int before = daemon_.connections();
  for (int i = 0; i < 5; ++i) {
    ASSERT_NO_FATAL_FAILURE(Push(worker, i));
    EXPECT_FALSE(ByData());
  }
  EXPECT_EQ(daemon_.calls("Push"), 5);
  EXPECT_EQ(daemon_.connections(), before + 1);
}

TEST_F(NoDataConnectionTest, ItIsNotEvenTriedForSmallPushes) {
  Worker worker = OpenWorker(QuickOptions());
  const int before = daemon_.connections();
  ASSERT_NO_FATAL_FAILURE(Push(worker, 1));
  EXPECT_EQ(daemon_.connections(), before);
}

class SilentDataConnectionTest : public DataConnectionTest {
 protected:
  SilentDataConnectionTest()
      : DataConnectionTest(
            {.data_connections = true, .swallows_prefaces = true}) {}
};

TEST_F(SilentDataConnectionTest, LeavesTimeForThePushInMessages) {
  Worker worker = OpenWorker();
  for (int i = 0; i < 3; ++i) {
    const auto pushed = worker.Push(
        Ramp(17, i), {.version = kVersion, .timeout = absl::Seconds(2)});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_FALSE(ByData());
  }
  EXPECT_EQ(daemon_.data_connections(), 1);
}

}  // namespace
}  // namespace accrue::client
