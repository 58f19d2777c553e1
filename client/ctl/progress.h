// ProgressBar: how far a transfer is, on one line of a terminal.
//
//   export  [=========>          ]  45 %  1.2 GiB of 2.6 GiB  1.1 GiB/s
//
// It appears only if the transfer lasts longer than half a second, and redraws
// ten times a second at most. Finish() leaves the line blank.

#ifndef ACCRUE_CLIENT_CTL_PROGRESS_H_
#define ACCRUE_CLIENT_CTL_PROGRESS_H_

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/time/time.h"

namespace accrue::ctl {

class ProgressBar {
 public:
  // Not `shown`: nothing is ever written.
  ProgressBar(std::ostream& out, std::string title, bool shown,
              absl::Time start);
  ~ProgressBar() { Finish(); }

  void Update(int64_t done_bytes, int64_t total_bytes, absl::Time now);
  void Finish();

 private:
  std::ostream& out_;
  const std::string title_;
  const bool shown_;
  const absl::Time start_;
  absl::Time next_draw_;
  size_t drawn_width_ = 0;
};

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_PROGRESS_H_
