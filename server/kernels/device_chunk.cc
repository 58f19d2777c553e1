#include "server/kernels/device_chunk.h"

#include <algorithm>
#include <cstddef>

#include "server/kernels/device_work.h"
#include "server/kernels/pass_check.h"
#include "server/kernels/payload_slice.h"

namespace accrue::kernels {
namespace {

int64_t Aligned(int64_t bytes) {
  return (bytes + SlotLayout::kAlignBytes - 1) / SlotLayout::kAlignBytes *
         SlotLayout::kAlignBytes;
}

// A pass is cut into at least so many chunks, where they do not become small by
// it: while one is copied another can be filled and a third folded.
constexpr int64_t kChunksPerPass = 16;
constexpr int64_t kSmallElems = int64_t{1} << 17;

const GroupPass& GroupOf(const Pass& pass, const Block& block) {
  return pass.groups[static_cast<size_t>(block.group)];
}

std::vector<int32_t> PayloadsOf(const Pass& pass, const GroupPass& group,
                                PassStage stage) {
  if (!ReadsPayloads(group, stage)) return {};
  if (!group.payloads.empty()) return group.payloads;
  std::vector<int32_t> all(pass.payloads.size());
  for (size_t p = 0; p < all.size(); ++p) all[p] = static_cast<int32_t>(p);
  return all;
}

// The most that a launch's payloads take of `count` elements.
struct PayloadRoom {
  int64_t raw = 0;
  int64_t decoded = 0;
};
PayloadRoom RoomFor(const Pass& pass, const std::vector<int32_t>& payloads,
                    int64_t count) {
  PayloadRoom most;
  for (size_t first = 0; first < payloads.size(); first += kLaunchPushes) {
    const size_t last = std::min(payloads.size(), first + kLaunchPushes);
    PayloadRoom room;
    for (size_t p = first; p < last; ++p) {
      const Encoding encoding =
          pass.payloads[static_cast<size_t>(payloads[p])].encoding;
      room.raw += RawBytes(encoding, count);
      if (encoding != Encoding::kF32) room.decoded += FloatBytes(count);
    }
    most.raw = std::max(most.raw, room.raw);
    most.decoded = std::max(most.decoded, room.decoded);
  }
  return most;
}

// The layout of a chunk of so many elements and blocks, and groups that are as
// demanding as `group`.
SlotLayout LayOut(const Pass& pass, const std::vector<int32_t>& payloads,
                  int64_t elems, int64_t blocks, int64_t groups, bool gathers,
                  bool encodes) {
  const PayloadRoom room = RoomFor(pass, payloads, elems);
  SlotLayout layout;
  layout.block_count = blocks;
  layout.groups = Aligned(blocks * static_cast<int64_t>(sizeof(BlockWork)));
  layout.raw =
      layout.groups + Aligned(groups * static_cast<int64_t>(sizeof(GroupWork)));
  layout.results = layout.raw + room.raw;
  layout.decoded = Aligned(layout.results_end());
  layout.sum = layout.decoded + room.decoded;
  layout.encoded = layout.sum + (gathers ? FloatBytes(elems) : 0);
  layout.end = layout.encoded + (encodes ? Aligned(elems * 2) : 0);
  return layout;
}

bool Encodes(const GroupPass& group, PassStage stage) {
  return !group.encoded.empty() && EndsUpdate(group, stage);
}

}  // namespace

int64_t RawBytes(Encoding encoding, int64_t count) {
  if (encoding == Encoding::kF32) return FloatBytes(count);
  return Aligned(MaxSliceBytes(encoding, count));
}

int64_t FloatBytes(int64_t count) { return Aligned(count * 4 + 12); }

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

namespace {

// Grows a chunk block by block.
class ChunkCutter {
 public:
  ChunkCutter(const BlockMap& map, const Pass& pass, PassStage stage,
              int64_t slot_bytes, int64_t most_elems)
      : map_(map),
        pass_(pass),
        stage_(stage),
        slot_bytes_(slot_bytes),
        most_elems_(most_elems) {}

  void Add(int64_t b) {
    const Block& block = map_.blocks[static_cast<size_t>(b)];
    const GroupPass& group = GroupOf(pass_, block);
    if (block.group != group_) {
      group_ = block.group;
      payloads_ = PayloadsOf(pass_, group, stage_);
    }
    if (!Fits(block, group)) Start(b, block);
    DeviceChunk& chunk = chunks_.back();
    chunk.blocks.last = b + 1;
    chunk.end = block.offset + block.size;
    ++blocks_;
    if (block.group != last_group_) ++groups_;
    last_group_ = block.group;
    gathers_ |= IsGathered(group);
    encodes_ |= Encodes(group, stage_);
  }

  std::vector<DeviceChunk> Take() && { return std::move(chunks_); }

 private:
  bool Fits(const Block& block, const GroupPass& group) const {
    if (chunks_.empty() || chunks_.back().payloads != payloads_) return false;
    const int64_t elems = block.offset + block.size - chunks_.back().begin;
    if (elems > most_elems_) return false;
    return LayOut(pass_, payloads_, elems, blocks_ + 1, groups_ + 1,
                  gathers_ || IsGathered(group),
                  encodes_ || Encodes(group, stage_))
               .end <= slot_bytes_;
  }

  void Start(int64_t b, const Block& block) {
    chunks_.push_back({.blocks = {b, b},
                       .begin = block.offset,
                       .end = block.offset,
                       .payloads = payloads_});
    blocks_ = groups_ = 0;
    last_group_ = -1;
    gathers_ = encodes_ = false;
  }

  const BlockMap& map_;
  const Pass& pass_;
  const PassStage stage_;
  const int64_t slot_bytes_;
  const int64_t most_elems_;
  std::vector<DeviceChunk> chunks_;
  int32_t group_ = -1;  // whose payloads these are
  std::vector<int32_t> payloads_;
  // Of the last chunk: blocks that take part, and runs of one group's.
  int64_t blocks_ = 0, groups_ = 0;
  int32_t last_group_ = -1;
  bool gathers_ = false, encodes_ = false;
};

}  // namespace

std::vector<DeviceChunk> CutIntoChunks(const BlockMap& map,
                                       const BlockRange& part, const Pass& pass,
                                       PassStage stage, int64_t slot_bytes) {
  int64_t elems = 0;
  for (int64_t b = part.first; b < part.last; ++b) {
    elems += map.blocks[static_cast<size_t>(b)].size;
  }
  ChunkCutter cutter(map, pass, stage, slot_bytes,
                     std::max(elems / kChunksPerPass, kSmallElems));
  for (int64_t b = part.first; b < part.last; ++b) {
    const Block& block = map.blocks[static_cast<size_t>(b)];
    if (TakesPart(GroupOf(pass, block), stage)) cutter.Add(b);
  }
  return std::move(cutter).Take();
}

SlotLayout MakeLayout(const BlockMap& map, const Pass& pass, PassStage stage,
                      const DeviceChunk& chunk) {
  int64_t blocks = 0, groups = 0;
  int32_t last_group = -1;
  bool gathers = false, encodes = false;
  for (int64_t b = chunk.blocks.first; b < chunk.blocks.last; ++b) {
    const Block& block = map.blocks[static_cast<size_t>(b)];
    const GroupPass& group = GroupOf(pass, block);
    if (!TakesPart(group, stage)) continue;
    ++blocks;
    if (block.group != last_group) ++groups;
    last_group = block.group;
    gathers |= IsGathered(group);
    encodes |= Encodes(group, stage);
  }
  return LayOut(pass, chunk.payloads, chunk.end - chunk.begin, blocks, groups,
                gathers, encodes);
}

}  // namespace accrue::kernels
