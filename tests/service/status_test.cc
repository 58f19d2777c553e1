#include "server/service/status.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace accrue {
namespace {

TEST(StatusTest, EveryReasonHasItsNameAndNumberInTheApi) {
  const auto* reasons = v1::ErrorDetail::Reason_descriptor();
  std::set<int> seen;
  for (int number = 0; number < reasons->value_count(); ++number) {
    const auto reason = static_cast<Reason>(number);
    const v1::ErrorDetail::Reason api = ToApi(reason);
    EXPECT_EQ(static_cast<int>(api), number);
    EXPECT_EQ(v1::ErrorDetail::Reason_Name(api),
              "REASON_" + std::string(ReasonName(reason)));
    seen.insert(api);
  }
  EXPECT_EQ(static_cast<int>(seen.size()), reasons->value_count());
}

TEST(StatusTest, TheDetailTellsAllThatTheErrorKnows) {
  ErrorInfo info;
  info.reason = Reason::kStale;
  info.current_version = 57;
  info.lineage = "00112233445566778899aabbccddeeff";
  info.retry_after = absl::Milliseconds(1500);
  info.subject = "mnist";
  const v1::ErrorDetail detail = ToApi(info);
  EXPECT_EQ(detail.reason(), v1::ErrorDetail::REASON_STALE);
  EXPECT_EQ(detail.current_version(), 57);
  EXPECT_EQ(detail.lineage(), info.lineage);
  EXPECT_EQ(detail.retry_after().seconds(), 1);
  EXPECT_EQ(detail.retry_after().nanos(), 500'000'000);
  EXPECT_EQ(detail.subject(), "mnist");
}

TEST(StatusTest, NoRetryAfterLeavesItToTheClient) {
  EXPECT_FALSE(ToApi(ErrorInfo()).has_retry_after());
}

}  // namespace
}  // namespace accrue
