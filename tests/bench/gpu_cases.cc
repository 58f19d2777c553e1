// gpu/fold/*, gpu/update/*: a launch against a copy on the device.
// gpu/cycle/*: a whole cycle of gradients that the device holds.
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/device/gpu.h"
#include "server/kernels/block.h"
#include "server/kernels/device_kernels.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/bench_gpu.h"
#include "tests/bench/or_die.h"
#include "tests/bench/run_on_gpu.h"

namespace accrue::bench {
namespace {

// 1 GiB an array: far beyond any cache.
const int64_t kElems = (int64_t{256} << 20) / kBenchScale;
const int64_t kArrayBytes = kElems * 4;
const int64_t kPatternBytes = kArrayBytes / 64;
// In a run, so that waiting for the last is a small part of it.
constexpr int kLaunches = 10;

// A GPU with a stream, and arrays of kElems small positive numbers in its
// memory: no sum overflows, nothing becomes denormal, and no division leaves
// its fast path.
class GpuArrays {
 public:
  explicit GpuArrays(Gpu* gpu)
      : gpu_(gpu),
        stream_(OrDie(gpu->NewStream())),
        pattern_(OrDie(
            gpu->AllocateHost(kPatternBytes, MemoryTag::kOther, nullptr))) {
    auto* const values = static_cast<float*>(pattern_.data());
    for (int64_t i = 0; i < kPatternBytes / 4; ++i) {
      values[i] = 1e-3f * static_cast<float>(1 + i % 7);
    }
  }

  Stream& stream() { return *stream_; }

  float* NewArray() {
    auto* const array = static_cast<float*>(Allocate(kArrayBytes));
    for (int64_t at = 0; at < kArrayBytes; at += kPatternBytes) {
      OrDie(stream_->CopyToDevice(reinterpret_cast<std::byte*>(array) + at,
                                  pattern_.data(), kPatternBytes));
    }
    return array;
  }

  // Device memory that holds a copy of `values`.
  template <class T>
  T* NewCopy(const std::vector<T>& values) {
    const auto size_bytes = static_cast<int64_t>(values.size() * sizeof(T));
    const Buffer pinned =
        OrDie(gpu_->AllocateHost(size_bytes, MemoryTag::kOther, nullptr));
    std::memcpy(pinned.data(), values.data(), static_cast<size_t>(size_bytes));
    void* const copy = Allocate(size_bytes);
    OrDie(stream_->CopyToDevice(copy, pinned.data(), size_bytes));
    OrDie(stream_->Synchronize());
    return static_cast<T*>(copy);
  }

 private:
  void* Allocate(int64_t size_bytes) {
    buffers_.push_back(
        OrDie(gpu_->Allocate(size_bytes, MemoryTag::kOther, nullptr)));
    return buffers_.back().data();
  }

  Gpu* const gpu_;
  std::vector<Buffer> buffers_;
  const std::unique_ptr<Stream> stream_;  // gone before what it works on
  const Buffer pattern_;
};

// What a launch does: it folds `pushes`, and updates or not.
struct Work {
  rule::Optimizer optimizer = rule::Optimizer::kSgd;
  int pushes = 1;
  bool update = false;

  // A parameter's, read and written.
  constexpr int64_t bytes() const {
    const int64_t moments = rule::HasSecondMoment(optimizer) ? 2 : 1;
    return 4 * (pushes + 2 * moments + (update ? 2 : 0));
  }
};

static_assert(Work{rule::Optimizer::kSgd}.bytes() == 12);
static_assert(Work{rule::Optimizer::kAdam}.bytes() == 20);
static_assert(Work{rule::Optimizer::kSgd, 1, /*update=*/true}.bytes() == 20);
static_assert(Work{rule::Optimizer::kAdam, 1, /*update=*/true}.bytes() == 28);

kernels::GroupWork GroupOf(const Work& work) {
  kernels::GroupWork group;
  group.push_count = work.pushes;
  for (int i = 0; i < work.pushes; ++i) {
    group.pushes[i] = {.keep1 = i == 0 ? 0.9f : 1.0f,
                       .gain1 = 0.1f,
                       .keep2 = i == 0 ? 0.99f : 1.0f,
                       .gain2 = 0.01f,
                       .first = i == 0};
  }
  group.adaptive = rule::HasSecondMoment(work.optimizer);
  group.wanted.fold_and_update = true;
  if (work.update) {
    group.stage = kernels::TileStage::kFoldAndUpdate;
    group.update = {.lr = 1e-6f, .inv_mass2 = 1.5f, .epsilon = 1e-8f};
  }
  return group;
}

std::vector<kernels::BlockWork> Blocks() {
  std::vector<kernels::BlockWork> blocks;
  for (const kernels::Block& block :
       kernels::MakeBlockMap({kElems}, {0}, 1).blocks) {
    blocks.push_back(
        {.offset = block.offset, .size = static_cast<int32_t>(block.size)});
  }
  return blocks;
}

// A launch of some work over all of a shard of one tensor.
class KernelBench {
 public:
  KernelBench(Gpu* gpu, const Work& work)
      : arrays_(gpu), kernels_(MakeBenchKernels()) {
    const std::vector<kernels::BlockWork> blocks = Blocks();
    launch_.blocks = arrays_.NewCopy(blocks);
    launch_.block_count = static_cast<int64_t>(blocks.size());
    launch_.groups = arrays_.NewCopy(std::vector{GroupOf(work)});
    launch_.flaw = arrays_.NewCopy(std::vector<uint32_t>{0});
    launch_.m = arrays_.NewArray();
    if (rule::HasSecondMoment(work.optimizer)) launch_.v = arrays_.NewArray();
    launch_.theta = arrays_.NewArray();
    for (int i = 0; i < work.pushes; ++i) launch_.x[i] = arrays_.NewArray();
    copy_ = arrays_.NewArray();
  }

  Stream& stream() { return arrays_.stream(); }
  const void* theta() const { return launch_.theta; }

  void Launch() { OrDie(kernels_->FoldAndUpdate(stream(), launch_)); }
  void Copy() {
    OrDie(CopyOnDevice(stream(), copy_, launch_.theta, kArrayBytes));
  }

 private:
  GpuArrays arrays_;
  const std::unique_ptr<kernels::DeviceKernels> kernels_;
  kernels::Launch launch_;
  void* copy_ = nullptr;
};

// Wall-clock time of kLaunches, and of as many copies.
BenchResult RunAgainstCopy(const BenchOptions& options, const Work& work,
                           Gpu* gpu) {
  KernelBench bench(gpu, work);
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (int i = 0; i < kLaunches; ++i) bench.Launch();
        OrDie(bench.stream().Synchronize());
      },
      [&] {
        for (int i = 0; i < kLaunches; ++i) bench.Copy();
        OrDie(bench.stream().Synchronize());
      });
  const double gigabytes = kLaunches * static_cast<double>(kElems) / 1e9;
  return {
      .value = static_cast<double>(work.bytes()) * gigabytes / timings.seconds,
      .unit = "GB/s",
      .baseline = 8 * gigabytes / timings.baseline_seconds};
}

BenchResult RunCycle(const BenchOptions& options, int k, bool to_host,
                     Gpu* gpu) {
  KernelBench bench(gpu, {rule::Optimizer::kAdam, k, /*update=*/true});
  Buffer published;
  if (to_host) {
    published = OrDie(gpu->AllocateHost(kArrayBytes, MemoryTag::kOther,
                                        /*ledger=*/nullptr));
  }
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (int i = 0; i < kLaunches; ++i) {
          bench.Launch();
          if (!to_host) continue;
          OrDie(bench.stream().CopyToHost(published.data(), bench.theta(),
                                          kArrayBytes));
        }
        OrDie(bench.stream().Synchronize());
      },
      [] {});
  return {.value = kLaunches * k * static_cast<double>(kElems) / 1e9 /
                   timings.seconds,
          .unit = "Gparams*pushes/s"};
}

RegisterCase AgainstCopy(const std::string& name, const std::string& what,
                         const Work& work) {
  return RegisterCase({name, what + "; a copy on the device, read and written",
                       [work](const BenchOptions& options) {
                         return RunOnGpu([&](std::unique_ptr<Gpu> gpu) {
                           return RunAgainstCopy(options, work, gpu.get());
                         });
                       }});
}

std::vector<RegisterCase> RegisterAll() {
  std::vector<RegisterCase> cases;
  for (const auto& [name, optimizer] :
       {std::pair("sgd", rule::Optimizer::kSgd),
        std::pair("adam", rule::Optimizer::kAdam)}) {
    for (const int j : {1, 4, 8}) {
      cases.push_back(AgainstCopy(
          "gpu/fold/" + std::string(name) + "/j" + std::to_string(j),
          "a launch that folds j pushes", {optimizer, j, /*update=*/false}));
    }
    cases.push_back(AgainstCopy("gpu/update/" + std::string(name),
                                "a launch that folds one push and updates",
                                {optimizer, 1, /*update=*/true}));
  }
  for (const int k : {4, 8}) {
    for (const bool to_host : {false, true}) {
      cases.emplace_back(BenchCase{
          "gpu/cycle/adam/k" + std::to_string(k) + (to_host ? "/to_host" : ""),
          to_host ? "likewise, and the new parameters to pinned memory"
                  : "k gradients on the device and the update in one launch",
          [k, to_host](const BenchOptions& options) {
            return RunOnGpu([&](std::unique_ptr<Gpu> gpu) {
              return RunCycle(options, k, to_host, gpu.get());
            });
          }});
    }
  }
  return cases;
}

const std::vector<RegisterCase> kCases = RegisterAll();

}  // namespace
}  // namespace accrue::bench
