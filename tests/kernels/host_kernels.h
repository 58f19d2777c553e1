// HostKernels: the GPU's kernels without a GPU: what a thread of a kernel runs,
// compiled for the CPU, one thread after another, on a FakeGpu's streams.
#ifndef ACCRUE_TESTS_KERNELS_HOST_KERNELS_H_
#define ACCRUE_TESTS_KERNELS_HOST_KERNELS_H_

#include <memory>

#include "server/kernels/device_kernels.h"

namespace accrue::kernels {

std::unique_ptr<DeviceKernels> MakeHostKernels();

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_KERNELS_HOST_KERNELS_H_
