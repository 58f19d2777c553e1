#include "server/service/audit.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(AuditTest, ALineSaysWhoFromWhereWhatAndHowItEnded) {
  EXPECT_EQ(ToLine({.caller = "ops",
                    .peer = "10.0.0.7:5",
                    .method = "/accrue.v1.ModelService/DeleteModel",
                    .model = "mnist",
                    .code = absl::StatusCode::kNotFound}),
            "audit caller=\"ops\" peer=10.0.0.7:5 "
            "method=/accrue.v1.ModelService/DeleteModel model=\"mnist\" "
            "code=NOT_FOUND");
}

TEST(AuditTest, WhatAClientSentCannotForgeALine) {
  const std::string line =
      ToLine({.caller = "a\" code=OK",
              .peer = "p",
              .method = "m",
              .model = "x\naudit caller=\"root\"\t\x80" + std::string(999, 'y'),
              .code = absl::StatusCode::kPermissionDenied});
  EXPECT_THAT(line, HasSubstr(R"(caller="a\" code=OK" peer=p)"));
  EXPECT_THAT(line, HasSubstr(R"(model="x\naudit caller=\"root\"\t\x80yy)"));
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  EXPECT_THAT(line, EndsWith("yyy...\" code=PERMISSION_DENIED"));
  EXPECT_LT(line.size(), 500U);
}

}  // namespace
}  // namespace accrue
