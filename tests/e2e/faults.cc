#include "tests/e2e/faults.h"

#include <utility>

#include "tests/e2e/faulty_daemon.h"
#include "tests/model/failing_shard.h"

namespace accrue {

ShardFactory Faults::WrapShards(ShardFactory inner) const {
  inner = FailingShards(kFaultyElems, kGoodPasses, std::move(inner));
  inner = fault_.WrapShards(kHalfFoldedElems, kGoodPasses, std::move(inner));
  return loss_.WrapShards(kLosingElems, kGoodPasses, std::move(inner));
}

std::unique_ptr<kernels::DeviceKernels> Faults::WrapKernels(
    std::unique_ptr<kernels::DeviceKernels> inner,
    FoldFault::Cause loses) const {
  return loss_.WrapKernels(fault_.WrapKernels(std::move(inner), FailKernel),
                           std::move(loses));
}

}  // namespace accrue
