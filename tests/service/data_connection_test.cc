// What a data connection makes of payloads, whole, cut and foreign.

#include "server/service/data_connection.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/service/data_connections_fixture.h"

namespace accrue {
namespace {

using DataConnectionTest = DataConnectionsTest;

TEST_F(DataConnectionTest, APayloadArrivesWholeWhereverItIsCut) {
  const auto sender = Named(Id(1));
  const std::string payload = Payload(kPayloadBytes);
  int64_t number = 0;
  for (const size_t cut : {size_t{1}, size_t{4'095}, size_t{262'143},
                           size_t{262'145}, payload.size()}) {
    const auto stream = Begin(Id(1), kPayloadBytes);
    Find(Id(1))->Read();
    std::thread sending([&] {
      for (const char byte : MakePayloadNumber(++number)) {
        ASSERT_TRUE(sender->Send(std::string(1, byte)));
        if (cut == 1) sender->AwaitAllRead();
      }
      // The first bytes one at a time, each received by itself.
      size_t sent = 0;
      for (; cut == 1 && sent < 100; ++sent) {
        ASSERT_TRUE(sender->Send(payload.substr(sent, 1)));
        sender->AwaitAllRead();
      }
      const size_t step = std::max(cut, size_t{777});
      for (; sent < payload.size(); sent += step) {
        ASSERT_TRUE(sender->Send(payload.substr(sent, step)));
      }
    });
    // Not EXPECT_EQ: nobody reads a megabyte.
    EXPECT_TRUE(stream->AwaitEnd() == payload) << cut;
    sending.join();
    EXPECT_EQ(Find(Id(1))->End(), kPayloadBytes);
    const std::vector<int64_t> sizes = stream->sizes();
    ASSERT_EQ(sizes.size(), 5u);
    EXPECT_EQ(sizes.back(), 12'345);
  }
}

TEST_F(DataConnectionTest, PayloadsOfAnySizeComeBackToBack) {
  const auto sender = Named(Id(1));
  constexpr int64_t kPiece = 256 << 10;
  const std::vector<int64_t> sizes = {
      1, 3, kPiece - 1, kPiece, kPiece + 1, 20 * kPiece, 17};
  std::string all;
  int64_t number = 0;
  for (const int64_t size : sizes) {
    all += MakePayloadNumber(++number);
    all += Payload(size, static_cast<uint32_t>(size) + 7);
  }
  // As fast as it goes, whatever pushes there are yet.
  std::thread sending([&] { EXPECT_TRUE(sender->Send(all)); });
  for (const int64_t size : sizes) {
    const auto stream = Begin(Id(1), size);
    Find(Id(1))->Read();
    EXPECT_TRUE(stream->AwaitEnd() ==
                Payload(size, static_cast<uint32_t>(size) + 7))
        << size;
    EXPECT_EQ(Find(Id(1))->End(), size);
  }
  sending.join();
}

TEST_F(DataConnectionTest, NothingIsReceivedThatWasNotAskedFor) {
  const auto sender = Named(Id(1));
  const std::string payload = MakePayloadNumber(1) + Payload(kPayloadBytes);
  // Without a push, of one that waits, and between two reads.
  size_t sent = sender->SendUntilFull(payload);
  int64_t unread = static_cast<int64_t>(sent);
  ASSERT_NO_FATAL_FAILURE(Settle());
  EXPECT_EQ(sender->unread(), unread);
  const auto stream = Begin(Id(1), kPayloadBytes, /*eager=*/false);
  ASSERT_NO_FATAL_FAILURE(Settle());
  EXPECT_EQ(sender->unread(), unread);
  for (size_t chunks = 1; chunks <= 2; ++chunks) {
    Find(Id(1))->Read();
    while (stream->sizes().size() < chunks) {
      sent += sender->SendUntilFull(payload.substr(sent));
    }
    sent += sender->SendUntilFull(payload.substr(sent));
    unread = static_cast<int64_t>(sent - kPayloadNumberSize -
                                  stream->bytes().size());
    EXPECT_GT(unread, 0);
    ASSERT_NO_FATAL_FAILURE(Settle());
    EXPECT_EQ(sender->unread(), unread);
    EXPECT_EQ(stream->sizes().size(), chunks);
  }
  EXPECT_TRUE(stream->bytes() ==
              payload.substr(kPayloadNumberSize, stream->bytes().size()));
}

TEST_F(DataConnectionTest, TheEndIsToldWhenItIsAskedFor) {
  const auto sender = Named(Id(1));
  const auto stream = Begin(Id(1), 3, /*eager=*/false);
  Find(Id(1))->Read();
  sender->SendNumber();
  ASSERT_TRUE(sender->Send("abc"));
  stream->AwaitChunks(1);
  ASSERT_NO_FATAL_FAILURE(Settle());
  Find(Id(1))->Read();
  EXPECT_EQ(stream->AwaitEnd(), "abc");
}

// Whose number, if it comes, nobody would read.
TEST_F(DataConnectionTest, APayloadOfNothingEndsAtOnceAndTheConnection) {
  const auto sender = Named(Id(1));
  const auto connection = Find(Id(1));
  const auto stream = Begin(Id(1), 0);
  connection->Read();
  EXPECT_EQ(stream->AwaitEnd(), "");
  EXPECT_EQ(connection->End(), 0);
  sender->ExpectClosed();
}

// What was sent for a push that the daemon never saw.
TEST_F(DataConnectionTest, AnotherPayloadThanThePushsIsAFault) {
  const auto sender = Named(Id(1));
  const auto connection = Find(Id(1));
  sender->SendNumber();
  ASSERT_TRUE(sender->Send("abc"));
  ++numbers_[Id(1)];
  const auto stream = Begin(Id(1), 3);
  sender->SendNumber();
  ASSERT_TRUE(sender->Send("def"));
  connection->Read();
  const absl::Status fault = stream->AwaitFault();
  EXPECT_EQ(fault.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetErrorInfo(fault).reason, Reason::kDataConnection);
  EXPECT_EQ(fault.message(),
            "the data connection does not carry payload 2 next");
  EXPECT_EQ(stream->bytes(), "");
  EXPECT_EQ(connection->End(), 0);
  sender->ExpectClosed();
}

TEST_F(DataConnectionTest, AnEndBeforeThePayloadWasWholeClosesIt) {
  for (const int64_t received : {0, 1, 5}) {
    const auto sender = Named(Id(1));
    const auto connection = Find(Id(1));
    const auto stream = Begin(Id(1), 300'000, /*eager=*/false);
    if (received > 0) {
      connection->Read();
      sender->SendNumber();
      ASSERT_TRUE(sender->Send(Payload(received)));
      ASSERT_NO_FATAL_FAILURE(sender->AwaitAllRead());
    }
    // What was not handed over counts for nothing.
    EXPECT_EQ(connection->End(), 0);
    sender->ExpectClosed();
    EXPECT_EQ(connections_->Find(Id(1)), nullptr);
    EXPECT_EQ(connections_->count(), 0);
    EXPECT_FALSE(connection->Begin(stream, 2, 1));
    connection->Read();
    EXPECT_EQ(stream->bytes(), "");
  }
}

TEST_F(DataConnectionTest, APeerThatLeavesInTheMiddleIsAFault) {
  constexpr int64_t kPiece = 256 << 10;
  for (const int64_t received : {int64_t{0}, kPiece, kPiece + 100}) {
    const auto sender = Named(Id(1));
    const auto connection = Find(Id(1));
    const auto stream = Begin(Id(1), kPayloadBytes);
    connection->Read();
    sender->SendNumber();
    ASSERT_TRUE(sender->Send(Payload(received)));
    sender->HangUp();
    const absl::Status fault = stream->AwaitFault();
    EXPECT_EQ(fault.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(GetErrorInfo(fault).reason, Reason::kDataConnection);
    const int64_t whole = received / kPiece * kPiece;
    EXPECT_EQ(fault.message(),
              absl::StrCat("the data connection ended, ", kPayloadBytes - whole,
                           " bytes of the payload were still to come"));
    EXPECT_EQ(static_cast<int64_t>(stream->bytes().size()), whole);
    EXPECT_EQ(connection->End(), whole);
    ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  }
}

TEST_F(DataConnectionTest, APeerThatLeavesWhilePushesWaitIsNoticedByTheRead) {
  const auto sender = Named(Id(1));
  const auto stream = Begin(Id(1), 10);
  ASSERT_TRUE(sender->Send("abc"));
  sender->HangUp();
  ASSERT_NO_FATAL_FAILURE(Settle());
  Find(Id(1))->Read();
  EXPECT_EQ(GetErrorInfo(stream->AwaitFault()).reason, Reason::kDataConnection);
}

// A call that is cancelled, against the thread that receives.
TEST_F(DataConnectionTest, AnEndMayComeAtAnyTime) {
  Start({.threads = 2, .first_use_timeout = kPatience});
  const std::string payload = Payload(kPayloadBytes);
  int whole = 0;
  for (int round = 0; round < 60; ++round) {
    const auto sender = Named(Id(1));
    const auto connection = Find(Id(1));
    const auto stream = Begin(Id(1), kPayloadBytes);
    connection->Read();
    std::thread sending([&] {
      sender->SendNumber();
      sender->Send(payload);
    });
    // In every fifth round when all of it is there.
    stream->AwaitChunks(static_cast<size_t>(round % 5 + 1));
    const int64_t received = connection->End();
    sending.join();
    EXPECT_GE(received,
              round % 5 == 4 ? kPayloadBytes : (round % 5 + 1) * (256 << 10));
    if (received == kPayloadBytes) {
      ++whole;
      const auto next = Begin(Id(1), 5);
      connection->Read();
      sender->SendNumber();
      ASSERT_TRUE(sender->Send("12345"));
      EXPECT_EQ(next->AwaitEnd(), "12345");
      EXPECT_EQ(connection->End(), 5);
      sender->HangUp();
    } else {
      sender->ExpectClosed();
    }
    ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
    EXPECT_TRUE(stream->bytes() == payload.substr(0, stream->bytes().size()));
  }
  EXPECT_GE(whole, 12);
}

TEST_F(DataConnectionTest, ManyConnectionsShareTheThread) {
  constexpr int kSenders = 4;
  // More than one turn's pieces.
  constexpr int64_t kBytes = 6 << 20;
  std::vector<std::unique_ptr<Sender>> senders;
  std::vector<std::shared_ptr<FakeStream>> streams;
  std::vector<std::thread> sending;
  for (int i = 0; i < kSenders; ++i) {
    senders.push_back(Named(Id(i)));
    streams.push_back(Begin(Id(i), kBytes));
    sending.emplace_back([&, i] {
      senders[i]->SendNumber();
      EXPECT_TRUE(senders[i]->Send(Payload(kBytes, i)));
    });
  }
  for (int i = 0; i < kSenders; ++i) Find(Id(i))->Read();
  for (int i = 0; i < kSenders; ++i) {
    EXPECT_TRUE(streams[i]->AwaitEnd() == Payload(kBytes, i)) << i;
    EXPECT_EQ(Find(Id(i))->End(), kBytes);
  }
  for (std::thread& thread : sending) thread.join();
}

}  // namespace
}  // namespace accrue
