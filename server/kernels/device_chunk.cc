#include "server/kernels/device_chunk.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "absl/types/span.h"
#include "server/kernels/device_work.h"
#include "server/kernels/pass_check.h"
#include "server/kernels/payload_slice.h"

namespace accrue::kernels {
namespace {

constexpr auto Aligned = SlotLayout::Aligned;

using Payloads = std::shared_ptr<const std::vector<int32_t>>;

// A pass is cut into at least so many chunks, where they do not become small by
// it: while one is copied another can be filled and a third folded.
constexpr int64_t kChunksPerPass = 16;
constexpr int64_t kSmallElems = int64_t{1} << 17;
// Nor do chunks that are not small fill more of a slot than this, however large
// the pass: the bus is idle until the first of them is filled, and what they
// hold should still be in the host's caches when it is copied.
constexpr int64_t kMostLaunchBytes = (int64_t{2} << 20) + (int64_t{1} << 16);

Payloads PayloadsOf(const Pass& pass, const GroupPass& group, PassStage stage) {
  std::vector<int32_t> payloads;
  if (ReadsPayloads(group, stage)) payloads = group.payloads;
  if (ReadsPayloads(group, stage) && payloads.empty()) {
    payloads.resize(pass.payloads.size());
    std::iota(payloads.begin(), payloads.end(), 0);
  }
  return std::make_shared<const std::vector<int32_t>>(std::move(payloads));
}

// What the launches take of a slot.
struct LaunchRoom {
  int64_t all = 0;
  int64_t largest = 0;
  int64_t decoded = 0;  // the most of one
};

LaunchRoom RoomForLaunches(const Pass& pass, const DeviceChunk& chunk,
                           int64_t group_bytes) {
  LaunchRoom room;
  auto left = absl::MakeConstSpan(*chunk.payloads);
  do {
    int64_t bytes = group_bytes, decoded = 0;
    for (const int32_t p : left.subspan(0, kLaunchPushes)) {
      const Encoding encoding = pass.payloads[static_cast<size_t>(p)].encoding;
      bytes += RoomForSlice(encoding, chunk.elems());
      if (encoding != Encoding::kF32) decoded += RoomForFloats(chunk.elems());
    }
    room.all += bytes;
    room.largest = std::max(room.largest, bytes);
    room.decoded = std::max(room.decoded, decoded);
    left.remove_prefix(std::min<size_t>(left.size(), kLaunchPushes));
  } while (!left.empty());
  return room;
}

// Grows chunks by as many blocks as fit.
class ChunkCutter {
 public:
  ChunkCutter(const BlockMap& map, const Pass& pass, PassStage stage,
              int64_t slot_bytes, int64_t most_elems)
      : map_(map),
        pass_(pass),
        stage_(stage),
        slot_bytes_(slot_bytes),
        most_elems_(most_elems) {
    for (const GroupPass& group : pass.groups) {
      payloads_.push_back(PayloadsOf(pass, group, stage));
    }
  }

  // The next blocks that take part, of one group.
  void Add(BlockRange run) {
    const auto group = static_cast<size_t>(BlockAt(run.first).group);
    const Payloads& payloads = payloads_[group];
    if (chunks_.empty() || *chunks_.back().payloads != *payloads) {
      Begin(run.first, payloads);
    }
    while (run.first < run.last) {
      const int64_t last = LastThatFits(run);
      if (last > run.first) {
        chunks_.back() = Grown({run.first, last});
        run.first = last;
      } else {
        Begin(run.first, payloads);
      }
    }
  }

  std::vector<DeviceChunk> Take() && { return std::move(chunks_); }

 private:
  const Block& BlockAt(int64_t b) const {
    return map_.blocks[static_cast<size_t>(b)];
  }

  void Begin(int64_t b, const Payloads& payloads) {
    const int64_t begin = BlockAt(b).offset;
    chunks_.push_back(
        {.blocks = {b, b}, .begin = begin, .end = begin, .payloads = payloads});
  }

  // run.first, if not even the first of them does. The most it can be doubles
  // at first: a run may be much longer than a chunk.
  int64_t LastThatFits(const BlockRange& run) const {
    const auto fits = [&](int64_t count) {
      return Fits(Grown({run.first, run.first + count}));
    };
    const int64_t all = run.last - run.first;
    int64_t too_many = 1;
    while (too_many <= all && fits(too_many)) too_many *= 2;
    int64_t enough = too_many / 2;
    too_many = std::min(too_many, all + 1);
    while (enough + 1 < too_many) {
      const int64_t count = std::midpoint(enough, too_many);
      (fits(count) ? enough : too_many) = count;
    }
    return run.first + enough;
  }

  // The chunk with more blocks of one group.
  DeviceChunk Grown(const BlockRange& run) const {
    const Block& first = BlockAt(run.first);
    const GroupPass& group = pass_.groups[static_cast<size_t>(first.group)];
    DeviceChunk chunk = chunks_.back();
    chunk.blocks.last = run.last;
    chunk.end = first.offset + ElemsOf(map_, run);
    chunk.block_count += run.last - run.first;
    ++chunk.run_count;
    chunk.gathers |= IsGathered(group);
    chunk.encodes |= !group.encoded.empty() && EndsUpdate(group, stage_);
    return chunk;
  }

  bool Fits(const DeviceChunk& chunk) const {
    if (chunk.block_count == 1) return true;
    if (chunk.elems() > most_elems_) return false;
    const SlotLayout layout = MakeLayout(pass_, chunk);
    if (layout.end_of_all > slot_bytes_) return false;
    return chunk.elems() <= kSmallElems ||
           layout.end_of_all - layout.launches <= kMostLaunchBytes;
  }

  const BlockMap& map_;
  const Pass& pass_;
  const PassStage stage_;
  const int64_t slot_bytes_;
  const int64_t most_elems_;
  std::vector<Payloads> payloads_;  // [groups]
  std::vector<DeviceChunk> chunks_;
};

}  // namespace

std::vector<BlockRange> CutIntoParts(const BlockMap& map, int count) {
  std::vector<BlockRange> parts(static_cast<size_t>(count));
  const auto block_count = static_cast<int64_t>(map.blocks.size());
  int64_t b = 0;
  for (int p = 0; p < count; ++p) {
    // A block belongs to the part in which it begins.
    const int64_t end =
        map.elems / count * (p + 1) + map.elems % count * (p + 1) / count;
    BlockRange& part = parts[static_cast<size_t>(p)];
    part.first = b;
    while (
        b < block_count &&
        (p + 1 == count || map.blocks[static_cast<size_t>(b)].offset < end)) {
      ++b;
    }
    part.last = b;
  }
  return parts;
}

std::vector<DeviceChunk> CutIntoChunks(const BlockMap& map,
                                       const BlockRange& part, const Pass& pass,
                                       PassStage stage, int64_t slot_bytes) {
  ChunkCutter cutter(
      map, pass, stage, slot_bytes,
      std::max(ElemsOf(map, part) / kChunksPerPass, kSmallElems));
  for (BlockRange left = part; left.first < left.last;) {
    const BlockRange run = FirstRun(map, left);
    const int32_t group = map.blocks[static_cast<size_t>(run.first)].group;
    if (TakesPart(pass.groups[static_cast<size_t>(group)], stage)) {
      cutter.Add(run);
    }
    left.first = run.last;
  }
  return std::move(cutter).Take();
}

SlotLayout MakeLayout(const Pass& pass, const DeviceChunk& chunk) {
  SlotLayout layout;
  layout.block_count = chunk.block_count;
  layout.group_bytes =
      Aligned(chunk.run_count * static_cast<int64_t>(sizeof(GroupWork)));
  const LaunchRoom room = RoomForLaunches(pass, chunk, layout.group_bytes);
  layout.decoded = Aligned(layout.results_end());
  layout.sum = layout.decoded + room.decoded;
  layout.encoded =
      layout.sum + (chunk.gathers ? RoomForFloats(chunk.elems()) : 0);
  layout.blocks =
      layout.encoded + (chunk.encodes ? Aligned(chunk.elems() * 2) : 0);
  layout.launches =
      layout.blocks +
      Aligned(chunk.block_count * static_cast<int64_t>(sizeof(BlockWork)));
  layout.end = layout.launches + room.largest;
  layout.end_of_all = layout.launches + room.all;
  return layout;
}

int64_t RoomForSlice(Encoding encoding, int64_t count) {
  if (encoding == Encoding::kF32) return RoomForFloats(count);
  return Aligned(MaxSliceBytes(encoding, count));
}

int64_t RoomForFloats(int64_t count) { return Aligned(count * 4 + 12); }

}  // namespace accrue::kernels
