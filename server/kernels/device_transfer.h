// DeviceTransfer: floats between any memory of the host and a GPU's, through
// the staging ring.
//
// Units.     elements
// Order.     blocks until it is done. Of one array only one at a time.
// Errors.    INTERNAL: the device failed; what it was copied to is undefined.
// Threading. safe.
#ifndef ACCRUE_SERVER_KERNELS_DEVICE_TRANSFER_H_
#define ACCRUE_SERVER_KERNELS_DEVICE_TRANSFER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/device/staging_ring.h"

namespace accrue::kernels {

absl::Status CopyIn(StagingRing& ring, const float* host, int64_t count,
                    float* device);
absl::Status CopyOut(StagingRing& ring, const float* device, int64_t count,
                     float* host);
absl::Status SetToZero(StagingRing& ring, float* device, int64_t count);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_DEVICE_TRANSFER_H_
