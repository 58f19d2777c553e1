// Faults: what befalls the models of faulty_daemon.h.
//
// Threading. safe.
#ifndef ACCRUE_TESTS_E2E_FAULTS_H_
#define ACCRUE_TESTS_E2E_FAULTS_H_

#include <memory>

#include "server/kernels/device_kernels.h"
#include "server/model/model.h"
#include "tests/e2e/fold_fault.h"

namespace accrue {

class Faults {
 public:
  ShardFactory WrapShards(ShardFactory inner) const;
  // Kernels of one GPU, which `loses` loses.
  std::unique_ptr<kernels::DeviceKernels> WrapKernels(
      std::unique_ptr<kernels::DeviceKernels> inner,
      FoldFault::Cause loses) const;

 private:
  const FoldFault fault_, loss_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_FAULTS_H_
