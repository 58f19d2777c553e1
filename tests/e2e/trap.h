// QueueTrap: a kernel that ends in a trap, upon which the process can do
// nothing more with its GPU.
//
// Order.     queued behind what the stream holds. Never blocks.
// Errors.    FAILED_PRECONDITION: Accrue was built without CUDA.
#ifndef ACCRUE_TESTS_E2E_TRAP_H_
#define ACCRUE_TESTS_E2E_TRAP_H_

#include "absl/status/status.h"
#include "server/device/gpu.h"

namespace accrue {

// On a stream of a GPU that OpenCudaGpus opened.
absl::Status QueueTrap(Stream& stream);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_TRAP_H_
