// DeviceBackend: shards on GPUs: on fake ones, which run the kernels' code on
// the host, and on real ones where there are any.
//
// Threading. compatible.
#ifndef ACCRUE_TESTS_CONFORMANCE_DEVICE_BACKEND_H_
#define ACCRUE_TESTS_CONFORMANCE_DEVICE_BACKEND_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "server/kernels/device_shard.h"
#include "server/kernels/device_unit.h"
#include "tests/conformance/shard_conformance.h"
#include "tests/device/fake_gpu.h"

namespace accrue::kernels {

// Units of few and small slots, so that little work is enough to fill them.
std::unique_ptr<DeviceUnit> MakeSmallUnit(
    Gpu* gpu, std::unique_ptr<DeviceKernels> kernels);

// Shards on all of its units, however few elements each gets.
class DeviceShardMaker : public ShardMaker {
 public:
  // Units by turns on the GPUs, so that one GPU may have several parts of a
  // shard.
  DeviceShardMaker(
      std::vector<std::unique_ptr<Gpu>> gpus, size_t unit_count,
      const std::function<std::unique_ptr<DeviceKernels>()>& make_kernels);

  absl::StatusOr<std::unique_ptr<Shard>> Make(
      const ShardOptions& options) override;

 private:
  const std::vector<std::unique_ptr<Gpu>> gpus_;
  std::vector<std::unique_ptr<DeviceUnit>> units_;
};

// Fake ones, each with the options, and names and seeds of their own.
std::unique_ptr<DeviceShardMaker> MakeFakeGpus(const FakeGpuOptions& options,
                                               int count, size_t unit_count);

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_CONFORMANCE_DEVICE_BACKEND_H_
