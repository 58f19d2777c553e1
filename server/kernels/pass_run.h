// PassRun: a pass on its way: what its chunks share, and how it ends.
//
// Order.     Begin -> chunks, stage by stage -> End.
// Threading. Note and failed are safe; pass and sums as PassSums says.
#ifndef ACCRUE_SERVER_KERNELS_PASS_RUN_H_
#define ACCRUE_SERVER_KERNELS_PASS_RUN_H_

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/kernels/block.h"
#include "server/kernels/pass_sums.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

class PassRun {
 public:
  using Done = std::function<void(absl::StatusOr<PassResult>)>;

  // Null where CheckPass refuses the pass: `done` has been told why. `blocks`
  // outlive it.
  static std::shared_ptr<PassRun> Begin(const BlockMap& blocks, Pass pass,
                                        Done done);

  // Something went wrong, unless it is OK. The first error is the pass's.
  void Note(const absl::Status& status);
  // Chunks that have not begun need not begin.
  bool failed() const { return failed_; }
  // Nothing is left to do: tells `done`.
  void End();

  const Pass pass;
  PassSums sums;

 private:
  PassRun(const BlockMap& blocks, Pass the_pass, Done done);

  const Done done_;
  std::atomic<bool> failed_{false};
  Mutex mu_;
  absl::Status status_ ACCRUE_GUARDED_BY(mu_);
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_PASS_RUN_H_
