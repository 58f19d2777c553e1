// gpu/push*: pushes from the host's memory through a whole shard.
// gpu/memory/*: what a GPU's memory is taken for, by the driver's account.
#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/base/byte_chain.h"
#include "server/device/gpu.h"
#include "server/kernels/block.h"
#include "server/kernels/device_kernels.h"
#include "server/kernels/device_shard.h"
#include "server/kernels/device_unit.h"
#include "server/kernels/shard.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/bench_gpu.h"
#include "tests/bench/context_peer.h"
#include "tests/bench/or_die.h"
#include "tests/bench/run_on_gpu.h"

namespace accrue::bench {
namespace {

using kernels::DeviceUnit;
using kernels::Shard;

const int64_t kPushElems = (int64_t{64} << 20) / kBenchScale;
const int64_t kPushBytes = kPushElems * 4;
// Of what a data connection assembles, and about of what gRPC receives:
// elements lie across its slices' ends.
constexpr int64_t kSlabBytes = int64_t{1} << 20;
constexpr int64_t kSliceBytes = 49'157;
constexpr int kPushes = 4;  // of different memory, beyond any cache
// BERT-Large's parameters.
const int64_t kMemoryElems = 340'000'000 / kBenchScale;

std::unique_ptr<DeviceUnit> NewUnit(Gpu& gpu) {
  return OrDie(DeviceUnit::Make(&gpu, MakeBenchKernels(), {}));
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

// A gradient as a transport leaves it: slices of pageable memory, each where
// the allocator had room. Its bytes are all the same: a small number.
ByteChain MakeGradient(int64_t slice_bytes) {
  ByteChain chain;
  while (chain.size_bytes() < kPushBytes) {
    const auto size = static_cast<size_t>(
        std::min(slice_bytes, kPushBytes - chain.size_bytes()));
    auto* const slice = new grpc::Slice(std::string(size, '\x3a'));
    chain.Append(
        slice->begin(), static_cast<int64_t>(size),
        {[](void* held) { delete static_cast<grpc::Slice*>(held); }, slice});
  }
  return chain;
}

void Fold(Shard& shard, const ByteChain& gradient) {
  kernels::Pass pass;
  pass.payloads.push_back({&gradient});
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

BenchResult RunPush(const BenchOptions& options, int64_t slice_bytes,
                    std::unique_ptr<Gpu> gpu) {
  const auto unit = NewUnit(*gpu);
  const auto shard = NewShard(*unit, kPushElems, rule::Optimizer::kAdamW,
                              /*classic=*/false);
  std::vector<ByteChain> gradients;
  for (int i = 0; i < kPushes; ++i) {
    gradients.push_back(MakeGradient(slice_bytes));
  }
  const Buffer pinned = OrDie(gpu->AllocateHost(
      kPushes * kPushBytes, MemoryTag::kOther, /*ledger=*/nullptr));
  const Buffer device = OrDie(gpu->Allocate(
      kPushes * kPushBytes, MemoryTag::kOther, /*ledger=*/nullptr));
  const auto stream = OrDie(gpu->NewStream());
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (const ByteChain& gradient : gradients) Fold(*shard, gradient);
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
           static_cast<double>(kMemoryElems);
  };
  return {.value = bytes_a_parameter(/*classic=*/false),
          .unit = "B/param",
          .baseline = bytes_a_parameter(/*classic=*/true),
          .less_is_better = true};
}

// What is there whatever the models: a GPU's ring.
BenchResult RunRing(std::unique_ptr<Gpu> gpu) {
  return {.value = BytesOf(*gpu, [&] { return NewUnit(*gpu); }) / 0x1p20,
          .unit = "MiB"};
}

// And the context. Without one nobody sees how much memory is free: so it is
// that of another process.
BenchResult RunContext(std::unique_ptr<Gpu> gpu) {
  return {.value = BytesOf(*gpu, StartContextPeer) / 0x1p20, .unit = "MiB"};
}

std::vector<RegisterCase> RegisterAll() {
  std::vector<RegisterCase> cases;
  for (const auto& [name, what, slice_bytes] :
       {std::tuple("gpu/push", "assembled", kSlabBytes),
        std::tuple("gpu/push/slices", "in gRPC's slices", kSliceBytes)}) {
    cases.emplace_back(
        BenchCase{name,
                  absl::StrCat("pushes of 256 MiB ", what,
                               ", each folded; a copy from pinned memory"),
                  [slice_bytes = slice_bytes](const BenchOptions& options) {
                    return RunOnGpu([&](std::unique_ptr<Gpu> gpu) {
                      return RunPush(options, slice_bytes, std::move(gpu));
                    });
                  }});
  }
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
      [](const BenchOptions&) { return RunOnGpu(RunRing); }});
  cases.emplace_back(BenchCase{
      "gpu/memory/context", "what a process takes that has loaded the kernels",
      [](const BenchOptions&) { return RunOnGpu(RunContext); }});
  return cases;
}

const std::vector<RegisterCase> kCases = RegisterAll();

}  // namespace
}  // namespace accrue::bench
