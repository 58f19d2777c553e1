#include "server/kernels/chunk_run.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/kernels/group_work.h"
#include "server/kernels/payload_slice.h"

namespace accrue::kernels {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);

}  // namespace

ChunkRun::ChunkRun(const StageRun& stage, const PartArrays& part,
                   const DeviceChunk& chunk, StagingRing::Slot& slot,
                   DeviceKernels& kernels)
    : stage_(stage),
      part_(part),
      chunk_(chunk),
      slot_(slot),
      kernels_(kernels),
      layout_(MakeLayout(stage.pass, chunk)),
      phase_bytes_((chunk.begin - part.begin) % 4 * kFloatBytes),
      filled_(layout_.launches) {
  launch_.blocks = OnDevice<BlockWork>(layout_.blocks);
  launch_.block_count = layout_.block_count;
  launch_.m = part.m;
  launch_.v = part.v;
  launch_.a = part.a;
  launch_.theta = part.theta;
  launch_.begin = chunk.begin - part.begin;
  launch_.sum = OnDevice<float>(layout_.sum + phase_bytes_);
  launch_.flaw = OnDevice<uint32_t>(layout_.results);
}

const GroupPass& ChunkRun::GroupOf(const Block& block) const {
  return stage_.pass.groups[static_cast<size_t>(block.group)];
}

bool ChunkRun::TakesPart(const Block& block) const {
  return kernels::TakesPart(GroupOf(block), stage_.stage);
}

bool ChunkRun::Any(Wanted kernel) const {
  return std::any_of(
      groups_.begin(), groups_.end(),
      [&](const GroupWork& group) { return group.wanted.*kernel; });
}

absl::Status ChunkRun::Queue() {
  if (layout_.end > slot_.size_bytes()) {
    return absl::InternalError(absl::StrCat("pass: a chunk of ", layout_.end,
                                            " bytes for a slot of ",
                                            slot_.size_bytes()));
  }
  ACCRUE_RETURN_IF_ERROR(
      slot_.stream().Zero(OnDevice<std::byte>(layout_.results),
                          layout_.results_end() - layout_.results));
  FillBlocks();
  const auto push_count = static_cast<int64_t>(chunk_.payloads->size());
  LaunchPushes pushes;
  do {
    pushes.is_first = pushes.first == 0;
    pushes.count = std::min<int64_t>(kLaunchPushes, push_count - pushes.first);
    pushes.is_last = pushes.first + pushes.count == push_count;
    ACCRUE_RETURN_IF_ERROR(QueuePushes(pushes));
    pushes.first += pushes.count;
  } while (!pushes.is_last);
  ACCRUE_RETURN_IF_ERROR(QueueSums());
  ACCRUE_RETURN_IF_ERROR(QueueNewParameters());
  return slot_.stream().CopyToHost(OnHost<std::byte>(layout_.results),
                                   OnDevice<std::byte>(layout_.results),
                                   layout_.results_end() - layout_.results);
}

// Those that take part.
void ChunkRun::FillBlocks() {
  auto* row = OnHost<BlockWork>(layout_.blocks);
  for (int64_t b = chunk_.blocks.first; b < chunk_.blocks.last; ++b) {
    const Block& block = stage_.blocks.blocks[static_cast<size_t>(b)];
    if (!TakesPart(block)) continue;
    if (runs_.empty() || runs_.back() != block.group) {
      runs_.push_back(block.group);
    }
    *row++ = {.offset = block.offset - part_.begin,
              .size = static_cast<int32_t>(block.size),
              .group = static_cast<int32_t>(runs_.size()) - 1,
              .rate = stage_.stage == PassStage::kStep
                          ? stage_.sums.rate(block.tensor)
                          : 0.0f};
  }
}

// For the next launch, behind the ones before where all of them fit.
absl::Status ChunkRun::MakeRoom() {
  const int64_t largest = layout_.end - layout_.launches;
  if (layout_.end_of_all <= slot_.size_bytes() ||
      filled_ + largest <= slot_.size_bytes()) {
    return absl::OkStatus();
  }
  filled_ = layout_.launches;
  return slot_.stream().Synchronize();
}

void ChunkRun::FillGroups(const LaunchPushes& pushes) {
  groups_.clear();
  for (const int32_t g : runs_) {
    const GroupPass& group = stage_.pass.groups[static_cast<size_t>(g)];
    // Of a mean, it has been clipped before it was folded.
    const bool clips_m = stage_.stage != PassStage::kStep ||
                         group.buffering == rule::Buffering::kEmbedded;
    groups_.push_back(MakeGroupWork(group, stage_.stage, pushes,
                                    clips_m ? stage_.sums.clip(g) : 1.0f));
  }
  launch_.groups = OnDevice<GroupWork>(filled_);
  std::memcpy(OnHost<std::byte>(filled_), groups_.data(),
              groups_.size() * sizeof(GroupWork));
  filled_ += layout_.group_bytes;
}

void ChunkRun::FillPayloads(const LaunchPushes& pushes) {
  decoding_.clear();
  int64_t decoded = layout_.decoded;
  for (int64_t p = 0; p < pushes.count; ++p) {
    const auto payload = static_cast<size_t>(
        (*chunk_.payloads)[static_cast<size_t>(pushes.first + p)]);
    const PushPayload& push = stage_.pass.payloads[payload];
    const int64_t count = chunk_.elems();
    const PayloadSlice slice =
        FindSlice(push, stage_.blocks.elems, chunk_.begin, count);
    const bool decodes = push.encoding != Encoding::kF32;
    const int64_t at = filled_ + (decodes ? 0 : phase_bytes_);
    CopySlice(*push.payload, slice, OnHost<std::byte>(at));
    // What is there, not what there may be: pairs are few.
    filled_ +=
        decodes ? SlotLayout::Aligned(slice.size_bytes) : RoomForFloats(count);
    if (!decodes) {
      launch_.x[p] = OnDevice<float>(at);
      continue;
    }
    float* const out = OnDevice<float>(decoded + phase_bytes_);
    decoded += RoomForFloats(count);
    launch_.x[p] = out;
    decoding_.push_back({.encoding = push.encoding,
                         .begin = chunk_.begin,
                         .count = count,
                         .raw = OnDevice<std::byte>(at),
                         .pair_count = slice.size_bytes / kPairBytes,
                         .out = out});
  }
}

absl::Status ChunkRun::QueuePushes(const LaunchPushes& pushes) {
  ACCRUE_RETURN_IF_ERROR(MakeRoom());
  // The first launch takes the table of blocks along.
  const int64_t begin = pushes.is_first ? layout_.blocks : filled_;
  FillGroups(pushes);
  FillPayloads(pushes);
  ACCRUE_RETURN_IF_ERROR(slot_.stream().CopyToDevice(
      OnDevice<std::byte>(begin), OnHost<std::byte>(begin), filled_ - begin));
  ACCRUE_RETURN_IF_ERROR(QueueDecoding());
  if (!Any(&WantedKernels::fold_and_update)) return absl::OkStatus();
  return kernels_.FoldAndUpdate(slot_.stream(), launch_);
}

absl::Status ChunkRun::QueueDecoding() {
  for (const DecodeLaunch& decoding : decoding_) {
    if (decoding.encoding == Encoding::kTopK) {
      ACCRUE_RETURN_IF_ERROR(
          slot_.stream().Zero(decoding.out, decoding.count * kFloatBytes));
      if (decoding.pair_count == 0) continue;
    }
    ACCRUE_RETURN_IF_ERROR(kernels_.Decode(slot_.stream(), decoding));
  }
  return absl::OkStatus();
}

Launch ChunkRun::WithSums(int64_t offset) const {
  Launch launch = launch_;
  launch.sums = OnDevice<double>(offset);
  return launch;
}

absl::Status ChunkRun::QueueSums() {
  Stream& stream = slot_.stream();
  if (Any(&WantedKernels::sum_clipped)) {
    ACCRUE_RETURN_IF_ERROR(
        kernels_.SumClipped(stream, WithSums(layout_.clipped())));
  }
  if (Any(&WantedKernels::sum_trust)) {
    ACCRUE_RETURN_IF_ERROR(
        kernels_.SumTrust(stream, WithSums(layout_.trust())));
  }
  if (Any(&WantedKernels::step_lamb)) {
    ACCRUE_RETURN_IF_ERROR(kernels_.StepLamb(stream, launch_));
  }
  if (Any(&WantedKernels::sum_momentum)) {
    ACCRUE_RETURN_IF_ERROR(
        kernels_.SumMomentum(stream, WithSums(layout_.momentum())));
  }
  return absl::OkStatus();
}

// Blocks of one group that follow each other are one copy.
absl::Status ChunkRun::QueueNewParameters() {
  for (BlockRange left = chunk_.blocks; left.first < left.last;) {
    const BlockRange run = FirstRun(stage_.blocks, left);
    const Block& first = stage_.blocks.blocks[static_cast<size_t>(run.first)];
    const GroupPass& group = GroupOf(first);
    if (EndsUpdate(group, stage_.stage)) {
      ACCRUE_RETURN_IF_ERROR(
          QueueCopies(group, first, ElemsOf(stage_.blocks, run)));
    }
    left.first = run.last;
  }
  return absl::OkStatus();
}

absl::Status ChunkRun::QueueCopies(const GroupPass& group, const Block& first,
                                   int64_t count) {
  Stream& stream = slot_.stream();
  const float* const theta = part_.theta + (first.offset - part_.begin);
  ACCRUE_RETURN_IF_ERROR(stream.CopyToHost(group.next + first.group_offset,
                                           theta, count * kFloatBytes));
  for (const EncodedNext& encoded : group.encoded) {
    const int64_t size = EncodedBytes(encoded.encoding);
    auto* const narrowed = OnDevice<uint16_t>(
        layout_.encoded + (first.offset - chunk_.begin) * size);
    ACCRUE_RETURN_IF_ERROR(
        kernels_.Encode(stream, {.encoding = encoded.encoding,
                                 .count = count,
                                 .in = theta,
                                 .out = narrowed}));
    ACCRUE_RETURN_IF_ERROR(stream.CopyToHost(
        encoded.out + first.group_offset * size, narrowed, count * size));
  }
  return absl::OkStatus();
}

absl::Status ChunkRun::Collect() const {
  if (*OnHost<uint32_t>(layout_.results) != 0) {
    return absl::InternalError(
        "a gradient that was sound when it was received is not finite on the "
        "device");
  }
  const auto* clipped = OnHost<double>(layout_.clipped());
  const auto* momentum = OnHost<double>(layout_.momentum());
  const auto* trust = OnHost<double>(layout_.trust());
  const auto* const rows = OnHost<BlockWork>(layout_.blocks);
  int64_t row = 0;
  for (int64_t b = chunk_.blocks.first; b < chunk_.blocks.last; ++b) {
    if (!TakesPart(stage_.blocks.blocks[static_cast<size_t>(b)])) continue;
    const GroupWork& work = groups_[static_cast<size_t>(rows[row].group)];
    if (work.wanted.sum_clipped) stage_.sums.LeaveClipped(b, clipped[row]);
    if (work.wanted.sum_momentum) stage_.sums.LeaveMomentum(b, momentum[row]);
    if (work.wanted.sum_trust) {
      stage_.sums.LeaveTrust(b, {trust[2 * row], trust[2 * row + 1]});
    }
    ++row;
  }
  return absl::OkStatus();
}

}  // namespace accrue::kernels
