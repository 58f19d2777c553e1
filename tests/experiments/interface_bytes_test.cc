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

}  // namespace
}  // namespace accrue::experiments
