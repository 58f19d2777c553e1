#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/base/float_env.h"
#include "server/base/status_macros.h"
#include "server/kernels/chunk_walk.h"
#include "server/kernels/convert.h"
#include "server/kernels/pass_check.h"
#include "server/kernels/pass_run.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {
namespace {

// A chunk is large enough that taking it from the pool costs nothing beside
// the work in it, and small enough that other models are not kept waiting.
constexpr int64_t kMaxChunkElems = 16 * kBlockElems;
constexpr int64_t kChunksPerThread = 4;

// From this size on an array is far from any cache.
constexpr int64_t kFarBytes = int64_t{32} << 20;

// Element visits below which waking a thread costs more than the work.
constexpr int64_t kInlineVisits = 4 * kBlockElems;

std::vector<BlockRange> CutIntoChunks(const BlockMap& map, int thread_count) {
  const int64_t chunk_elems =
      std::clamp(map.elems / (thread_count * kChunksPerThread), kBlockElems,
                 kMaxChunkElems);
  std::vector<BlockRange> chunks;
  int64_t elems = 0;
  const auto block_count = static_cast<int64_t>(map.blocks.size());
  for (int64_t b = 0; b < block_count; ++b) {
    if (chunks.empty() || elems >= chunk_elems) {
      chunks.push_back({b, b});
      elems = 0;
    }
    chunks.back().last = b + 1;
    elems += map.blocks[static_cast<size_t>(b)].size;
  }
  return chunks;
}

// The block's new parameters in other encodings, while they are in a cache.
void EncodeBlock(const GroupPass& group, const Block& block) {
  for (const EncodedNext& encoded : group.encoded) {
    Encode(group.next + block.group_offset, block.size, encoded.encoding,
           encoded.out + block.group_offset * EncodedBytes(encoded.encoding));
  }
}

void SetToZero(const Buffer& buffer) {
  if (buffer.size_bytes() == 0) return;
  std::memset(buffer.data(), 0, static_cast<size_t>(buffer.size_bytes()));
}

class CpuShard : public Shard {
 public:
  CpuShard(const ShardOptions& options, Device* device, WorkPool* pool,
           WorkPool::Lane lane, Buffer m, Buffer v, Buffer a)
      : blocks_(options.blocks),
        device_(device),
        pool_(pool),
        lane_(std::move(lane)),
        chunks_(CutIntoChunks(*blocks_, pool->thread_count())),
        m_(std::move(m)),
        v_(std::move(v)),
        a_(std::move(a)),
        arrays_{.m = static_cast<float*>(m_.data()),
                .v = static_cast<float*>(v_.data()),
                .a = static_cast<float*>(a_.data()),
                .far = blocks_->elems * int64_t{sizeof(float)} >= kFarBytes} {}

  std::vector<Device*> devices() const override { return {device_}; }
  void Run(Pass pass,
           std::function<void(absl::StatusOr<PassResult>)> done) override;
  absl::Status Read(Array array, int64_t offset,
                    absl::Span<float> out) const override;
  absl::Status Write(Array array, int64_t offset,
                     absl::Span<const float> in) override;
  // Passes are given theta where it is.
  void Load(std::vector<const float*>,
            std::function<void(absl::Status)> done) override {
    done(absl::OkStatus());
  }
  void Reset(std::function<void(absl::Status)> done) override;

 private:
  using ChunkBody = void (CpuShard::*)(PassRun& run,
                                       const BlockRange& chunk) const;

  void RunChunks(const std::shared_ptr<PassRun>& run, ChunkBody body,
                 std::function<void()> then) const;
  void FoldChunk(PassRun& run, const BlockRange& chunk) const;
  void UpdateChunk(PassRun& run, const BlockRange& chunk) const;
  void StepChunk(PassRun& run, const BlockRange& chunk) const;
  void EndBlock(PassRun& run, int64_t b, const ChunkWalk& walk,
                double momentum) const;
  void RunUpdate(const std::shared_ptr<PassRun>& run) const;
  void RunStep(const std::shared_ptr<PassRun>& run) const;
  absl::StatusOr<float*> Elements(Array array, int64_t offset,
                                  size_t size) const;

  const std::shared_ptr<const BlockMap> blocks_;
  Device* const device_;
  WorkPool* const pool_;
  const WorkPool::Lane lane_;
  const std::vector<BlockRange> chunks_;
  const Buffer m_, v_, a_;
  const ShardArrays arrays_;
};

void CpuShard::Run(Pass pass,
                   std::function<void(absl::StatusOr<PassResult>)> done) {
  const auto run = PassRun::Begin(*blocks_, std::move(pass), std::move(done));
  if (run == nullptr) return;
  RunChunks(run, &CpuShard::FoldChunk, [this, run] { RunUpdate(run); });
}

// A clip's norm over all that was folded stands between fold and update.
void CpuShard::RunUpdate(const std::shared_ptr<PassRun>& run) const {
  if (!run->sums.clips()) return RunStep(run);
  run->sums.FindClips();
  RunChunks(run, &CpuShard::UpdateChunk, [this, run] { RunStep(run); });
}

// And lamb's norms between its direction and the step.
void CpuShard::RunStep(const std::shared_ptr<PassRun>& run) const {
  if (!run->sums.trusts()) return run->End();
  run->sums.FindRates();
  RunChunks(run, &CpuShard::StepChunk, [run] { run->End(); });
}

void CpuShard::RunChunks(const std::shared_ptr<PassRun>& run, ChunkBody body,
                         std::function<void()> then) const {
  const int64_t visits =
      blocks_->elems * (static_cast<int64_t>(run->pass.payloads.size()) + 1);
  if (visits <= kInlineVisits) {
    AssertDenormalsKeptHere();
    for (const BlockRange& chunk : chunks_) (this->*body)(*run, chunk);
    then();
    return;
  }
  pool_->Run(
      lane_, static_cast<int64_t>(chunks_.size()),
      [this, run, body](int64_t chunk) {
        (this->*body)(*run, chunks_[static_cast<size_t>(chunk)]);
      },
      std::move(then));
}

// Where the walk was an update: keeps what it has summed over block b. Lamb's
// step is still to come, else its parameters are the new ones.
void CpuShard::EndBlock(PassRun& run, int64_t b, const ChunkWalk& walk,
                        double momentum) const {
  const auto at = static_cast<size_t>(b);
  const Block& block = blocks_->blocks[at];
  const GroupPass& group = run.pass.groups[static_cast<size_t>(block.group)];
  if (IsMeasured(group)) run.sums.LeaveMomentum(b, momentum);
  if (IsTrusted(group)) {
    run.sums.LeaveTrust(b, walk.trust_squares());
  } else if (group.update.has_value()) {
    EncodeBlock(group, block);
  }
}

void CpuShard::FoldChunk(PassRun& run, const BlockRange& chunk) const {
  ChunkWalk walk(run.pass, arrays_);
  for (int64_t b = chunk.first; b < chunk.last; ++b) {
    const Block& block = blocks_->blocks[static_cast<size_t>(b)];
    const GroupPass& group = run.pass.groups[static_cast<size_t>(block.group)];
    if (!IsTouched(group)) continue;
    const bool clipped = IsClipped(group);
    if (clipped && IsGathered(group)) {
      run.sums.LeaveClipped(b, walk.MeanSquares(block));
      continue;
    }
    const double momentum =
        walk.Run(block, group.update && !clipped ? TileStage::kFoldAndUpdate
                                                 : TileStage::kFold);
    if (clipped) {
      run.sums.LeaveClipped(b, walk.ClippedSquares(block));
    } else {
      EndBlock(run, b, walk, momentum);
    }
  }
}

void CpuShard::UpdateChunk(PassRun& run, const BlockRange& chunk) const {
  ChunkWalk walk(run.pass, arrays_);
  for (int64_t b = chunk.first; b < chunk.last; ++b) {
    const Block& block = blocks_->blocks[static_cast<size_t>(b)];
    const auto group = static_cast<size_t>(block.group);
    if (!IsClipped(run.pass.groups[group])) continue;
    // What was gathered for the norm alone is gathered again.
    const TileStage stage = IsGathered(run.pass.groups[group])
                                ? TileStage::kFoldAndUpdate
                                : TileStage::kUpdate;
    const double momentum = walk.Run(block, stage, run.sums.clip(block.group));
    EndBlock(run, b, walk, momentum);
  }
}

void CpuShard::StepChunk(PassRun& run, const BlockRange& chunk) const {
  for (int64_t b = chunk.first; b < chunk.last; ++b) {
    const Block& block = blocks_->blocks[static_cast<size_t>(b)];
    const GroupPass& group = run.pass.groups[static_cast<size_t>(block.group)];
    if (!IsTrusted(group)) continue;
    RunLambStep(run.sums.rate(block.tensor), group.theta + block.group_offset,
                group.next + block.group_offset, block.size);
    EncodeBlock(group, block);
  }
}

absl::Status CpuShard::Read(Array array, int64_t offset,
                            absl::Span<float> out) const {
  ACCRUE_ASSIGN_OR_RETURN(const float* from,
                          Elements(array, offset, out.size()));
  std::copy_n(from, out.size(), out.data());
  return absl::OkStatus();
}

absl::Status CpuShard::Write(Array array, int64_t offset,
                             absl::Span<const float> in) {
  ACCRUE_ASSIGN_OR_RETURN(float* to, Elements(array, offset, in.size()));
  std::copy_n(in.data(), in.size(), to);
  return absl::OkStatus();
}

void CpuShard::Reset(std::function<void(absl::Status)> done) {
  for (const Buffer* array : {&m_, &v_, &a_}) SetToZero(*array);
  done(absl::OkStatus());
}

absl::StatusOr<float*> CpuShard::Elements(Array array, int64_t offset,
                                          size_t size) const {
  float* const begin = array == Array::kMomentum       ? arrays_.m
                       : array == Array::kVariance     ? arrays_.v
                       : array == Array::kAccumulation ? arrays_.a
                                                       : nullptr;
  ACCRUE_RETURN_IF_ERROR(
      CheckRange(*blocks_, array, begin, offset, static_cast<int64_t>(size)));
  return begin + offset;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Shard>> MakeCpuShard(const ShardOptions& options,
                                                    Device* device,
                                                    WorkPool* pool,
                                                    WorkPool::Lane lane) {
  const auto bytes =
      options.blocks->elems * static_cast<int64_t>(sizeof(float));
  ACCRUE_ASSIGN_OR_RETURN(
      Buffer m, device->Allocate(bytes, MemoryTag::kMomentum, options.ledger));
  Buffer v, a;
  if (options.has_variance) {
    ACCRUE_ASSIGN_OR_RETURN(
        v, device->Allocate(bytes, MemoryTag::kVariance, options.ledger));
  }
  if (options.has_accumulation) {
    ACCRUE_ASSIGN_OR_RETURN(
        a, device->Allocate(bytes, MemoryTag::kAccumulation, options.ledger));
  }
  return std::make_unique<CpuShard>(options, device, pool, std::move(lane),
                                    std::move(m), std::move(v), std::move(a));
}

}  // namespace accrue::kernels
