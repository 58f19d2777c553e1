#include "server/kernels/device_kernels.h"

namespace accrue::kernels {

std::unique_ptr<DeviceKernels> MakeCudaKernels() { return nullptr; }

}  // namespace accrue::kernels
