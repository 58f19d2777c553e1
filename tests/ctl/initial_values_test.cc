#include "client/ctl/initial_values.h"

#include <cmath>
#include <variant>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue::ctl {
namespace {

using client::Initializer;
using ::testing::HasSubstr;

client::ModelSpec TwoTensors() {
  client::ModelSpec spec;
  spec.tensors = {{.name = "w", .shape = {10, 4, 2}},
                  {.name = "b", .shape = {10}}};
  return spec;
}

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

TEST(InitialValuesTest, EveryKindIsParsed) {
  const auto zeros = ParseInitialValues("zeros");
  ASSERT_TRUE(zeros.ok());
  EXPECT_EQ(std::get<Initializer::Constant>(*zeros).value, 0);
  const auto constant = ParseInitialValues("constant:0.5");
  ASSERT_TRUE(constant.ok());
  EXPECT_EQ(std::get<Initializer::Constant>(*constant).value, 0.5);
  const auto uniform = ParseInitialValues("uniform:-1,1e-1");
  ASSERT_TRUE(uniform.ok());
  EXPECT_EQ(std::get<Initializer::Uniform>(*uniform).low, -1);
  EXPECT_EQ(std::get<Initializer::Uniform>(*uniform).high, 0.1);
  const auto normal = ParseInitialValues("normal:0,0.02");
  ASSERT_TRUE(normal.ok());
  EXPECT_EQ(std::get<Initializer::Normal>(*normal).stddev, 0.02);
  EXPECT_TRUE(std::holds_alternative<Kaiming>(*ParseInitialValues("kaiming")));
}

TEST(InitialValuesTest, WhatIsNoneOfThemIsRefused) {
  for (const char* text :
       {"", "ones", "zeros:1", "kaiming:2", "constant", "constant:1,2",
        "uniform:1", "normal:0,x", "normal:0,nan", "normal:0,", ":1"}) {
    EXPECT_FALSE(ParseInitialValues(text).ok()) << text;
  }
  EXPECT_THAT(Message(ParseInitialValues("ones").status()),
              HasSubstr("expected zeros, constant:V"));
}

TEST(InitialValuesTest, KaimingGoesByTheFanInAndZeroesBiases) {
  const auto resolved =
      ResolveInitializers(TwoTensors(), {{.tensor = "*", .values = Kaiming{}}});
  ASSERT_TRUE(resolved.ok());
  ASSERT_EQ(resolved->size(), 2);
  EXPECT_EQ((*resolved)[0].tensor, "w");
  EXPECT_DOUBLE_EQ(std::get<Initializer::Normal>((*resolved)[0].kind).stddev,
                   std::sqrt(2.0 / (4 * 2)));
  EXPECT_EQ(std::get<Initializer::Constant>((*resolved)[1].kind).value, 0);
}

TEST(InitialValuesTest, ANameGoesBeforeTheStar) {
  const auto resolved = ResolveInitializers(
      TwoTensors(), {{.tensor = "*", .values = Initializer::Constant{1}},
                     {.tensor = "b", .values = Initializer::Constant{2}}});
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(std::get<Initializer::Constant>((*resolved)[0].kind).value, 1);
  EXPECT_EQ(std::get<Initializer::Constant>((*resolved)[1].kind).value, 2);
}

TEST(InitialValuesTest, EveryTensorNeedsExactlyOne) {
  const InitialValues zeros = Initializer::Constant{};
  EXPECT_THAT(Message(ResolveInitializers(TwoTensors(),
                                          {{.tensor = "w", .values = zeros}})
                          .status()),
              HasSubstr("no initializer for tensor \"b\""));
  EXPECT_THAT(Message(ResolveInitializers(TwoTensors(),
                                          {{.tensor = "*", .values = zeros},
                                           {.tensor = "c", .values = zeros}})
                          .status()),
              HasSubstr("\"c\", which the model does not have"));
  EXPECT_THAT(Message(ResolveInitializers(TwoTensors(),
                                          {{.tensor = "*", .values = zeros},
                                           {.tensor = "*", .values = zeros}})
                          .status()),
              HasSubstr("two initializers for tensor \"*\""));
}

}  // namespace
}  // namespace accrue::ctl
