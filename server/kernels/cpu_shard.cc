#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/float_env.h"
#include "server/base/status_macros.h"
#include "server/kernels/chunk_walk.h"
#include "server/kernels/convert.h"
#include "server/kernels/shard.h"
#include "server/kernels/trust_rate.h"

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

// Consecutive blocks [first, last).
struct Chunk {
  int64_t first = 0;
  int64_t last = 0;
};

std::vector<Chunk> CutIntoChunks(const BlockMap& map, int thread_count) {
  const int64_t chunk_elems =
      std::clamp(map.elems / (thread_count * kChunksPerThread), kBlockElems,
                 kMaxChunkElems);
  std::vector<Chunk> chunks;
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

bool IsTouched(const GroupPass& group) {
  return !group.pushes.empty() || group.update.has_value();
}

bool IsMeasured(const GroupPass& group) {
  return group.update.has_value() && group.measure;
}

bool IsClipped(const GroupPass& group) {
  return group.update.has_value() && group.update->clip_norm > 0;
}

bool IsGathered(const GroupPass& group) {
  return group.buffering == rule::Buffering::kGather;
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

// A pass on its way: what its chunks share.
struct PassRun {
  Pass pass;
  std::function<void(absl::StatusOr<PassResult>)> done;
  std::vector<double> block_squares;   // [blocks], of clipped groups
  std::vector<double> block_momentum;  // [blocks], of measured groups
  std::vector<float> clips;            // [groups]
  std::vector<ChunkWalk::TrustSquares> block_trust;  // [blocks], of lamb
  std::vector<float> rates;                          // [tensors], of lamb
  PassResult result;
};

class CpuShard : public Shard {
 public:
  CpuShard(const ShardOptions& options, WorkPool* pool, WorkPool::Lane lane,
           Buffer m, Buffer v, Buffer a)
      : blocks_(options.blocks),
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

  void Run(Pass pass,
           std::function<void(absl::StatusOr<PassResult>)> done) override;
  absl::Status Read(Array array, int64_t offset,
                    absl::Span<float> out) const override;
  absl::Status Write(Array array, int64_t offset,
                     absl::Span<const float> in) override;
  // Passes are given theta where it is.
  absl::Status Load(int32_t, const float*) override { return absl::OkStatus(); }
  absl::Status Reset() override;

 private:
  using ChunkBody = void (CpuShard::*)(PassRun& run, const Chunk& chunk) const;

  absl::Status Check(const Pass& pass) const;
  void RunChunks(const std::shared_ptr<PassRun>& run, ChunkBody body,
                 std::function<void()> then) const;
  void FoldChunk(PassRun& run, const Chunk& chunk) const;
  void UpdateChunk(PassRun& run, const Chunk& chunk) const;
  void StepChunk(PassRun& run, const Chunk& chunk) const;
  void EndBlock(PassRun& run, int64_t b, const ChunkWalk& walk,
                double momentum) const;
  void FindClips(PassRun& run) const;
  void Finish(PassRun& run) const;
  void RunUpdate(const std::shared_ptr<PassRun>& run) const;
  void RunStep(const std::shared_ptr<PassRun>& run) const;
  absl::StatusOr<float*> Elements(Array array, int64_t offset,
                                  size_t size) const;

  const std::shared_ptr<const BlockMap> blocks_;
  WorkPool* const pool_;
  const WorkPool::Lane lane_;
  const std::vector<Chunk> chunks_;
  const Buffer m_, v_, a_;
  const ShardArrays arrays_;
};

void CpuShard::Run(Pass pass,
                   std::function<void(absl::StatusOr<PassResult>)> done) {
  if (absl::Status status = Check(pass); !status.ok()) {
    done(std::move(status));
    return;
  }
  auto run = std::make_shared<PassRun>();
  run->pass = std::move(pass);
  run->done = std::move(done);
  const auto& groups = run->pass.groups;
  run->result.clip_norms.resize(groups.size());
  run->result.momentum_squares.resize(groups.size());
  const size_t block_count = blocks_->blocks.size();
  if (std::any_of(groups.begin(), groups.end(), IsMeasured)) {
    run->block_momentum.resize(block_count);
  }
  if (std::any_of(groups.begin(), groups.end(), IsClipped)) {
    run->block_squares.resize(block_count);
  }
  if (std::any_of(groups.begin(), groups.end(), IsTrusted)) {
    run->block_trust.resize(block_count);
  }
  RunChunks(run, &CpuShard::FoldChunk, [this, run] { RunUpdate(run); });
}

// A clip's norm over all that was folded stands between fold and update.
void CpuShard::RunUpdate(const std::shared_ptr<PassRun>& run) const {
  if (run->block_squares.empty()) return RunStep(run);
  FindClips(*run);
  RunChunks(run, &CpuShard::UpdateChunk, [this, run] { RunStep(run); });
}

// And lamb's norms between its direction and the step.
void CpuShard::RunStep(const std::shared_ptr<PassRun>& run) const {
  if (run->block_trust.empty()) return Finish(*run);
  run->rates = TrustRates(*blocks_, run->pass, run->block_trust);
  RunChunks(run, &CpuShard::StepChunk, [this, run] { Finish(*run); });
}

absl::Status CpuShard::Check(const Pass& pass) const {
  if (pass.groups.size() != blocks_->group_elems.size()) {
    return absl::InternalError(absl::StrCat("pass: ", pass.groups.size(),
                                            " groups, want ",
                                            blocks_->group_elems.size()));
  }
  for (const PushPayload& push : pass.payloads) {
    const PayloadBytes want = PayloadBytesOf(push.encoding, blocks_->elems);
    if (!want.Allow(push.payload->size_bytes())) {
      return absl::InternalError(absl::StrCat(
          "pass: payload of ", push.payload->size_bytes(), " bytes, want ",
          want.least, " to ", want.most, " in steps of ", want.step));
    }
  }
  for (const GroupPass& group : pass.groups) {
    const size_t want =
        group.payloads.empty() ? pass.payloads.size() : group.payloads.size();
    if (!group.pushes.empty() && group.pushes.size() != want) {
      return absl::InternalError(absl::StrCat(
          "pass: scalars of ", group.pushes.size(), " pushes, want ", want));
    }
    for (const int32_t payload : group.payloads) {
      if (payload < 0 || static_cast<size_t>(payload) >= pass.payloads.size()) {
        return absl::InternalError(absl::StrCat("pass: payload ", payload,
                                                " of ", pass.payloads.size()));
      }
    }
    if (IsGathered(group) && IsTouched(group) &&
        (!group.update.has_value() || !group.buffer_fold.has_value() ||
         group.pushes.empty())) {
      return absl::InternalError("pass: gathers less than a cycle");
    }
  }
  return absl::OkStatus();
}

void CpuShard::RunChunks(const std::shared_ptr<PassRun>& run, ChunkBody body,
                         std::function<void()> then) const {
  const int64_t visits =
      blocks_->elems * (static_cast<int64_t>(run->pass.payloads.size()) + 1);
  if (visits <= kInlineVisits) {
    AssertDenormalsKeptHere();
    for (const Chunk& chunk : chunks_) (this->*body)(*run, chunk);
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
  if (IsMeasured(group)) run.block_momentum[at] = momentum;
  if (IsTrusted(group)) {
    run.block_trust[at] = walk.trust_squares();
  } else if (group.update.has_value()) {
    EncodeBlock(group, block);
  }
}

void CpuShard::FoldChunk(PassRun& run, const Chunk& chunk) const {
  ChunkWalk walk(run.pass, arrays_);
  for (int64_t b = chunk.first; b < chunk.last; ++b) {
    const Block& block = blocks_->blocks[static_cast<size_t>(b)];
    const GroupPass& group = run.pass.groups[static_cast<size_t>(block.group)];
    if (!IsTouched(group)) continue;
    const bool clipped = IsClipped(group);
    if (clipped && IsGathered(group)) {
      run.block_squares[static_cast<size_t>(b)] = walk.MeanSquares(block);
      continue;
    }
    const double momentum =
        walk.Run(block, group.update && !clipped ? TileStage::kFoldAndUpdate
                                                 : TileStage::kFold);
    if (clipped) {
      run.block_squares[static_cast<size_t>(b)] = walk.ClippedSquares(block);
    } else {
      EndBlock(run, b, walk, momentum);
    }
  }
}

void CpuShard::UpdateChunk(PassRun& run, const Chunk& chunk) const {
  ChunkWalk walk(run.pass, arrays_);
  for (int64_t b = chunk.first; b < chunk.last; ++b) {
    const Block& block = blocks_->blocks[static_cast<size_t>(b)];
    const auto group = static_cast<size_t>(block.group);
    if (!IsClipped(run.pass.groups[group])) continue;
    // What was gathered for the norm alone is gathered again.
    const TileStage stage = IsGathered(run.pass.groups[group])
                                ? TileStage::kFoldAndUpdate
                                : TileStage::kUpdate;
    const double momentum = walk.Run(block, stage, run.clips[group]);
    EndBlock(run, b, walk, momentum);
  }
}

void CpuShard::StepChunk(PassRun& run, const Chunk& chunk) const {
  for (int64_t b = chunk.first; b < chunk.last; ++b) {
    const Block& block = blocks_->blocks[static_cast<size_t>(b)];
    const GroupPass& group = run.pass.groups[static_cast<size_t>(block.group)];
    if (!IsTrusted(group)) continue;
    RunLambStep(run.rates[static_cast<size_t>(block.tensor)],
                group.theta + block.group_offset,
                group.next + block.group_offset, block.size);
    EncodeBlock(group, block);
  }
}

void CpuShard::Finish(PassRun& run) const {
  for (size_t b = 0; b < run.block_momentum.size(); ++b) {
    run.result
        .momentum_squares[static_cast<size_t>(blocks_->blocks[b].group)] +=
        run.block_momentum[b];
  }
  run.done(std::move(run.result));
}

void CpuShard::FindClips(PassRun& run) const {
  const std::vector<GroupPass>& groups = run.pass.groups;
  std::vector<double> squares(groups.size());
  for (size_t b = 0; b < blocks_->blocks.size(); ++b) {
    squares[static_cast<size_t>(blocks_->blocks[b].group)] +=
        run.block_squares[b];
  }
  double model_squares = 0;
  for (const double sum : squares) model_squares += sum;

  run.clips.assign(groups.size(), 1.0f);
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!IsClipped(groups[g])) continue;
    double norm =
        std::sqrt(run.pass.clip_over_groups ? model_squares : squares[g]);
    if (groups[g].buffering == rule::Buffering::kEmbedded) {
      norm *= groups[g].update->norm_factor;
    }
    run.clips[g] = rule::ClipFactor(norm, groups[g].update->clip_norm);
    run.result.clip_norms[g] = norm;
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

absl::Status CpuShard::Reset() {
  for (const Buffer* array : {&m_, &v_, &a_}) SetToZero(*array);
  return absl::OkStatus();
}

absl::StatusOr<float*> CpuShard::Elements(Array array, int64_t offset,
                                          size_t size) const {
  float* const begin = array == Array::kMomentum   ? arrays_.m
                       : array == Array::kVariance ? arrays_.v
                                                   : arrays_.a;
  if (begin == nullptr) {
    return absl::FailedPreconditionError(
        array == Array::kVariance
            ? "shard: no second moments under this optimizer"
            : "shard: no accumulation buffer under embedded buffering");
  }
  if (offset < 0 || offset > blocks_->elems ||
      static_cast<int64_t>(size) > blocks_->elems - offset) {
    return absl::OutOfRangeError(absl::StrCat(
        "shard: elements [", offset, ", +", size, ") of ", blocks_->elems));
  }
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
  return std::make_unique<CpuShard>(options, pool, std::move(lane),
                                    std::move(m), std::move(v), std::move(a));
}

}  // namespace accrue::kernels
