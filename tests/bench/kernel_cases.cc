// fold/*, update/*: a pass against a plain stream over the same arrays.
// cycle/*: k pushes and the update in one pass against one pass for each.
// gather/*: a cycle of k held pushes against a plain stream.
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/base/byte_chain.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "server/kernels/block.h"
#include "server/kernels/shard.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/or_die.h"
#include "tests/bench/stream.h"

namespace accrue::bench {
namespace {

using kernels::GroupPass;
using kernels::Pass;

// 256 MiB an array: far beyond any cache.
constexpr int64_t kElems = int64_t{64} << 20;
constexpr int64_t kStreamChunkElems = int64_t{1} << 18;

// The CPU, with a note of where each array lies.
class NotedDevice : public Device {
 public:
  std::string name() const override { return cpu_->name(); }
  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override {
    absl::StatusOr<Buffer> buffer = cpu_->Allocate(size_bytes, tag, ledger);
    if (buffer.ok()) arrays_.push_back(static_cast<float*>(buffer->data()));
    return buffer;
  }
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override {
    return cpu_->AllocateHost(size_bytes, tag, ledger);
  }
  const std::vector<float*>& arrays() const { return arrays_; }

 private:
  const std::unique_ptr<Device> cpu_ = MakeCpuDevice();
  std::vector<float*> arrays_;
};

int ThreadCount(const BenchOptions& options) {
  return options.threads > 0
             ? options.threads
             : static_cast<int>(std::thread::hardware_concurrency());
}

// A shard of one tensor with gradients and parameters to run passes on.
class ShardBench {
 public:
  ShardBench(const BenchOptions& options, rule::Optimizer optimizer,
             int gradient_count)
      : optimizer_(optimizer),
        pool_(ThreadCount(options)),
        lane_(pool_.NewLane()) {
    kernels::ShardOptions shard_options;
    shard_options.blocks = std::make_shared<const kernels::BlockMap>(
        kernels::MakeBlockMap({kElems}, {0}, 1));
    shard_options.has_variance = rule::HasSecondMoment(optimizer);
    shard_ =
        OrDie(kernels::MakeCpuShard(shard_options, &device_, &pool_, lane_));
    for (int i = 0; i < gradient_count + 2; ++i) {
      host_arrays_.push_back(OrDie(device_.AllocateHost(
          kElems * 4, MemoryTag::kOther, /*ledger=*/nullptr)));
    }
    for (int i = 0; i < gradient_count; ++i) {
      chains_.push_back(ByteChain::View(Host(i), kElems * 4));
    }
    Fill();
  }

  // All gradients as a cycle that was gathered.
  void RunGatheringPass() {
    GroupPass group;
    group.optimizer = optimizer_;
    group.buffering = rule::Buffering::kGather;
    for (size_t i = 0; i < chains_.size(); ++i) {
      group.pushes.push_back({.first = i == 0});
    }
    group.buffer_fold = {.mean = 1.0f / static_cast<float>(chains_.size()),
                         .keep1 = 0.9f,
                         .gain1 = 0.1f,
                         .keep2 = 0.99f,
                         .gain2 = 0.01f};
    RunGroup(std::move(group), 0, static_cast<int>(chains_.size()),
             /*update=*/true);
  }

  // One pass over gradients [first, first + count).
  void RunPass(int first, int count, bool update) {
    GroupPass group;
    group.optimizer = optimizer_;
    for (int i = first; i < first + count; ++i) {
      group.pushes.push_back({.keep1 = i == 0 ? 0.9f : 1.0f,
                              .gain1 = 0.1f,
                              .keep2 = i == 0 ? 0.99f : 1.0f,
                              .gain2 = 0.01f,
                              .first = i == 0});
    }
    RunGroup(std::move(group), first, count, update);
  }

  // What a pass over all gradients reads and writes.
  StreamArrays ArraysOf(bool update) const {
    StreamArrays arrays;
    for (size_t i = 0; i < chains_.size(); ++i) {
      arrays.reads.push_back(Host(static_cast<int>(i)));
    }
    arrays.updates = device_.arrays();
    if (update) {
      arrays.reads.push_back(Theta());
      arrays.writes.push_back(Next());
    }
    return arrays;
  }

  void RunStream(const StreamArrays& arrays) {
    RunChunks([&](int64_t begin, int64_t end) { Stream(arrays, begin, end); });
  }

 private:
  void RunGroup(GroupPass group, int first, int count, bool update) {
    Pass pass;
    for (int i = first; i < first + count; ++i) {
      pass.payloads.push_back({&chains_[static_cast<size_t>(i)]});
    }
    group.theta = Theta();
    group.next = Next();
    if (update) {
      group.update = {.lr = 1e-3f, .inv_mass2 = 1.5f, .epsilon = 1e-8f};
    }
    pass.groups.push_back(std::move(group));
    absl::Notification ended;
    shard_->Run(std::move(pass), [&](absl::StatusOr<kernels::PassResult> r) {
      OrDie(std::move(r));
      ended.Notify();
    });
    ended.WaitForNotification();
  }

  float* Host(int i) const {
    return static_cast<float*>(host_arrays_[static_cast<size_t>(i)].data());
  }
  float* Theta() const { return Host(static_cast<int>(chains_.size())); }
  float* Next() const { return Host(static_cast<int>(chains_.size()) + 1); }

  void RunChunks(const std::function<void(int64_t, int64_t)>& body) {
    absl::Notification ended;
    pool_.Run(
        lane_, kElems / kStreamChunkElems,
        [&](int64_t chunk) {
          body(chunk * kStreamChunkElems, (chunk + 1) * kStreamChunkElems);
        },
        [&] { ended.Notify(); });
    ended.WaitForNotification();
  }

  // Small positive numbers: no sum overflows, nothing becomes denormal.
  void Fill() {
    std::vector<float*> arrays = device_.arrays();
    for (const Buffer& buffer : host_arrays_) {
      arrays.push_back(static_cast<float*>(buffer.data()));
    }
    RunChunks([&](int64_t begin, int64_t end) {
      for (float* const array : arrays) {
        for (int64_t i = begin; i < end; ++i) {
          array[i] = 1e-3f * static_cast<float>(1 + i % 7);
        }
      }
    });
  }

  const rule::Optimizer optimizer_;
  NotedDevice device_;
  WorkPool pool_;
  const WorkPool::Lane lane_;
  std::unique_ptr<kernels::Shard> shard_;
  std::vector<Buffer> host_arrays_;  // gradients, theta, next
  std::vector<ByteChain> chains_;
};

double Gigabytes(const StreamArrays& arrays) {
  return static_cast<double>(arrays.reads.size() + 2 * arrays.updates.size() +
                             arrays.writes.size()) *
         4 * static_cast<double>(kElems) / 1e9;
}

BenchResult RunAgainstStream(const BenchOptions& options,
                             rule::Optimizer optimizer, int pushes,
                             bool update) {
  ShardBench bench(options, optimizer, pushes);
  const StreamArrays arrays = bench.ArraysOf(update);
  const Timings timings = MeasureInterleaved(
      options.min_seconds, [&] { bench.RunPass(0, pushes, update); },
      [&] { bench.RunStream(arrays); });
  const double gigabytes = Gigabytes(arrays);
  return {.value = gigabytes / timings.seconds,
          .unit = "GB/s",
          .baseline = gigabytes / timings.baseline_seconds};
}

BenchResult RunGather(const BenchOptions& options, int k) {
  ShardBench bench(options, rule::Optimizer::kAdam, k);
  const StreamArrays arrays = bench.ArraysOf(/*update=*/true);
  const Timings timings = MeasureInterleaved(
      options.min_seconds, [&] { bench.RunGatheringPass(); },
      [&] { bench.RunStream(arrays); });
  const double gigabytes = Gigabytes(arrays);
  return {.value = gigabytes / timings.seconds,
          .unit = "GB/s",
          .baseline = gigabytes / timings.baseline_seconds};
}

BenchResult RunCycle(const BenchOptions& options, int k) {
  ShardBench bench(options, rule::Optimizer::kAdam, k);
  const Timings timings = MeasureInterleaved(
      options.min_seconds, [&] { bench.RunPass(0, k, /*update=*/true); },
      [&] {
        for (int i = 0; i < k; ++i) bench.RunPass(i, 1, i + 1 == k);
      });
  const double folded = k * static_cast<double>(kElems) / 1e9;
  return {.value = folded / timings.seconds,
          .unit = "Gparams*pushes/s",
          .baseline = folded / timings.baseline_seconds};
}

std::vector<RegisterCase> RegisterAll() {
  std::vector<RegisterCase> cases;
  for (const auto& [name, optimizer] :
       {std::pair("sgd", rule::Optimizer::kSgd),
        std::pair("adam", rule::Optimizer::kAdam)}) {
    for (const int j : {1, 4, 8}) {
      cases.emplace_back(BenchCase{
          "fold/" + std::string(name) + "/j" + std::to_string(j),
          "a pass that folds j pushes; a stream over the same arrays",
          [=, optimizer = optimizer](const BenchOptions& options) {
            return RunAgainstStream(options, optimizer, j, /*update=*/false);
          }});
    }
    cases.emplace_back(BenchCase{
        "update/" + std::string(name),
        "a pass that folds one push and updates; a stream over the same arrays",
        [optimizer = optimizer](const BenchOptions& options) {
          return RunAgainstStream(options, optimizer, 1, /*update=*/true);
        }});
  }
  for (const int k : {4, 8}) {
    cases.emplace_back(BenchCase{
        "cycle/adam/k" + std::to_string(k),
        "k pushes and the update in one pass; in k passes",
        [k](const BenchOptions& options) { return RunCycle(options, k); }});
    cases.emplace_back(BenchCase{
        "gather/adam/k" + std::to_string(k),
        "a cycle of k held pushes in one pass; a stream over the same arrays",
        [k](const BenchOptions& options) { return RunGather(options, k); }});
  }
  return cases;
}

const std::vector<RegisterCase> kCases = RegisterAll();

}  // namespace
}  // namespace accrue::bench
