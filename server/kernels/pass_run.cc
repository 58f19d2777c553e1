#include "server/kernels/pass_run.h"

#include <utility>

#include "server/kernels/pass_check.h"

namespace accrue::kernels {

std::shared_ptr<PassRun> PassRun::Begin(const BlockMap& blocks, Pass pass,
                                        Done done) {
  if (absl::Status status = CheckPass(blocks, pass); !status.ok()) {
    done(std::move(status));
    return nullptr;
  }
  return std::shared_ptr<PassRun>(
      new PassRun(blocks, std::move(pass), std::move(done)));
}

PassRun::PassRun(const BlockMap& blocks, Pass the_pass, Done done)
    : pass(std::move(the_pass)), sums(blocks, pass), done_(std::move(done)) {}

void PassRun::Note(const absl::Status& status) {
  if (status.ok()) return;
  MutexLock lock(&mu_);
  // One of its own, which no thread of the device holds on to.
  if (status_.ok()) status_ = absl::Status(status.code(), status.message());
  failed_ = true;
}

void PassRun::End() {
  absl::Status status;
  {
    MutexLock lock(&mu_);
    status = std::move(status_);
  }
  if (!status.ok()) return done_(std::move(status));
  done_(std::move(sums).Result());
}

}  // namespace accrue::kernels
