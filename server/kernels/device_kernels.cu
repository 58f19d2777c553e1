#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/device/gpu_cuda.h"
#include "server/kernels/device_kernels.h"

namespace accrue::kernels {
namespace {

#define ACCRUE_ELEMENT __device__ __forceinline__
#define ACCRUE_LAMBDA
#include "server/base/bits-inl.h"
#include "server/base/conversion-inl.h"
#include "server/kernels/element-inl.h"
#include "server/kernels/elements-inl.h"
#include "server/kernels/quad-inl.h"
#include "server/kernels/recode-inl.h"
#include "server/kernels/thread_pass-inl.h"
#include "server/kernels/thread_sums-inl.h"
#undef ACCRUE_LAMBDA
#undef ACCRUE_ELEMENT

// A warp sums two Blocks. No more of them are in a thread block, so that a few
// Blocks spread over many multiprocessors.
constexpr int kSumThreads = 32;
constexpr int kSummedBlocks = kSumThreads / kSumLanes;
constexpr unsigned kAllLanes = 0xffffffff;

constexpr int kRecodeThreads = 256;

// Thread blocks on a multiprocessor: as many as have room for their registers
// without spilling any. Of each of their 768 threads there are then two to four
// loads of 16 bytes on their way.
constexpr int kBlocksAtOnce = 3;

// A group's work in shared memory, which every thread of the thread block must
// ask for: scalars read from there are near, whatever has been stored since.
__device__ const GroupWork& Share(const GroupWork& group) {
  using Word = uint32_t;
  static_assert(sizeof(GroupWork) % sizeof(Word) == 0);
  __shared__ alignas(GroupWork) Word shared[sizeof(GroupWork) / sizeof(Word)];
  const auto* const words = reinterpret_cast<const Word*>(&group);
  for (unsigned i = threadIdx.x; i < sizeof(GroupWork) / sizeof(Word);
       i += kBlockThreads) {
    shared[i] = words[i];
  }
  __syncthreads();
  return *reinterpret_cast<const GroupWork*>(shared);
}

__global__ void __launch_bounds__(kBlockThreads, kBlocksAtOnce)
    FoldAndUpdateKernel(const __grid_constant__ Launch launch) {
  const BlockWork block = launch.blocks[blockIdx.x];
  const GroupWork& group = Share(launch.groups[block.group]);
  if (!group.wanted.fold_and_update) return;
  const auto thread = static_cast<int>(threadIdx.x);
  if (!FoldAndUpdateThread(launch, block, group, thread)) *launch.flaw = 1;
}

__global__ void __launch_bounds__(kBlockThreads)
    StepLambKernel(const __grid_constant__ Launch launch) {
  const BlockWork block = launch.blocks[blockIdx.x];
  const GroupWork& group = Share(launch.groups[block.group]);
  if (!group.wanted.step_lamb) return;
  StepLambThread(launch, block, group, static_cast<int>(threadIdx.x));
}

// sum(block, group, lane) of the Blocks whose group wants the kernel. Lanes of
// others come along: a warp's threads meet to add theirs up.
template <int kSums, class Sum>
__device__ void SumBlocks(const Launch& launch, bool WantedKernels::*kernel,
                          const Sum& sum) {
  const auto lane = static_cast<int>(threadIdx.x % kSumLanes);
  const int64_t b =
      int64_t{blockIdx.x} * kSummedBlocks + threadIdx.x / kSumLanes;
  LaneSums<kSums> sums = {};
  bool summed = false;
  if (b < launch.block_count) {
    const BlockWork block = launch.blocks[b];
    const GroupWork& group = launch.groups[block.group];
    summed = group.wanted.*kernel;
    if (summed) sums = sum(block, group, lane);
  }
  for (int s = 0; s < kSums; ++s) {
    double total = 0;
    for (int from = 0; from < kSumLanes; ++from) {
      total += __shfl_sync(kAllLanes, sums.of[s], from, kSumLanes);
    }
    if (summed && lane == 0) launch.sums[b * kSums + s] = total;
  }
}

__global__ void __launch_bounds__(kSumThreads)
    SumClippedKernel(const __grid_constant__ Launch launch) {
  SumBlocks<1>(launch, &WantedKernels::sum_clipped,
               [&](const BlockWork& block, const GroupWork& group, int lane) {
                 return SumClippedLane(launch, block, group, lane);
               });
}

__global__ void __launch_bounds__(kSumThreads)
    SumTrustKernel(const __grid_constant__ Launch launch) {
  SumBlocks<2>(launch, &WantedKernels::sum_trust,
               [&](const BlockWork& block, const GroupWork& group, int lane) {
                 return SumTrustLane(launch, block, group, lane);
               });
}

__global__ void __launch_bounds__(kSumThreads)
    SumMomentumKernel(const __grid_constant__ Launch launch) {
  SumBlocks<1>(launch, &WantedKernels::sum_momentum,
               [&](const BlockWork& block, const GroupWork&, int lane) {
                 return SumMomentumLane(launch, block, lane);
               });
}

__global__ void __launch_bounds__(kRecodeThreads)
    DecodeKernel(const __grid_constant__ DecodeLaunch launch, int64_t items) {
  const int64_t i = int64_t{blockIdx.x} * kRecodeThreads + threadIdx.x;
  if (i < items) DecodeItem(launch, i);
}

__global__ void __launch_bounds__(kRecodeThreads)
    EncodeKernel(const __grid_constant__ EncodeLaunch launch, int64_t items) {
  const int64_t i = int64_t{blockIdx.x} * kRecodeThreads + threadIdx.x;
  if (i < items) EncodeItem(launch, i);
}

// How a kernel is launched over items, so many to a thread block.
struct Grid {
  const char* kernel;
  int64_t items;
  int items_per_block;
  int threads;
};

template <class... Args>
absl::Status Start(Stream& stream, const Grid& grid, void (*kernel)(Args...),
                   const std::type_identity_t<Args>&... args) {
  const int64_t blocks =
      (grid.items + grid.items_per_block - 1) / grid.items_per_block;
  if (blocks == 0) return absl::OkStatus();
  if (blocks > std::numeric_limits<int32_t>::max()) {
    return absl::InternalError(
        absl::StrCat(grid.kernel, ": ", grid.items, " items are too many"));
  }
  ACCRUE_ASSIGN_OR_RETURN(const cudaStream_t cuda_stream, CudaStreamOf(stream));
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(grid.threads),
           0, cuda_stream>>>(args...);
  return CheckLaunch(stream, grid.kernel);
}

Grid OverBlocks(const char* kernel, const Launch& launch) {
  return {kernel, launch.block_count, 1, kBlockThreads};
}

Grid OverSums(const char* kernel, const Launch& launch) {
  return {kernel, launch.block_count, kSummedBlocks, kSumThreads};
}

Grid OverElements(const char* kernel, int64_t items) {
  return {kernel, items, kRecodeThreads, kRecodeThreads};
}

class CudaKernels : public DeviceKernels {
 public:
  absl::Status Load(Stream& stream) override {
    ACCRUE_RETURN_IF_ERROR(CudaStreamOf(stream).status());
    const void* const kernels[] = {
        reinterpret_cast<const void*>(FoldAndUpdateKernel),
        reinterpret_cast<const void*>(SumClippedKernel),
        reinterpret_cast<const void*>(SumTrustKernel),
        reinterpret_cast<const void*>(StepLambKernel),
        reinterpret_cast<const void*>(SumMomentumKernel),
        reinterpret_cast<const void*>(DecodeKernel),
        reinterpret_cast<const void*>(EncodeKernel)};
    for (const void* const kernel : kernels) {
      // Whoever asks for a kernel's attributes gets it loaded.
      cudaFuncAttributes attributes;
      ACCRUE_RETURN_IF_ERROR(
          CheckCuda(stream, cudaFuncGetAttributes(&attributes, kernel),
                    "loading a kernel"));
    }
    return absl::OkStatus();
  }
  absl::Status FoldAndUpdate(Stream& stream, const Launch& launch) override {
    return Start(stream, OverBlocks("FoldAndUpdate", launch),
                 FoldAndUpdateKernel, launch);
  }
  absl::Status SumClipped(Stream& stream, const Launch& launch) override {
    return Start(stream, OverSums("SumClipped", launch), SumClippedKernel,
                 launch);
  }
  absl::Status SumTrust(Stream& stream, const Launch& launch) override {
    return Start(stream, OverSums("SumTrust", launch), SumTrustKernel, launch);
  }
  absl::Status StepLamb(Stream& stream, const Launch& launch) override {
    return Start(stream, OverBlocks("StepLamb", launch), StepLambKernel,
                 launch);
  }
  absl::Status SumMomentum(Stream& stream, const Launch& launch) override {
    return Start(stream, OverSums("SumMomentum", launch), SumMomentumKernel,
                 launch);
  }
  absl::Status Decode(Stream& stream, const DecodeLaunch& launch) override {
    const int64_t items = DecodeItems(launch);
    return Start(stream, OverElements("Decode", items), DecodeKernel, launch,
                 items);
  }
  absl::Status Encode(Stream& stream, const EncodeLaunch& launch) override {
    return Start(stream, OverElements("Encode", launch.count), EncodeKernel,
                 launch, launch.count);
  }
};

}  // namespace

std::unique_ptr<DeviceKernels> MakeCudaKernels() {
  return std::make_unique<CudaKernels>();
}

}  // namespace accrue::kernels
