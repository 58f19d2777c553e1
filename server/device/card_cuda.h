// Card: a CUDA device's index, and whether the process has lost it.
//
// Memory.    shared by a Gpu, its streams, its events and its memory.
// Errors.    INTERNAL: a call failed. After any error but a few the process can
//            do nothing more with the device, for good: it is lost.
// Threading. safe.
#ifndef ACCRUE_SERVER_DEVICE_CARD_CUDA_H_
#define ACCRUE_SERVER_DEVICE_CARD_CUDA_H_

#include <cuda_runtime_api.h>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/base/mutex.h"

namespace accrue {

// An error's name and description.
std::string CudaErrorText(cudaError_t error);

class Card {
 public:
  explicit Card(int index) : index_(index) {}

  std::string name() const;

  // Makes the device the calling thread's current one, before any other call.
  absl::Status Use();

  // Likewise for what waits, which must do so even if the GPU was lost: it may
  // still be copying. What is wrong the wait itself will say.
  void Enter();

  // Turns the error of `what` into a status, and loses the GPU if need be.
  absl::Status Check(cudaError_t error, absl::string_view what);

  // For what a destructor does: nobody can be told of its failure.
  void Log(const absl::Status& status) const;

  // OK, or the error that lost it.
  absl::Status health() const;

 private:
  const int index_;
  mutable Mutex mu_;
  absl::Status lost_ ACCRUE_GUARDED_BY(mu_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DEVICE_CARD_CUDA_H_
