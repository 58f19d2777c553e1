#include "client/ctl/progress.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/ctl/format.h"

namespace accrue::ctl {
namespace {

constexpr int kBarWidth = 24;
constexpr absl::Duration kFirstDraw = absl::Milliseconds(500);
constexpr absl::Duration kRedraw = absl::Milliseconds(100);

}  // namespace

ProgressBar::ProgressBar(std::ostream& out, std::string title, bool shown,
                         absl::Time start)
    : out_(out),
      title_(std::move(title)),
      shown_(shown),
      start_(start),
      next_draw_(start + kFirstDraw) {}

void ProgressBar::Update(int64_t done_bytes, int64_t total_bytes,
                         absl::Time now) {
  if (!shown_ || now < next_draw_ || total_bytes <= 0) return;
  next_draw_ = now + kRedraw;
  const double fraction = std::clamp(
      static_cast<double>(done_bytes) / static_cast<double>(total_bytes), 0.0,
      1.0);
  const auto filled = static_cast<size_t>(fraction * kBarWidth);
  std::string bar(filled, '=');
  if (filled < kBarWidth) bar += '>';
  bar.resize(kBarWidth, ' ');
  const auto rate = static_cast<int64_t>(static_cast<double>(done_bytes) /
                                         absl::ToDoubleSeconds(now - start_));
  std::string line = absl::StrFormat(
      "%s  [%s] %3.0f %%  %s of %s  %s/s", title_, bar, fraction * 100,
      HumanBytes(done_bytes), HumanBytes(total_bytes), HumanBytes(rate));
  const size_t width = line.size();
  if (width < drawn_width_) line.append(drawn_width_ - width, ' ');
  drawn_width_ = width;
  out_ << '\r' << line << std::flush;
}

void ProgressBar::Finish() {
  if (drawn_width_ == 0) return;
  out_ << '\r' << std::string(drawn_width_, ' ') << '\r' << std::flush;
  drawn_width_ = 0;
}

}  // namespace accrue::ctl
