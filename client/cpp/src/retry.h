// Retry: whether, and when, to attempt a call again.
//
//   Retry retry(options, deadline);
//   do {
//     status = Attempt();
//   } while (!status.ok() && Retryable(status) && retry.Wait(status));
//
// Threading. compatible

#ifndef ACCRUE_CLIENT_CPP_SRC_RETRY_H_
#define ACCRUE_CLIENT_CPP_SRC_RETRY_H_

#include <random>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "accrue/client.h"

namespace accrue::client::internal {

class Retry {
 public:
  Retry(const ClientOptions& options, absl::Time deadline);

  // How long to wait after this error: the backoff, or what the daemon asks
  // for. Each call doubles the backoff.
  absl::Duration Next(const absl::Status& error);

  // Waits that long. False, at once: the deadline would pass meanwhile.
  bool Wait(const absl::Status& error);

  // After a success: the next error starts with the initial backoff.
  void Reset() { backoff_ = initial_backoff_; }

 private:
  const absl::Duration initial_backoff_;
  const absl::Duration max_backoff_;
  const absl::Time deadline_;
  absl::Duration backoff_;
  std::minstd_rand random_;
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_RETRY_H_
