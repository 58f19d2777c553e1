#include "server/kernels/chunk_walk.h"

#include <algorithm>
#include <array>

#include "hwy/cache_control.h"

namespace accrue::kernels {
namespace {

bool IsClassic(const GroupPass& group) {
  return group.buffering == rule::Buffering::kClassic;
}

// Where push p of a group lies in the pass.
size_t PayloadIndex(const GroupPass& group, int64_t p) {
  const auto push = static_cast<size_t>(p);
  if (group.payloads.empty()) return push;
  return static_cast<size_t>(group.payloads[push]);
}

template <class T>
const T* PointerTo(const std::optional<T>& value) {
  return value ? &*value : nullptr;
}

TileScalars Scalars(const GroupPass& group) {
  return {.pushes = group.pushes.data(),
          .push_count = 0,
          .look_ahead = PointerTo(group.look_ahead),
          .buffer_fold = PointerTo(group.buffer_fold),
          .update = PointerTo(group.update),
          .clip = 1,
          .epsilon_inside = group.epsilon_place == rule::EpsilonPlace::kInside,
          .nesterov = group.nesterov,
          .sign = rule::StepsBySign(group.optimizer),
          .lamb = group.optimizer == rule::Optimizer::kLamb};
}

}  // namespace

ChunkWalk::ChunkWalk(const Pass& pass, const ShardArrays& arrays)
    : pass_(pass), arrays_(arrays) {
  readers_.reserve(pass.payloads.size());
  for (const PushPayload& push : pass.payloads) {
    readers_.emplace_back(*push.payload, push.encoding);
  }
}

double ChunkWalk::Walk(const Block& block, TileStage stage, float clip,
                       SquareLanes* mean_squares) {
  const GroupPass& group = pass_.groups[static_cast<size_t>(block.group)];
  const int64_t pushes = stage == TileStage::kUpdate
                             ? 0
                             : static_cast<int64_t>(group.pushes.size());
  const bool measures = group.measure && stage != TileStage::kFold;
  SquareLanes momentum;
  const bool directs =
      group.optimizer == rule::Optimizer::kLamb && stage != TileStage::kFold;
  SquareLanes theta, direction;
  std::array<const float*, kFusedPushes> x;
  int64_t size;
  for (int64_t begin = 0; begin < block.size; begin += size) {
    size = TileSize(group, pushes, block.offset + begin, block.size - begin);
    TileArrays arrays = Arrays(block, begin, size);
    arrays.x = x.data();
    TileScalars scalars = Scalars(group);
    scalars.clip = clip;
    int64_t p = 0;
    do {
      scalars.pushes = group.pushes.data() + p;
      scalars.push_count = std::min(kFusedPushes, pushes - p);
      for (int64_t i = 0; i < scalars.push_count; ++i) {
        x[static_cast<size_t>(i)] = readers_[PayloadIndex(group, p + i)].Read(
            block.offset + begin, arrays.size, gradients_[i], encoded_);
      }
      p += scalars.push_count;
      RunTile(p == pushes ? stage : TileStage::kFold, scalars, arrays);
      // Embedded: it surrounds the first push, which is folded now.
      if (arrays.a == nullptr) scalars.look_ahead = nullptr;
    } while (p < pushes);
    if (measures) momentum.Add(arrays.m, size, begin, 1.0f);
    if (directs) {
      theta.Add(arrays.theta, size, begin, 1.0f);
      direction.Add(arrays.next, size, begin, 1.0f);
    }
    if (mean_squares != nullptr) {
      mean_squares->Add(arrays.a, size, begin, group.buffer_fold->mean);
    }
  }
  if (directs) trust_squares_ = {theta.Total(), direction.Total()};
  // Streaming stores are not ordered with those that say that they are done.
  if (arrays_.far) hwy::FlushStream();
  return momentum.Total();
}

// A tile ends where a gradient's span does, and the next is just large enough
// to bridge the gap: gathering a whole tile would be a copy of it.
int64_t ChunkWalk::TileSize(const GroupPass& group, int64_t pushes,
                            int64_t offset, int64_t left) {
  int64_t size = std::min(kTileElems, left);
  for (int64_t p = 0; p < pushes; ++p) {
    PayloadReader& reader = readers_[PayloadIndex(group, p)];
    size = std::min(size, reader.decodes() ? kDecodedElems
                                           : std::max(reader.RunElems(offset),
                                                      kBridgeElems));
  }
  return size;
}

double ChunkWalk::ClippedSquares(const Block& block) const {
  const GroupPass& group = pass_.groups[static_cast<size_t>(block.group)];
  const bool classic = IsClassic(group);
  SquareLanes lanes;
  lanes.Add((classic ? arrays_.a : arrays_.m) + block.offset, block.size, 0,
            classic ? group.buffer_fold->mean : 1.0f);
  return lanes.Total();
}

double ChunkWalk::MeanSquares(const Block& block) {
  SquareLanes lanes;
  Walk(block, TileStage::kFold, 1, &lanes);
  return lanes.Total();
}

TileArrays ChunkWalk::Arrays(const Block& block, int64_t begin, int64_t size) {
  const GroupPass& group = pass_.groups[static_cast<size_t>(block.group)];
  const int64_t flat = block.offset + begin;
  const int64_t in_group = block.group_offset + begin;
  TileArrays arrays;
  arrays.size = size;
  arrays.m = arrays_.m + flat;
  if (rule::HasSecondMoment(group.optimizer)) arrays.v = arrays_.v + flat;
  if (IsClassic(group)) arrays.a = arrays_.a + flat;
  if (group.buffering == rule::Buffering::kGather) arrays.a = sum_;
  if (group.theta != nullptr) arrays.theta = group.theta + in_group;
  if (group.next != nullptr) arrays.next = group.next + in_group;
  // Lamb's direction is read again, and so is what is encoded.
  arrays.far_next = arrays_.far && group.encoded.empty() &&
                    group.optimizer != rule::Optimizer::kLamb;
  return arrays;
}

}  // namespace accrue::kernels
