// What server-info shows of devices.
#include <string>

#include "accrue/description.h"
#include "client/ctl/description_json.h"
#include "client/ctl/description_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace accrue::ctl {
namespace {

using testing::HasSubstr;
using testing::Not;

client::ServerInfo OnGpus() {
  client::ServerInfo info;
  info.devices = {"cuda:0", "cuda:1"};
  info.device_infos = {{.name = "cuda:0",
                        .product = "NVIDIA H200",
                        .total_bytes = int64_t{140} << 30,
                        .free_bytes = int64_t{35} << 30},
                       {.name = "cuda:1",
                        .product = "NVIDIA H200",
                        .fault = "fallen off the bus"}};
  return info;
}

TEST(ServerInfoTest, AGpuIsShownWithItsMemoryOrWithWhatItWasLostTo) {
  const std::string text = ServerInfoText(OnGpus());
  EXPECT_THAT(text, HasSubstr("cuda:0, cuda:1"));
  EXPECT_THAT(text, HasSubstr("NVIDIA H200, 35 GiB of 140 GiB free\n"));
  EXPECT_THAT(text, HasSubstr("NVIDIA H200, LOST: fallen off the bus\n"));
}

TEST(ServerInfoTest, OfTheCpuThereIsItsNameOnly) {
  client::ServerInfo info;
  info.devices = {"cpu"};
  info.device_infos = {{.name = "cpu"}};
  const std::string text = ServerInfoText(info);
  EXPECT_EQ(text.find("cpu"), text.rfind("cpu"));
  EXPECT_THAT(text, Not(HasSubstr("free")));
}

TEST(ServerInfoTest, AsJsonADeviceHasTheApisFields) {
  const Json infos = ToJson(OnGpus())["device_infos"];
  ASSERT_EQ(infos.size(), 2);
  EXPECT_EQ(infos[0]["name"], "cuda:0");
  EXPECT_EQ(infos[0]["product"], "NVIDIA H200");
  EXPECT_EQ(infos[0]["total_bytes"], int64_t{140} << 30);
  EXPECT_EQ(infos[0]["free_bytes"], int64_t{35} << 30);
  EXPECT_EQ(infos[0]["fault"], "");
  EXPECT_EQ(infos[1]["fault"], "fallen off the bus");
}

}  // namespace
}  // namespace accrue::ctl
