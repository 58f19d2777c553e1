// gpu/push: pushes from the host's memory through a whole shard.
// gpu/memory/*: what a shard takes of a GPU, by the driver's account.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/base/byte_chain.h"
#include "server/device/gpu.h"
#include "server/kernels/block.h"
#include "server/kernels/device_kernels.h"
#include "server/kernels/device_shard.h"
#include "server/kernels/device_unit.h"
#include "server/kernels/shard.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/or_die.h"
#include "tests/bench/run_on_gpu.h"

namespace accrue::bench {
namespace {

using kernels::DeviceUnit;
using kernels::Shard;

constexpr int64_t kPushElems = int64_t{64} << 20;
constexpr int64_t kPushBytes = kPushElems * 4;
constexpr int64_t kSpanBytes = int64_t{1} << 20;
constexpr int kPushes = 4;  // of different memory, beyond any cache
// BERT-Large's parameters.
constexpr int64_t kMemoryElems = 340'000'000;

std::unique_ptr<DeviceUnit> NewUnit(Gpu& gpu) {
  return OrDie(DeviceUnit::Make(&gpu, kernels::MakeCudaKernels(), {}));
}

std::unique_ptr<Shard> NewShard(DeviceUnit& unit, int64_t elems,
                                rule::Optimizer optimizer, bool classic) {
  kernels::ShardOptions options;
  options.blocks = std::make_shared<const kernels::BlockMap>(
      kernels::MakeBlockMap({elems}, {0}, 1));
  options.has_variance = rule::HasSecondMoment(optimizer);
  options.has_accumulation = classic;
  return OrDie(kernels::MakeDeviceShard(options, {&unit}));
}

// A gradient as a transport leaves it: slices of pageable memory.
class Gradient {
 public:
  Gradient() : values_(kPushElems, 1e-3f) {
    for (int64_t at = 0; at < kPushBytes; at += kSpanBytes) {
      chain_.Append(reinterpret_cast<const std::byte*>(values_.data()) + at,
                    kSpanBytes, {});
    }
  }
  const ByteChain& chain() const { return chain_; }

 private:
  const std::vector<float> values_;
  ByteChain chain_;
};

void Fold(Shard& shard, const Gradient& gradient) {
  kernels::Pass pass;
  pass.payloads.push_back({&gradient.chain()});
  kernels::GroupPass group;
  group.optimizer = rule::Optimizer::kAdamW;
  group.pushes.push_back({.keep1 = 0.9f,
                          .gain1 = 0.1f,
                          .keep2 = 0.99f,
                          .gain2 = 0.01f,
                          .first = true});
  pass.groups.push_back(std::move(group));
  absl::Notification ended;
  shard.Run(std::move(pass), [&](absl::StatusOr<kernels::PassResult> result) {
    OrDie(std::move(result));
    ended.Notify();
  });
  ended.WaitForNotification();
}

BenchResult RunPush(const BenchOptions& options, std::unique_ptr<Gpu> gpu) {
  const auto unit = NewUnit(*gpu);
  const auto shard = NewShard(*unit, kPushElems, rule::Optimizer::kAdamW,
                              /*classic=*/false);
  const std::vector<Gradient> gradients(kPushes);
  const Buffer pinned = OrDie(gpu->AllocateHost(
      kPushes * kPushBytes, MemoryTag::kOther, /*ledger=*/nullptr));
  const Buffer device = OrDie(gpu->Allocate(
      kPushes * kPushBytes, MemoryTag::kOther, /*ledger=*/nullptr));
  const auto stream = OrDie(gpu->NewStream());
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (const Gradient& gradient : gradients) Fold(*shard, gradient);
      },
      [&] {
        OrDie(stream->CopyToDevice(device.data(), pinned.data(),
                                   kPushes * kPushBytes));
        OrDie(stream->Synchronize());
      });
  const double gigabytes = kPushes * static_cast<double>(kPushBytes) / 1e9;
  return {.value = gigabytes / timings.seconds,
          .unit = "GB/s",
          .baseline = gigabytes / timings.baseline_seconds};
}

// What `make` takes of the GPU while what it returns lives.
template <class Make>
double BytesOf(Gpu& gpu, const Make& make) {
  const int64_t free_bytes = OrDie(gpu.memory()).free_bytes;
  const auto taken = make();
  return static_cast<double>(free_bytes - OrDie(gpu.memory()).free_bytes);
}

BenchResult RunMemory(rule::Optimizer optimizer, std::unique_ptr<Gpu> gpu) {
  const auto unit = NewUnit(*gpu);
  const auto bytes_a_parameter = [&](bool classic) {
    return BytesOf(*gpu,
                   [&] {
                     return NewShard(*unit, kMemoryElems, optimizer, classic);
                   }) /
           kMemoryElems;
  };
  return {.value = bytes_a_parameter(/*classic=*/false),
          .unit = "B/param",
          .baseline = bytes_a_parameter(/*classic=*/true),
          .less_is_better = true};
}

// What is there whatever the models: a GPU's ring.
BenchResult RunConstant(std::unique_ptr<Gpu> gpu) {
  return {.value = BytesOf(*gpu, [&] { return NewUnit(*gpu); }) / 0x1p20,
          .unit = "MiB"};
}

std::vector<RegisterCase> RegisterAll() {
  std::vector<RegisterCase> cases;
  cases.emplace_back(BenchCase{
      "gpu/push", "pushes of 256 MiB, each folded; a copy from pinned memory",
      [](const BenchOptions& options) {
        return RunOnGpu([&](std::unique_ptr<Gpu> gpu) {
          return RunPush(options, std::move(gpu));
        });
      }});
  for (const auto& [name, optimizer] :
       {std::pair("sgd", rule::Optimizer::kSgd),
        std::pair("adam", rule::Optimizer::kAdam)}) {
    cases.emplace_back(
        BenchCase{"gpu/memory/" + std::string(name),
                  "a shard of 340 M parameters; with a buffer for gradients",
                  [optimizer = optimizer](const BenchOptions&) {
                    return RunOnGpu([&](std::unique_ptr<Gpu> gpu) {
                      return RunMemory(optimizer, std::move(gpu));
                    });
                  }});
  }
  cases.emplace_back(BenchCase{
      "gpu/memory/ring", "what a GPU's ring takes, whatever the models",
      [](const BenchOptions&) { return RunOnGpu(RunConstant); }});
  return cases;
}

const std::vector<RegisterCase> kCases = RegisterAll();

}  // namespace
}  // namespace accrue::bench
