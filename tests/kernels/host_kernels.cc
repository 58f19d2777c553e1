#include "tests/kernels/host_kernels.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "server/base/float_env.h"
#include "tests/device/fake_gpu.h"

namespace accrue::kernels {
namespace {

#define ACCRUE_ELEMENT inline
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

// Queues body(), on a copy of what it needs, behind what the stream holds.
template <class Body>
absl::Status Queue(Stream& stream, Body body) {
  return static_cast<FakeStream&>(stream).Enqueue([body] {
    AssertDenormalsKeptHere();
    body();
    return absl::OkStatus();
  });
}

// visit(block, group, b) of the Blocks whose group wants the kernel.
template <class Visit>
void ForBlocks(const Launch& launch, bool WantedKernels::*kernel,
               const Visit& visit) {
  for (int64_t b = 0; b < launch.block_count; ++b) {
    const BlockWork& block = launch.blocks[b];
    const GroupWork& group = launch.groups[block.group];
    if (group.wanted.*kernel) visit(block, group, b);
  }
}

// sum(block, group, lane) of their lanes, added up.
template <int kSums, class Sum>
void SumBlocks(const Launch& launch, bool WantedKernels::*kernel,
               const Sum& sum) {
  ForBlocks(launch, kernel,
            [&](const BlockWork& block, const GroupWork& group, int64_t b) {
              double* const totals = launch.sums + b * kSums;
              for (int s = 0; s < kSums; ++s) totals[s] = 0;
              for (int lane = 0; lane < kSumLanes; ++lane) {
                const LaneSums<kSums> sums = sum(block, group, lane);
                for (int s = 0; s < kSums; ++s) totals[s] += sums.of[s];
              }
            });
}

class HostKernels : public DeviceKernels {
 public:
  absl::Status Load(Stream&) override { return absl::OkStatus(); }

  absl::Status FoldAndUpdate(Stream& stream, const Launch& launch) override {
    return Queue(stream, [launch] {
      ForBlocks(launch, &WantedKernels::fold_and_update,
                [&](const BlockWork& block, const GroupWork& group, int64_t) {
                  for (int thread = 0; thread < kBlockThreads; ++thread) {
                    if (!FoldAndUpdateThread(launch, block, group, thread)) {
                      *launch.flaw = 1;
                    }
                  }
                });
    });
  }

  absl::Status SumClipped(Stream& stream, const Launch& launch) override {
    return Queue(stream, [launch] {
      SumBlocks<1>(
          launch, &WantedKernels::sum_clipped,
          [&](const BlockWork& block, const GroupWork& group, int lane) {
            return SumClippedLane(launch, block, group, lane);
          });
    });
  }

  absl::Status SumTrust(Stream& stream, const Launch& launch) override {
    return Queue(stream, [launch] {
      SumBlocks<2>(
          launch, &WantedKernels::sum_trust,
          [&](const BlockWork& block, const GroupWork& group, int lane) {
            return SumTrustLane(launch, block, group, lane);
          });
    });
  }

  absl::Status StepLamb(Stream& stream, const Launch& launch) override {
    return Queue(stream, [launch] {
      ForBlocks(launch, &WantedKernels::step_lamb,
                [&](const BlockWork& block, const GroupWork& group, int64_t) {
                  for (int thread = 0; thread < kBlockThreads; ++thread) {
                    StepLambThread(launch, block, group, thread);
                  }
                });
    });
  }

  absl::Status SumMomentum(Stream& stream, const Launch& launch) override {
    return Queue(stream, [launch] {
      SumBlocks<1>(launch, &WantedKernels::sum_momentum,
                   [&](const BlockWork& block, const GroupWork&, int lane) {
                     return SumMomentumLane(launch, block, lane);
                   });
    });
  }

  absl::Status Decode(Stream& stream, const DecodeLaunch& launch) override {
    return Queue(stream, [launch] {
      const int64_t items = DecodeItems(launch);
      for (int64_t i = 0; i < items; ++i) DecodeItem(launch, i);
    });
  }

  absl::Status Encode(Stream& stream, const EncodeLaunch& launch) override {
    return Queue(stream, [launch] {
      for (int64_t i = 0; i < launch.count; ++i) EncodeItem(launch, i);
    });
  }
};

}  // namespace

std::unique_ptr<DeviceKernels> MakeHostKernels() {
  return std::make_unique<HostKernels>();
}

}  // namespace accrue::kernels
