#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "accrue/client.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

using grpc::StatusCode;
using v1::ErrorDetail;

constexpr absl::Duration kLong = absl::Seconds(60);

class WatcherTest : public SdkTest {};

TEST_F(WatcherTest, TheFirstNoticeTellsOfTheVersionThatIsThere) {
  Watcher watcher = OpenModel().Watch();
  EXPECT_EQ(ValueOf(watcher.Next(kLong)).version.number, 0);
  daemon_.Publish("1234");
  const Notice notice = ValueOf(watcher.Next(kLong));
  EXPECT_EQ(notice.version.number, 1);
  EXPECT_EQ(notice.changed_bytes, 4);
  ASSERT_EQ(notice.changed_groups.size(), 1);
}

TEST_F(WatcherTest, ALateReaderSkipsToTheNewest) {
  const Model model = OpenModel();
  Watcher late = model.Watch();
  Watcher prompt = model.Watch();
  ValueOf(late.Next(kLong));
  for (int i = 0; i < 5; ++i) daemon_.Publish("1234");
  int64_t newest = 0;
  while (newest < 5) newest = ValueOf(prompt.Next(kLong)).version.number;
  // Both streams have the fifth behind them or on its way; what Next() returns
  // never goes back, and ends at the newest.
  int64_t before = 0;
  while (before < 5) {
    const int64_t number = ValueOf(late.Next(kLong)).version.number;
    EXPECT_GT(number, before);
    before = number;
  }
  EXPECT_EQ(late.Next(absl::Milliseconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(WatcherTest, ABrokenConnectionIsMendedAndNothingReportedTwice) {
  Watcher watcher = OpenModel().Watch();
  ValueOf(watcher.Next(kLong));
  daemon_.CutConnections();
  daemon_.AwaitCalls("Watch", 2);
  daemon_.Publish("1234");
  EXPECT_EQ(ValueOf(watcher.Next(kLong)).version.number, 1);
}

TEST_F(WatcherTest, CancelWakesTheReader) {
  Watcher watcher = OpenModel().Watch();
  ValueOf(watcher.Next(kLong));
  std::thread canceller([&] { watcher.Cancel(); });
  EXPECT_EQ(watcher.Next(kLong).status().code(), absl::StatusCode::kCancelled);
  canceller.join();
}

TEST_F(WatcherTest, AnErrorThatWillNotPassIsFinal) {
  daemon_.Script(
      "Watch",
      {Refuse(StatusCode::UNAVAILABLE, ErrorDetail::REASON_DRAINING),
       Refuse(StatusCode::NOT_FOUND, ErrorDetail::REASON_MODEL_UNKNOWN)});
  Watcher watcher = OpenModel().Watch();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(GetReason(watcher.Next(kLong).status()), Reason::kModelUnknown);
  }
  EXPECT_EQ(daemon_.calls("Watch"), 2);
}

TEST_F(WatcherTest, ItEndsWhileTheDaemonIsAway) {
  Watcher watcher = OpenModel().Watch();
  ValueOf(watcher.Next(kLong));
  daemon_.StopListening();
  daemon_.CutConnections();
  EXPECT_EQ(watcher.Next(absl::Milliseconds(50)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace accrue::client
