#include "server/durability/json_fields.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/durability/fields.h"
#include "server/durability/spec_fields.h"
#include "tests/durability/samples.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

Json Parsed(const std::string& text) {
  auto json = ParseJson(text, {});
  EXPECT_TRUE(json.ok()) << json.status();
  return json.ok() ? *json : Json();
}

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

TEST(JsonFieldsTest, AStateIsReadBackAsItWasWritten) {
  const Json json = ToJson(SampleState());
  TrainingState state;
  const absl::Status read = FromJson(Parsed(json.dump()), &state);
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_EQ(ToJson(state), json);
  EXPECT_EQ(state.groups[1].cycle, SampleState().groups[1].cycle);
  EXPECT_EQ(state.sessions[1].last_hash, 0xfedcba9876543210);
  EXPECT_EQ(state.recent_micro_steps, SampleState().recent_micro_steps);
}

TEST(JsonFieldsTest, ASpecIsReadBackAsItWasWritten) {
  ModelSpec spec = SampleSpec();
  for (const absl::Duration timeout :
       {spec.cycle_timeout, absl::InfiniteDuration(), absl::Nanoseconds(1),
        absl::Nanoseconds(1) / 4, absl::Hours(1000000) + absl::Seconds(0.1)}) {
    spec.cycle_timeout = timeout;
    ModelSpec read;
    const absl::Status status = FromJson(Parsed(ToJson(spec).dump()), &read);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(read, spec);
  }
}

TEST(JsonFieldsTest, EveryDoubleKeepsItsBits) {
  std::vector<double> values = {0.0,
                                -0.0,
                                0.1,
                                std::numeric_limits<double>::denorm_min(),
                                std::numeric_limits<double>::max(),
                                std::numeric_limits<double>::infinity(),
                                -std::numeric_limits<double>::infinity(),
                                1e22,
                                9007199254740993.0};
  std::mt19937_64 random(7);
  for (int i = 0; i < 10000; ++i) {
    const uint64_t bits = random();
    double value;
    static_assert(sizeof(value) == sizeof(bits));
    std::memcpy(&value, &bits, sizeof(value));
    if (!std::isnan(value)) values.push_back(value);
  }
  std::vector<double> read;
  ASSERT_TRUE(FromJson(Parsed(ToJson(values).dump()), &read).ok());
  ASSERT_EQ(read.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::memcmp(&read[i], &values[i], sizeof(double)), 0)
        << values[i];
  }
  double nan = 0;
  ASSERT_TRUE(FromJson(ToJson(std::nan("")), &nan).ok());
  EXPECT_TRUE(std::isnan(nan));
}

TEST(JsonFieldsTest, WholeNumbersAreExactOrRefused) {
  for (const int64_t value :
       {std::numeric_limits<int64_t>::min(),
        std::numeric_limits<int64_t>::max(), int64_t{0}}) {
    int64_t read = 1;
    ASSERT_TRUE(FromJson(Parsed(absl::StrCat(value)), &read).ok());
    EXPECT_EQ(read, value);
  }
  for (const char* text : {"9223372036854775808", "-9223372036854775809", "1.0",
                           "1e3", "\"1\"", "null", "[]"}) {
    int64_t read = 0;
    EXPECT_FALSE(FromJson(Parsed(text), &read).ok()) << text;
  }
  int32_t narrow = 0;
  EXPECT_FALSE(FromJson(Parsed("2147483648"), &narrow).ok());
}

TEST(JsonFieldsTest, WhatIsWrongIsNamedByItsPath) {
  const struct {
    const char* pointer;
    Json value;
    const char* message;
  } cases[] = {
      {"/groups/1/cycle/mass1", "x", "groups[1].cycle.mass1: want a number"},
      {"/groups/1/cycle", 7, "groups[1].cycle: want an object"},
      {"/groups", Json::object(), "groups: want an array"},
      {"/version/lineage", 1, "version.lineage: want a text"},
      {"/groups/0/looks_ahead", 1, "looks_ahead: want true or false"},
      {"/groups/0/hyper/schedule/kind", "sine",
       "groups[0].hyper.schedule.kind: want one of constant, linear"},
      {"/sessions/1/last_hash", "FEDCBA9876543210", "last_hash: want 16 hex"},
      {"/sessions/1/last_hash", "fedcba987654321", "last_hash: want 16 hex"},
      {"/folded_pushes", 1.5, "folded_pushes: want a whole number"},
      {"/recent_micro_steps/1/0", 1,
       "recent_micro_steps[1]: want keys that ascend"},
      {"/recent_micro_steps/0", 1, "recent_micro_steps[0]: want [key, value]"},
      {"/groups/0/surplus", 1, "groups[0].surplus: is not known"},
  };
  for (const auto& c : cases) {
    Json json = ToJson(SampleState());
    json[Json::json_pointer(c.pointer)] = c.value;
    TrainingState state;
    EXPECT_THAT(Message(FromJson(json, &state)), HasSubstr(c.message));
  }
  Json json = ToJson(SampleState());
  json["groups"][0]["cycle"].erase("mass2");
  TrainingState state;
  EXPECT_EQ(Message(FromJson(json, &state)),
            "groups[0].cycle.mass2: is missing");
}

TEST(JsonFieldsTest, ADurationHasOneText) {
  for (const char* text :
       {"\"60s\"", "\"1m\"", "\"x\"", "1", "\"inf\"", "\"\""}) {
    absl::Duration duration;
    EXPECT_EQ(FromJson(Parsed(text), &duration).ok(),
              std::string(text) == "\"1m\"")
        << text;
  }
}

TEST(JsonTextTest, WhatIsNoJsonIsRefused) {
  for (const char* text :
       {"", " ", "{", "[1,]", "{\"a\":1,}", "01", "nan", "1 2", "\"\x80\"",
        "1e999", "{\"a\" 1}", "[\"\\ud800\"]", "\xef\xbb\xbf"}) {
    EXPECT_FALSE(ParseJson(text, {}).ok()) << text;
  }
}

TEST(JsonTextTest, KeysComeOnce) {
  EXPECT_THAT(Message(ParseJson("{\"a\":1,\"b\":{},\"a\":1}", {}).status()),
              HasSubstr("\"a\" comes twice"));
  EXPECT_TRUE(ParseJson("{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]}}", {}).ok());
}

TEST(JsonTextTest, DepthAndSizeAreBounded) {
  const auto nested = [](int depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseJson(nested(3), {.max_depth = 3}).ok());
  EXPECT_FALSE(ParseJson(nested(4), {.max_depth = 3}).ok());
  EXPECT_FALSE(ParseJson(std::string(1 << 20, '['), {}).ok());
  EXPECT_TRUE(ParseJson("[1,2]", {.max_values = 3}).ok());
  EXPECT_FALSE(ParseJson("[1,2,3]", {.max_values = 3}).ok());
}

}  // namespace
}  // namespace accrue
