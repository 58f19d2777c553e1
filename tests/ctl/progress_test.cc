#include "client/ctl/progress.h"

#include <algorithm>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace accrue::ctl {
namespace {

const absl::Time kStart = absl::UnixEpoch();

TEST(ProgressTest, AShortTransferShowsNothing) {
  std::ostringstream out;
  ProgressBar bar(out, "export", true, kStart);
  bar.Update(50, 100, kStart + absl::Milliseconds(499));
  bar.Finish();
  EXPECT_EQ(out.str(), "");
}

TEST(ProgressTest, ALongTransferShowsHowFarItIs) {
  std::ostringstream out;
  ProgressBar bar(out, "export", true, kStart);
  bar.Update(int64_t{1} << 30, int64_t{4} << 30, kStart + absl::Seconds(1));
  EXPECT_EQ(out.str(),
            "\rexport  [======>                 ]  25 %  1.0 GiB of 4.0 GiB  "
            "1.0 GiB/s");
}

TEST(ProgressTest, ItRedrawsAtMostTenTimesASecond) {
  std::ostringstream out;
  ProgressBar bar(out, "export", true, kStart);
  for (int i = 0; i < 2000; ++i) {
    bar.Update(i, 2000, kStart + absl::Milliseconds(i));
  }
  const std::string text = out.str();
  // From 500 ms on, every 100 ms, to 1,999 ms.
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 15);
}

TEST(ProgressTest, FinishLeavesTheLineBlank) {
  std::ostringstream out;
  ProgressBar bar(out, "x", true, kStart);
  bar.Update(1, 2, kStart + absl::Seconds(1));
  const size_t width = out.str().size() - 1;
  out.str("");
  bar.Finish();
  EXPECT_EQ(out.str(), "\r" + std::string(width, ' ') + "\r");
}

TEST(ProgressTest, NobodyIsShownAnythingWithoutATerminal) {
  std::ostringstream out;
  ProgressBar bar(out, "export", false, kStart);
  bar.Update(1, 2, kStart + absl::Minutes(1));
  bar.Finish();
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace accrue::ctl
