// Shard: the moments of a contiguous range of a model's flat vector on one
// device, and the one operation on them: a pass.
//
// A pass folds j pushes into every touched group in one reading and writing
// of the moments, and ends, where the cycle ends, in the update step.
//
// Symbols.    j: pushes of a pass; m, v: moments; theta: parameters.
// Equation.   rule/cycle.h, per element; pushes in order, each rounding as if
//             it were folded alone.
// Memory.     m, v (adaptive) and the accumulation buffer (classic) belong to
//             the shard's device and are zero at first. Gathered pushes are
//             summed in scratch space of a tile's size. Parameters are host
//             buffers of the caller's: a group's published vector is only
//             read, the next one only written (lamb's direction lies there
//             until it is a step). A shard may work on a copy of theta of its
//             own: it knows what its passes have made, and Load tells it of
//             anything else.
// Order.      one Run, Load or Reset at a time. They never wait for a device:
//             `done` is called exactly once, on another thread or before they
//             return; that of Load and Reset may lead to the shard's end.
//             lamb's norms are summed over its tensor's blocks, in order.
// Numerics.   bit_exact_cpu_gpu: independent of threads, SIMD width, spans of
//             the payload, and of how pushes are batched into passes.
// Errors.     a failed pass leaves the moments undefined: the model is
//             poisoned, until Reset and Load. Nothing fails on the CPU.
#ifndef ACCRUE_SERVER_KERNELS_SHARD_H_
#define ACCRUE_SERVER_KERNELS_SHARD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/byte_chain.h"
#include "server/base/memory_ledger.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "server/kernels/block.h"
#include "server/kernels/encoding.h"
#include "server/rule/cycle.h"

namespace accrue::kernels {

// One push's gradient: the whole flat vector in `encoding`, at byte 0 of
// `payload`, without a flaw (ArrivalScan). Kept alive by the caller until
// `done`.
struct PushPayload {
  const ByteChain* payload = nullptr;
  Encoding encoding = Encoding::kF32;
};

// Where a group's new parameters go in another encoding, kBf16 or kF16.
struct EncodedNext {
  Encoding encoding = Encoding::kBf16;
  std::byte* out = nullptr;  // [group_elems]
};

// What a pass does to one group. An untouched group has no pushes and no
// update: nothing of it is read or written.
struct GroupPass {
  rule::Optimizer optimizer = rule::Optimizer::kSgd;
  rule::EpsilonPlace epsilon_place = rule::EpsilonPlace::kOutside;
  rule::Buffering buffering = rule::Buffering::kEmbedded;
  bool nesterov = false;
  std::vector<rule::PushScalars> pushes;  // parallel to `payloads`
  // The pushes' indices in Pass::payloads; empty: all of them, in order.
  std::vector<int32_t> payloads;
  // Embedded: before (ahead) and after (l2) the first push. Classic, gather:
  // around the mean's fold. Gather: a cycle's pushes, buffer_fold and update
  // are one pass.
  std::optional<rule::LookAhead> look_ahead;
  std::optional<rule::BufferFold> buffer_fold;
  std::optional<rule::UpdateScalars> update;
  const float* theta = nullptr;  // [group_elems] published; look-ahead, update
  float* next = nullptr;         // [group_elems] the next publication
  // With an update: the next publication in these encodings too.
  std::vector<EncodedNext> encoded;
  bool measure = false;  // with an update: |m|^2 is asked for
};

struct Pass {
  // Those of all groups; may be empty (a cycle's close).
  std::vector<PushPayload> payloads;
  std::vector<GroupPass> groups;  // [groups]
  // Clip every group by the norm over all groups (rule::ClipScope::kModel).
  bool clip_over_groups = false;
};

struct PassResult {
  // [groups] the clipped quantity's norm before clipping, where
  // update->clip_norm > 0; else 0.
  std::vector<double> clip_norms;
  // [groups] the sum of squares of m as the pass leaves it, where `measure`
  // was set and there was an update; else 0.
  std::vector<double> momentum_squares;
};

class Shard {
 public:
  virtual ~Shard() = default;

  // Where its arrays lie, in the order of their elements; at least one.
  virtual std::vector<Device*> devices() const = 0;
  // Whose AllocateHost is for what passes write: `next`, and copies of it.
  Device& device() const { return *devices().front(); }

  virtual void Run(Pass pass,
                   std::function<void(absl::StatusOr<PassResult>)> done) = 0;

  // kParameters: the shard's own copy of theta, which a look-ahead has changed
  // until the update; a CPU's has none, `next` is it.
  enum class Array { kMomentum, kVariance, kAccumulation, kParameters };
  // Copies elements [offset, offset + out.size()) of the flat array. Not
  // during a pass. FAILED_PRECONDITION: the shard has no such array.
  virtual absl::Status Read(Array array, int64_t offset,
                            absl::Span<float> out) const = 0;
  virtual absl::Status Write(Array array, int64_t offset,
                             absl::Span<const float> in) = 0;

  // [groups][group_elems] parameters that no pass of this shard has made: the
  // first ones, or restored ones. What the next passes call theta. They stay
  // until `done`.
  virtual void Load(std::vector<const float*> groups,
                    std::function<void(absl::Status)> done) = 0;
  // Moments and accumulation buffer are zero again, as when they were made.
  virtual void Reset(std::function<void(absl::Status)> done) = 0;
};

struct ShardOptions {
  std::shared_ptr<const BlockMap> blocks;
  bool has_variance = false;       // adaptive optimizers
  bool has_accumulation = false;   // classic buffering
  MemoryLedger* ledger = nullptr;  // charged for what is allocated
};

// The CPU's shard. Its passes run as chunks of blocks on `pool` in `lane`;
// device, pool and ledger outlive it. RESOURCE_EXHAUSTED: no memory; nothing is
// left.
absl::StatusOr<std::unique_ptr<Shard>> MakeCpuShard(const ShardOptions& options,
                                                    Device* device,
                                                    WorkPool* pool,
                                                    WorkPool::Lane lane);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_SHARD_H_
