// Which data connections there are: prefaces, ids, limits, hang-ups.

#include "server/service/data_connections.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/service/data_connections_fixture.h"

namespace accrue {
namespace {

TEST_F(DataConnectionsTest, APrefaceMayComeInPieces) {
  const std::string preface = MakeDataPreface(Id(1));
  for (const size_t cut : {size_t{1}, size_t{14}, size_t{46}, size_t{47}}) {
    const auto sender = Adopted();
    ASSERT_TRUE(sender->Send(preface.substr(0, cut)));
    ASSERT_NO_FATAL_FAILURE(sender->AwaitAllRead());
    EXPECT_EQ(connections_->Find(Id(1)), nullptr);
    ASSERT_TRUE(sender->Send(preface.substr(cut)));
    EXPECT_EQ(sender->Answer(), kDataPrefaceAnswer);
    EXPECT_NE(connections_->Find(Id(1)), nullptr);
    sender->HangUp();
    ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
    EXPECT_EQ(connections_->Find(Id(1)), nullptr);
  }
}

TEST_F(DataConnectionsTest, GarbageIsHungUpOn) {
  const std::string preface = MakeDataPreface(Id(1));
  std::vector<std::string> garbage = {std::string(kDataPrefaceSize, 'A'),
                                      MakeDataPreface(std::string(32, 'x'))};
  garbage.push_back(preface);
  garbage.back()[12] = '2';
  garbage.push_back(preface);
  garbage.back().back() = ' ';
  for (const std::string& bytes : garbage) {
    const auto sender = Adopted();
    ASSERT_TRUE(sender->Send(bytes));
    sender->ExpectClosed();
    ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  }
  // So is whoever leaves in the middle.
  const auto sender = Adopted();
  ASSERT_TRUE(sender->Send(preface.substr(0, 40)));
  sender->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
}

TEST_F(DataConnectionsTest, AnIdThatIsTakenIsNotGivenAgain) {
  const auto first = Named(Id(1));
  const auto connection = Find(Id(1));
  const auto second = Adopted();
  ASSERT_TRUE(second->Send(MakeDataPreface(Id(1))));
  second->ExpectClosed();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(1));
  EXPECT_EQ(connections_->Find(Id(1)), connection);
  first->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  Named(Id(1));
}

TEST_F(DataConnectionsTest, OneTooManyIsHungUpOn) {
  Start({.max_connections = 2, .first_use_timeout = kPatience});
  const auto first = Named(Id(1));
  const auto silent = Adopted();
  for (int i = 0; i < 3; ++i) Adopted()->ExpectClosed();
  EXPECT_EQ(connections_->count(), 2);
  first->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(1));
  Named(Id(2));
}

TEST_F(DataConnectionsTest, NoneMeansNone) {
  Start({.max_connections = 0, .first_use_timeout = kPatience});
  Adopted()->ExpectClosed();
  EXPECT_EQ(connections_->count(), 0);
}

TEST_F(DataConnectionsTest, OneThatNoPushNamesIsClosed) {
  Start({.first_use_timeout = absl::Milliseconds(1)});
  const auto silent = Adopted();
  silent->ExpectClosed();
  const auto named = Adopted();
  // Perhaps it is closed before it has said its name.
  if (named->Send(MakeDataPreface(Id(1)))) named->Answer();
  named->ExpectClosed();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  EXPECT_EQ(connections_->Find(Id(1)), nullptr);
}

TEST_F(DataConnectionsTest, OneThatAPushHasNamedStays) {
  const auto unused = Named(Id(1));
  const auto used = Named(Id(2));
  const auto stream = Begin(Id(2), 3);
  Find(Id(2))->EndUnused();
  used->SendNumber();
  ASSERT_TRUE(used->Send("abc"));
  Find(Id(2))->Read();
  EXPECT_EQ(stream->AwaitEnd(), "abc");
  EXPECT_EQ(Find(Id(2))->End(), 3);
  Find(Id(2))->EndUnused();
  Find(Id(1))->EndUnused();
  unused->ExpectClosed();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(1));
  EXPECT_NE(connections_->Find(Id(2)), nullptr);
}

TEST_F(DataConnectionsTest, OneThatIsInUseIsRefused) {
  const auto sender = Named(Id(1));
  const auto stream = Begin(Id(1), 3);
  const auto other = std::make_shared<FakeStream>(/*eager=*/false);
  EXPECT_FALSE(Find(Id(1))->Begin(other, 2, 3));
  Find(Id(1))->Read();
  sender->SendNumber();
  ASSERT_TRUE(sender->Send("abc"));
  EXPECT_EQ(stream->AwaitEnd(), "abc");
  // Until its push has been answered.
  EXPECT_FALSE(Find(Id(1))->Begin(other, 2, 3));
  EXPECT_EQ(Find(Id(1))->End(), 3);
  EXPECT_TRUE(Find(Id(1))->Begin(other, 2, 3));
  EXPECT_EQ(other->bytes(), "");
}

TEST_F(DataConnectionsTest, WhoeverHangsUpWhileItIsIdleIsForgotten) {
  const auto unused = Named(Id(1));
  const auto used = Named(Id(2));
  const auto stream = Begin(Id(2), 3);
  Find(Id(2))->Read();
  used->SendNumber();
  ASSERT_TRUE(used->Send("abc"));
  stream->AwaitEnd();
  EXPECT_EQ(Find(Id(2))->End(), 3);
  unused->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(1));
  used->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  EXPECT_EQ(connections_->Find(Id(2)), nullptr);
}

}  // namespace
}  // namespace accrue
