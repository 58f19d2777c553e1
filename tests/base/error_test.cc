#include "server/base/error.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace accrue {
namespace {

TEST(ErrorTest, InfoComesBackAsItWasAttached) {
  ErrorInfo info;
  info.reason = Reason::kStale;
  info.current_version = int64_t{1} << 40;
  info.lineage = std::string("with a \0 in it", 14);
  info.retry_after = absl::Milliseconds(1500);
  info.subject = "mnist";
  const absl::Status status =
      MakeError(absl::StatusCode::kAborted, info, "version 3, want 5");
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status.message(), "version 3, want 5");
  const ErrorInfo got = GetErrorInfo(status);
  EXPECT_EQ(got.reason, info.reason);
  EXPECT_EQ(got.current_version, info.current_version);
  EXPECT_EQ(got.lineage, info.lineage);
  EXPECT_EQ(got.retry_after, info.retry_after);
  EXPECT_EQ(got.subject, info.subject);
}

TEST(ErrorTest, AStatusWithoutInfoHasNoReason) {
  EXPECT_EQ(GetErrorInfo(absl::InternalError("x")).reason,
            Reason::kUnspecified);
  EXPECT_EQ(GetErrorInfo(absl::OkStatus()).reason, Reason::kUnspecified);
}

TEST(ErrorTest, AReasonAloneIsEnough) {
  const absl::Status status = MakeError(absl::StatusCode::kUnavailable,
                                        Reason::kDraining, "shutting down");
  EXPECT_EQ(GetErrorInfo(status).reason, Reason::kDraining);
  EXPECT_EQ(GetErrorInfo(status).subject, "");
}

TEST(ErrorTest, AVersionIsAddedToTheRestUnlessItIsThereAlready) {
  ErrorInfo info;
  info.reason = Reason::kSessionFenced;
  info.subject = "mnist";
  const absl::Status without =
      MakeError(absl::StatusCode::kAborted, info, "taken over");
  const absl::Status with = WithVersion(without, 7, "lineage");
  EXPECT_EQ(with.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(with.message(), "taken over");
  EXPECT_EQ(GetErrorInfo(with).reason, Reason::kSessionFenced);
  EXPECT_EQ(GetErrorInfo(with).subject, "mnist");
  EXPECT_EQ(GetErrorInfo(with).current_version, 7);
  EXPECT_EQ(GetErrorInfo(with).lineage, "lineage");
  EXPECT_EQ(GetErrorInfo(WithVersion(with, 8, "other")).current_version, 7);
  EXPECT_TRUE(WithVersion(absl::OkStatus(), 8, "other").ok());
}

TEST(ErrorTest, EveryReasonHasANameOfItsOwn) {
  std::set<std::string> names;
  constexpr int kLast = static_cast<int>(Reason::kCheckpointFailed);
  for (int i = 0; i <= kLast; ++i) {
    names.insert(std::string(ReasonName(static_cast<Reason>(i))));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kLast) + 1);
  EXPECT_EQ(ReasonName(Reason::kNonFinite), "NON_FINITE");
}

}  // namespace
}  // namespace accrue
