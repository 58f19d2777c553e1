#include "tests/e2e/trap.h"

namespace accrue {

absl::Status QueueTrap(Stream&) {
  return absl::FailedPreconditionError("Accrue was built without CUDA");
}

}  // namespace accrue
