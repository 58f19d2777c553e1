#include "server/kernels/device_chunk.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace accrue::kernels {
namespace {

constexpr int64_t kSlotBytes = int64_t{4} << 20;

// Everything that takes part is in exactly one chunk, in order.
void ExpectCover(const BlockMap& map, const BlockRange& part, const Pass& pass,
                 PassStage stage) {
  const std::vector<DeviceChunk> chunks =
      CutIntoChunks(map, part, pass, stage, kSlotBytes);
  int64_t next = part.first;
  const auto skip_idle = [&](int64_t until) {
    for (; next < until; ++next) {
      const Block& block = map.blocks[static_cast<size_t>(next)];
      ASSERT_FALSE(
          TakesPart(pass.groups[static_cast<size_t>(block.group)], stage))
          << "block " << next << " is in no chunk";
    }
  };
  for (const DeviceChunk& chunk : chunks) {
    skip_idle(chunk.blocks.first);
    ASSERT_EQ(next, chunk.blocks.first);
    ASSERT_LT(chunk.blocks.first, chunk.blocks.last);
    next = chunk.blocks.last;
    const Block& first = map.blocks[static_cast<size_t>(chunk.blocks.first)];
    const Block& last = map.blocks[static_cast<size_t>(next - 1)];
    EXPECT_EQ(chunk.begin, first.offset);
    EXPECT_EQ(chunk.end, last.offset + last.size);
    const SlotLayout layout = MakeLayout(pass, chunk);
    EXPECT_LE(layout.end, kSlotBytes);
    if (next - chunk.blocks.first > 1) {
      EXPECT_LE(layout.end_of_all, kSlotBytes);
    }
  }
  skip_idle(part.last);
}

GroupPass Folding(int64_t pushes) {
  GroupPass group;
  group.pushes.resize(static_cast<size_t>(pushes));
  return group;
}

Pass PassOf(std::vector<GroupPass> groups,
            const std::vector<Encoding>& encodings) {
  Pass pass;
  pass.groups = std::move(groups);
  for (const Encoding encoding : encodings) {
    pass.payloads.push_back({nullptr, encoding});
  }
  return pass;
}

TEST(PartsTest, AreContiguousAndEvenToABlock) {
  for (const int64_t elems :
       {int64_t{0}, int64_t{1}, kBlockElems, 7 * kBlockElems + 3,
        1000 * kBlockElems + 1, (int64_t{1} << 33) + 5}) {
    const BlockMap map =
        MakeBlockMap({elems / 3, elems - elems / 3}, {0, 1}, 2);
    for (const int count : {1, 2, 3, 8}) {
      SCOPED_TRACE(testing::Message() << elems << " in " << count);
      const std::vector<BlockRange> parts = CutIntoParts(map, count);
      ASSERT_EQ(parts.size(), static_cast<size_t>(count));
      int64_t next = 0;
      for (const BlockRange& part : parts) {
        EXPECT_EQ(part.first, next);
        next = part.last;
        int64_t size = 0;
        for (int64_t b = part.first; b < part.last; ++b) {
          size += map.blocks[static_cast<size_t>(b)].size;
        }
        EXPECT_LE(std::abs(size - elems / count), kBlockElems + 1);
      }
      EXPECT_EQ(next, static_cast<int64_t>(map.blocks.size()));
    }
  }
}

TEST(DeviceChunkTest, EveryBlockThatTakesPartIsInOneChunkThatFitsASlot) {
  // Tensors of all sizes, many of them tiny, in groups by turns.
  std::vector<int64_t> sizes;
  std::vector<int32_t> groups;
  for (int i = 0; i < 3000; ++i) {
    sizes.push_back(i % 50 == 0 ? 300'000 + i : 1 + i % 7);
    groups.push_back(i % 3);
  }
  const BlockMap map = MakeBlockMap(sizes, groups, 3);
  for (const int64_t pushes : {1, 3, 8, 9, 40, 200}) {
    for (const Encoding encoding :
         {Encoding::kF32, Encoding::kInt8, Encoding::kTopK}) {
      Pass pass =
          PassOf({Folding(pushes), Folding(pushes), GroupPass()},
                 std::vector<Encoding>(static_cast<size_t>(pushes), encoding));
      pass.groups[1].update.emplace().clip_norm = 1;
      SCOPED_TRACE(testing::Message()
                   << pushes << " of encoding " << static_cast<int>(encoding));
      for (const BlockRange& part : CutIntoParts(map, 3)) {
        ExpectCover(map, part, pass, PassStage::kFold);
        ExpectCover(map, part, pass, PassStage::kUpdate);
      }
    }
  }
}

TEST(DeviceChunkTest, TheDeepestLaunchOfOneBlockFitsASlot) {
  const BlockMap map = MakeBlockMap({kBlockElems}, {0}, 1);
  GroupPass group = Folding(kLaunchPushes);
  group.buffering = rule::Buffering::kGather;
  group.update.emplace();
  group.encoded = {{Encoding::kBf16, nullptr}, {Encoding::kF16, nullptr}};
  const Pass pass =
      PassOf({group}, std::vector<Encoding>(kLaunchPushes, Encoding::kTopK));
  ExpectCover(map, {0, 1}, pass, PassStage::kFold);
  // With room for its sum, and for what is narrowed of it.
  const auto chunks =
      CutIntoChunks(map, {0, 1}, pass, PassStage::kFold, kSlotBytes);
  const SlotLayout layout = MakeLayout(pass, chunks[0]);
  EXPECT_GE(layout.sum - layout.decoded, kLaunchPushes * 4 * kBlockElems);
  EXPECT_GE(layout.encoded - layout.sum, 4 * kBlockElems);
  EXPECT_GE(layout.blocks - layout.encoded, 2 * kBlockElems);
}

TEST(DeviceChunkTest, GroupsThatReadOtherPayloadsAreInOtherChunks) {
  const BlockMap map = MakeBlockMap({10, 10, 10, 10}, {0, 1, 0, 0}, 2);
  Pass pass =
      PassOf({Folding(2), Folding(1)}, {Encoding::kF32, Encoding::kF32});
  pass.groups[0].payloads = {0, 1};
  pass.groups[1].payloads = {1};
  const auto chunks =
      CutIntoChunks(map, {0, 4}, pass, PassStage::kFold, kSlotBytes);
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(*chunks[0].payloads, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(*chunks[1].payloads, (std::vector<int32_t>{1}));
  EXPECT_EQ(chunks[2].blocks.last - chunks[2].blocks.first, 2);
}

TEST(DeviceChunkTest, TheLargerAPassIsTheMoreChunksItIs) {
  const auto count = [](int64_t elems, int64_t pushes) {
    const BlockMap map = MakeBlockMap({elems}, {0}, 1);
    const Pass pass = PassOf(
        {Folding(pushes)},
        std::vector<Encoding>(static_cast<size_t>(pushes), Encoding::kF32));
    return CutIntoChunks(map, {0, static_cast<int64_t>(map.blocks.size())},
                         pass, PassStage::kFold, kSlotBytes)
        .size();
  };
  EXPECT_EQ(count(100'000, 1), 1u);
  // Something to do for every slot.
  EXPECT_EQ(count(int64_t{4} << 20, 1), 16u);
  // 2 MiB of payload each,
  EXPECT_EQ(count(int64_t{64} << 20, 1), 128u);
  EXPECT_EQ(count(int64_t{64} << 20, 4), 512u);
  // but no fewer than 2^17 elements where a slot has room for their pushes.
  EXPECT_LE(count(int64_t{64} << 20, 7), 520u);
}

}  // namespace
}  // namespace accrue::kernels
