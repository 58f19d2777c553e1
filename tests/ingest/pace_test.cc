#include "server/ingest/pace.h"

#include "gtest/gtest.h"

namespace accrue {
namespace {

constexpr auto kTook = absl::Milliseconds(30);

TEST(PaceTest, BeforeTheFirstByteNobodyKnows) {
  EXPECT_EQ(TimeLeftAt(0, 100, absl::ZeroDuration(), absl::ZeroDuration()),
            absl::InfiniteDuration());
}

TEST(PaceTest, TheRestTakesItsShareOfWhatTheFirstPartTook) {
  EXPECT_EQ(TimeLeftAt(25, 100, kTook, absl::ZeroDuration()),
            absl::Milliseconds(90));
  EXPECT_EQ(TimeLeftAt(75, 100, kTook, absl::Milliseconds(4)),
            absl::Milliseconds(6));
  EXPECT_EQ(TimeLeftAt(100, 100, kTook, absl::ZeroDuration()),
            absl::ZeroDuration());
}

TEST(PaceTest, OneThatIsLateIsDueForAWhile) {
  EXPECT_EQ(TimeLeftAt(75, 100, kTook, absl::Milliseconds(19)),
            absl::ZeroDuration());
  EXPECT_EQ(TimeLeftAt(100, 100, kTook, absl::Milliseconds(9)),
            absl::ZeroDuration());
}

TEST(PaceTest, ThenItHasStopped) {
  EXPECT_EQ(TimeLeftAt(75, 100, kTook, absl::Milliseconds(21)),
            absl::InfiniteDuration());
  EXPECT_EQ(TimeLeftAt(99, 100, kTook, absl::Milliseconds(11)),
            absl::InfiniteDuration());
  EXPECT_EQ(TimeLeftAt(100, 100, kTook, absl::Milliseconds(11)),
            absl::InfiniteDuration());
}

}  // namespace
}  // namespace accrue
