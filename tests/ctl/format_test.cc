#include "client/ctl/format.h"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace accrue::ctl {
namespace {

TEST(FormatTest, BytesHaveThreeDigitsAtMost) {
  const struct {
    int64_t bytes;
    const char* text;
  } cases[] = {
      {0, "0 B"},
      {1023, "1023 B"},
      {1024, "1.0 KiB"},
      {940584, "919 KiB"},
      {1881168, "1.8 MiB"},
      {10 * 1024, "10 KiB"},
      {1023 * 1024, "1023 KiB"},
      {1024 * 1024 - 1, "1.0 MiB"},
      {int64_t{117} << 30, "117 GiB"},
      {std::numeric_limits<int64_t>::max(), "8.0 EiB"},
      {-2048, "-2.0 KiB"},
  };
  for (const auto& c : cases) EXPECT_EQ(HumanBytes(c.bytes), c.text);
}

TEST(FormatTest, CountsAreGroupedByThousands) {
  EXPECT_EQ(HumanCount(0), "0");
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(1000), "1,000");
  EXPECT_EQ(HumanCount(235146), "235,146");
  EXPECT_EQ(HumanCount(1234567890), "1,234,567,890");
  EXPECT_EQ(HumanCount(-100), "-100");
  EXPECT_EQ(HumanCount(-1000), "-1,000");
}

TEST(FormatTest, AgesAreWholeUnits) {
  EXPECT_EQ(HumanAge(absl::Seconds(-1)), "now");
  EXPECT_EQ(HumanAge(absl::Milliseconds(999)), "now");
  EXPECT_EQ(HumanAge(absl::Milliseconds(1999)), "1 s");
  EXPECT_EQ(HumanAge(absl::Seconds(60)), "1 min");
  EXPECT_EQ(HumanAge(absl::Minutes(119)), "1 h");
  EXPECT_EQ(HumanAge(absl::Hours(47)), "47 h");
  EXPECT_EQ(HumanAge(absl::Hours(49)), "2 d");
}

TEST(FormatTest, RealsAreShort) {
  EXPECT_EQ(HumanReal(0.001), "0.001");
  EXPECT_EQ(HumanReal(1e-8), "1e-08");
  EXPECT_EQ(HumanReal(2.302585), "2.30259");
}

}  // namespace
}  // namespace accrue::ctl
