#include "server/service/turn_queue.h"

#include <chrono>
#include <deque>
#include <future>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/work_pool.h"

namespace accrue {
namespace {

using Turn = TurnQueue::Turn;

class TurnQueueTest : public ::testing::Test {
 protected:
  // Hands on the turn of each piece that begins.
  void Post() {
    auto& begun = begun_.emplace_back();
    queue_.Post([&begun](Turn turn) { begun.set_value(std::move(turn)); });
  }
  Turn Begun(size_t i) { return begun_[i].get_future().get(); }

  std::deque<std::promise<Turn>> begun_;
  WorkPool pool_{2};
  TurnQueue queue_{&pool_, 2};
};

TEST_F(TurnQueueTest, WhatComesBeyondTheTurnsBeginsWhenOneEndsInOrder) {
  for (int i = 0; i < 5; ++i) Post();
  Turn first = Begun(0);
  Turn second = Begun(1);
  Turn copy = first;
  first.reset();
  second.reset();
  EXPECT_NE(Begun(2), nullptr);  // ends at once
  EXPECT_NE(Begun(3), nullptr);
  EXPECT_NE(Begun(4), nullptr);
  copy.reset();
  Post();
  Post();
  first = Begun(5);
  second = Begun(6);
}

TEST_F(TurnQueueTest, NoMoreGoOnAtOnceAndNoThreadIsKept) {
  for (int i = 0; i < 200; ++i) Post();
  std::vector<Turn> turns = {Begun(0), Begun(1)};
  // All that is queued on the pool by now has run: the third did not begin.
  std::promise<void> ran;
  pool_.Post(pool_.NewLane(), [&] { ran.set_value(); });
  ran.get_future().wait();
  auto third = begun_[2].get_future();
  EXPECT_EQ(third.wait_for(std::chrono::seconds(0)),
            std::future_status::timeout);
  turns.pop_back();
  turns.back() = third.get();
  for (size_t i = 3; i < begun_.size(); ++i) turns.back() = Begun(i);
}

}  // namespace
}  // namespace accrue
