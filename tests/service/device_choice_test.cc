#include "server/service/device_choice.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue {
namespace {

using Kind = DeviceChoice::Kind;
using testing::HasSubstr;

TEST(DeviceChoiceTest, EveryFormIsReadAndWrittenTheSame) {
  const struct {
    std::string text;
    DeviceChoice choice;
  } kCases[] = {
      {"auto", {.kind = Kind::kAuto, .gpus = {}}},
      {"cpu", {.kind = Kind::kCpu, .gpus = {}}},
      {"cuda", {.kind = Kind::kCuda, .gpus = {}}},
      {"cuda:0", {.kind = Kind::kCuda, .gpus = {0}}},
      {"cuda:12,0,3", {.kind = Kind::kCuda, .gpus = {12, 0, 3}}},
  };
  for (const auto& [text, choice] : kCases) {
    const auto read = ParseDeviceChoice(text);
    ASSERT_TRUE(read.ok()) << text << ": " << read.status();
    EXPECT_EQ(*read, choice) << text;
    EXPECT_EQ(ToString(choice), text);
  }
}

TEST(DeviceChoiceTest, AnythingElseIsRefusedWithWhatIsWanted) {
  for (const std::string text :
       {"", "gpu", "CPU", "cpu:0", "auto:0", "cuda:", "cuda:0,", "cuda:,0",
        "cuda:-1", "cuda:+1", "cuda: 1", "cuda:1 ", "cuda:x", "cuda:0x1",
        "cuda:99999999999", "cuda0", "cuda:0,1,0"}) {
    const auto read = ParseDeviceChoice(text);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(read.status().message()),
                HasSubstr("want auto, cpu, cuda or cuda:N"))
        << text;
  }
  EXPECT_THAT(std::string(ParseDeviceChoice("cuda:1, 2").status().message()),
              HasSubstr("\" 2\" is no GPU's index"));
  EXPECT_THAT(std::string(ParseDeviceChoice("cuda:3,3").status().message()),
              HasSubstr("GPU 3 is there twice"));
}

}  // namespace
}  // namespace accrue
