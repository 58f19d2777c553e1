#include "client/examples/fashion_mnist/display.h"

#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "client/examples/fashion_mnist/coordinator.h"

namespace accrue::fashion_mnist {
namespace {

Progress SomeProgress() {
  return {.epoch = 3,
          .epochs = 12,
          .version = 702,
          .loss = 0.31214,
          .train_accuracy = 0.892,
          .test_accuracy = 0.8714,
          .pushes_per_second = 1204.4};
}

TEST(DisplayTest, WhatIsNotKnownYetIsADash) {
  EXPECT_EQ(ProgressLine({.epochs = 2}),
            "epoch 0/2  loss -  train -  test -  version 0  0 pushes/s");
  EXPECT_EQ(ProgressLine(SomeProgress()),
            "epoch 3/12  loss 0.3121  train 0.8920  test 0.8714  version 702  "
            "1204 pushes/s");
}

TEST(DisplayTest, WithoutATerminalOnlyEpochsAreLines) {
  std::ostringstream out;
  Display display(out, false);
  display.Update(SomeProgress());
  EXPECT_EQ(out.str(), "");
  display.EpochDone(SomeProgress());
  EXPECT_EQ(out.str(), ProgressLine(SomeProgress()) + "\n");
}

TEST(DisplayTest, OnATerminalOneLineIsRedrawn) {
  std::ostringstream out;
  Display display(out, true);
  display.Update(SomeProgress());
  Progress shorter = SomeProgress();
  shorter.loss.reset();
  display.Update(shorter);
  EXPECT_EQ(out.str(), "\r" + ProgressLine(SomeProgress()) + "\r" +
                           ProgressLine(shorter) + std::string(5, ' '));
}

TEST(OutcomeTest, ItIsOneLine) {
  EXPECT_EQ(OutcomeLine({.test_accuracy = 0.8912,
                         .versions = 2808,
                         .pushes = 11232,
                         .accumulation_buffer_bytes = 0,
                         .published_bytes = 1881168}),
            "test_accuracy=0.8912 versions=2808 pushes=11232 "
            "accumulation_buffer_bytes=0 published_bytes=1881168");
}

}  // namespace
}  // namespace accrue::fashion_mnist
