#include "server/base/status_macros.h"

#include <map>
#include <memory>
#include <utility>

#include "gtest/gtest.h"

namespace accrue {
namespace {

absl::Status Steps(const absl::Status& first, int& reached) {
  ACCRUE_RETURN_IF_ERROR(first);
  ++reached;
  ACCRUE_RETURN_IF_ERROR(absl::OkStatus());
  ++reached;
  return absl::OkStatus();
}

TEST(StatusMacrosTest, AnErrorReturnsAtOnce) {
  int reached = 0;
  EXPECT_EQ(Steps(absl::AbortedError("x"), reached), absl::AbortedError("x"));
  EXPECT_EQ(reached, 0);
  EXPECT_TRUE(Steps(absl::OkStatus(), reached).ok());
  EXPECT_EQ(reached, 2);
}

absl::StatusOr<std::unique_ptr<int>> Make(bool ok) {
  if (!ok) return absl::NotFoundError("none");
  return std::make_unique<int>(7);
}

absl::StatusOr<int> Sum(bool first_ok, bool second_ok) {
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<int> first, Make(first_ok));
  std::unique_ptr<int> second;
  ACCRUE_ASSIGN_OR_RETURN(second, Make(second_ok));
  return *first + *second;
}

TEST(StatusMacrosTest, AValueIsMovedOutOrTheErrorReturned) {
  EXPECT_EQ(*Sum(true, true), 14);
  EXPECT_EQ(Sum(true, false).status(), absl::NotFoundError("none"));
  EXPECT_EQ(Sum(false, true).status(), absl::NotFoundError("none"));
}

template <typename Key, typename Value>
absl::StatusOr<std::map<Key, Value>> MapOf(Key key, Value value) {
  return std::map<Key, Value>{{key, value}};
}

absl::StatusOr<int> ValueOfOne() {
  ACCRUE_ASSIGN_OR_RETURN(auto map, MapOf<int, int>(1, 5));
  return map[1];
}

TEST(StatusMacrosTest, AnExpressionMayContainCommas) {
  EXPECT_EQ(*ValueOfOne(), 5);
}

}  // namespace
}  // namespace accrue
