#include "client/examples/fashion_mnist/display.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace accrue::fashion_mnist {

std::string ProgressLine(const Progress& progress) {
  const auto real = [](const std::optional<double>& value, int digits) {
    return value.has_value() ? absl::StrFormat("%.*f", digits, *value)
                             : std::string("-");
  };
  return absl::StrFormat(
      "epoch %d/%d  loss %s  train %s  test %s  version %d  %.0f pushes/s",
      progress.epoch, progress.epochs, real(progress.loss, 4),
      real(progress.train_accuracy, 4), real(progress.test_accuracy, 4),
      progress.version, progress.pushes_per_second);
}

void Display::Draw(const std::string& line) {
  // Blanks over what was longer.
  out_ << '\r' << line
       << std::string(drawn_width_ - std::min(drawn_width_, line.size()), ' ');
  drawn_width_ = line.size();
}

void Display::Update(const Progress& progress) {
  if (!is_terminal_) return;
  Draw(ProgressLine(progress));
  out_ << std::flush;
}

void Display::EpochDone(const Progress& progress) {
  if (is_terminal_) {
    Draw(ProgressLine(progress));
    drawn_width_ = 0;
  } else {
    out_ << ProgressLine(progress);
  }
  out_ << std::endl;
}

}  // namespace accrue::fashion_mnist
