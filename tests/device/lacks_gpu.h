// LacksGpu: whether a machine has no GPU that Accrue can use, by OpenCudaGpus's
// error: then a test of one is skipped. Any other error is the test's failure:
// a GPU is there, and does not work.
#ifndef ACCRUE_TESTS_DEVICE_LACKS_GPU_H_
#define ACCRUE_TESTS_DEVICE_LACKS_GPU_H_

#include "absl/status/status.h"

namespace accrue {

inline bool LacksGpu(const absl::Status& error) {
  return absl::IsNotFound(error) || absl::IsFailedPrecondition(error);
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_DEVICE_LACKS_GPU_H_
