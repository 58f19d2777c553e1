// ChunkRun: one chunk of a pass's stage on its way through a slot: filled from
// the payloads, queued on the slot's stream, and collected when that has ended.
//
// Memory.    all but the slot outlive it.
// Order.     Queue -> the slot's stream ends -> Collect. Queue blocks only
//            where a single block's launches are more than the slot holds: then
//            it is filled anew for the next of them.
// Numerics.  bit_exact_cpu_gpu.
// Errors.    INTERNAL: the device failed, or a gradient that was sound when it
//            was received is not finite on the device. Moments are undefined.
// Threading. compatible; chunks of one stage may run at the same time.
#ifndef ACCRUE_SERVER_KERNELS_CHUNK_RUN_H_
#define ACCRUE_SERVER_KERNELS_CHUNK_RUN_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "server/device/staging_ring.h"
#include "server/kernels/block.h"
#include "server/kernels/device_chunk.h"
#include "server/kernels/device_kernels.h"
#include "server/kernels/device_work.h"
#include "server/kernels/pass_sums.h"

namespace accrue::kernels {

// A part's arrays on its device; those it does not have are null.
struct PartArrays {
  int64_t begin = 0;  // of its first element in the model's vector
  float* m = nullptr;
  float* v = nullptr;
  float* a = nullptr;
  float* theta = nullptr;
};

// What all chunks of a stage share.
struct StageRun {
  const BlockMap& blocks;
  const Pass& pass;
  PassStage stage;
  PassSums& sums;
};

class ChunkRun {
 public:
  ChunkRun(const StageRun& stage, const PartArrays& part,
           const DeviceChunk& chunk, StagingRing::Slot& slot,
           DeviceKernels& kernels);

  absl::Status Queue();
  // The blocks' sums, for the stages to come.
  absl::Status Collect() const;

 private:
  // Whether any group of the chunk wants the kernel.
  using Wanted = bool WantedKernels::*;
  bool Any(Wanted kernel) const;

  const GroupPass& GroupOf(const Block& block) const;
  bool TakesPart(const Block& block) const;
  void FillBlocks();
  absl::Status MakeRoom();
  void FillGroups(const LaunchPushes& pushes);
  void FillPayloads(const LaunchPushes& pushes);
  absl::Status QueuePushes(const LaunchPushes& pushes);
  absl::Status QueueDecoding();
  absl::Status QueueSums();
  absl::Status QueueNewParameters();
  absl::Status QueueCopies(const GroupPass& group, const Block& first,
                           int64_t count);
  Launch WithSums(int64_t offset) const;
  template <class T>
  T* OnHost(int64_t offset) const {
    return reinterpret_cast<T*>(slot_.host() + offset);
  }
  template <class T>
  T* OnDevice(int64_t offset) const {
    return reinterpret_cast<T*>(slot_.device() + offset);
  }

  const StageRun stage_;
  const PartArrays& part_;
  const DeviceChunk& chunk_;
  StagingRing::Slot& slot_;
  DeviceKernels& kernels_;
  const SlotLayout layout_;
  const int64_t phase_bytes_;  // of the chunk's first element in 16 bytes
  std::vector<int32_t> runs_;  // the groups of the blocks' runs
  int64_t filled_;             // the slot, from the first launch on
  // The last launch.
  std::vector<GroupWork> groups_;  // [runs]
  Launch launch_;
  std::vector<DecodeLaunch> decoding_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_CHUNK_RUN_H_
