#include "server/device/card_cuda.h"

#include "absl/strings/str_cat.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

// After any other error the process can do nothing more with the device: some
// of those say so, and what a newer driver may say is not known.
bool IsHarmless(cudaError_t error) {
  switch (error) {
    case cudaErrorInvalidValue:
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidMemcpyDirection:
    case cudaErrorInvalidDevice:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorHostMemoryAlreadyRegistered:
    case cudaErrorNotSupported:
    case cudaErrorOperatingSystem:  // as where the host cannot pin memory
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string CudaErrorText(cudaError_t error) {
  return absl::StrCat(cudaGetErrorName(error), " (", cudaGetErrorString(error),
                      ")");
}

std::string Card::name() const { return absl::StrCat("cuda:", index_); }

absl::Status Card::Use() {
  ACCRUE_RETURN_IF_ERROR(health());
  return Check(cudaSetDevice(index_), "cudaSetDevice");
}

void Card::Enter() {
  cudaSetDevice(index_);
  cudaGetLastError();
}

absl::Status Card::Check(cudaError_t error, absl::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // or the next call would report it again
  absl::Status status = absl::InternalError(
      absl::StrCat(name(), ": ", what, ": ", CudaErrorText(error)));
  if (!IsHarmless(error)) {
    MutexLock lock(&mu_);
    if (lost_.ok()) lost_ = status;
  }
  return status;
}

void Card::Log(const absl::Status& status) const {
  if (!status.ok()) ACCRUE_LOG(error, "{}", status);
}

absl::Status Card::health() const {
  MutexLock lock(&mu_);
  return lost_;
}

}  // namespace accrue
