#include "client/examples/experiments/interface_bytes.h"

#include <gtest/gtest.h>

namespace accrue::experiments {
namespace {

constexpr char kTwoInterfaces[] =
    "Inter-|   Receive                          |  Transmit\n"
    " face |bytes packets errs drop fifo frame compressed multicast|bytes "
    "packets errs drop fifo colls carrier compressed\n"
    "    lo: 1056 12 0 0 0 0 0 0 1057 12 0 0 0 0 0 0\n"
    " link0:26127770 1902 0 0 0 0 0 0 26127139    1890 0 0 0 0 0 0\n";

TEST(InterfaceBytesTest, InAndOutOfTheInterfaceThatIsNamed) {
  const auto bytes = ParseInterfaceBytes(kTwoInterfaces, "link0");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->in, 26127770);
  EXPECT_EQ(bytes->out, 26127139);
}

TEST(InterfaceBytesTest, OneThatIsNotThereIsNotFound) {
  for (const char* name : {"link", "ink0", "link00", ""}) {
    const auto bytes = ParseInterfaceBytes(kTwoInterfaces, name);
    EXPECT_TRUE(absl::IsNotFound(bytes.status())) << name;
  }
}

// 0.1 s at 125 MB/s, and a burst of 256 KiB: 12,762,144 bytes at most.
TEST(CheckShapedTest, MoreThanRateAndBurstLetThroughIsAnError) {
  constexpr int64_t kMost = 12'500'000 + 262'144;
  const Shape shape = {.bytes_per_second = 125'000'000, .burst_bytes = 262'144};
  const absl::Duration elapsed = absl::Milliseconds(100);
  EXPECT_TRUE(CheckShaped({.in = kMost, .out = kMost}, elapsed, shape).ok());
  for (const InterfaceBytes& carried :
       {InterfaceBytes{.in = kMost + 1, .out = 0},
        InterfaceBytes{.in = 0, .out = kMost + 1}}) {
    const absl::Status status = CheckShaped(carried, elapsed, shape);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_NE(status.message().find("the link is not shaped"),
              absl::string_view::npos);
    EXPECT_NE(status.message().find("125.0 MB/s"), absl::string_view::npos);
  }
}

TEST(CheckShapedTest, WhatIsNotShapedCarriesWhatItCan) {
  EXPECT_TRUE(CheckShaped({.in = int64_t{1} << 40, .out = 0},
                          absl::Milliseconds(1), Shape{})
                  .ok());
}

}  // namespace
}  // namespace accrue::experiments
