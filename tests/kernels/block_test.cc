#include "server/kernels/block.h"

#include "gtest/gtest.h"

namespace accrue::kernels {
namespace {

TEST(BlockTest, BlocksCoverEveryTensorAndNeverStraddleTwo) {
  const std::vector<int64_t> elems = {
      1, 0, kBlockElems - 1, kBlockElems, kBlockElems + 1, 3, 40009};
  const std::vector<int32_t> groups = {0, 1, 1, 0, 2, 0, 1};
  const BlockMap map = MakeBlockMap(elems, groups, 4);

  size_t b = 0;
  int64_t offset = 0;
  std::vector<int64_t> group_offsets(4);
  for (size_t tensor = 0; tensor < elems.size(); ++tensor) {
    int64_t& group_offset = group_offsets[static_cast<size_t>(groups[tensor])];
    for (int64_t left = elems[tensor]; left > 0; ++b) {
      ASSERT_LT(b, map.blocks.size());
      const Block& block = map.blocks[b];
      EXPECT_EQ(block.offset, offset);
      EXPECT_EQ(block.group, groups[tensor]);
      EXPECT_EQ(block.tensor, static_cast<int32_t>(tensor));
      EXPECT_EQ(block.group_offset, group_offset);
      EXPECT_GT(block.size, 0);
      EXPECT_EQ(block.size, std::min(left, kBlockElems));
      offset += block.size;
      group_offset += block.size;
      left -= block.size;
    }
  }
  EXPECT_EQ(b, map.blocks.size());
  EXPECT_EQ(map.elems, offset);
  EXPECT_EQ(map.tensor_count, static_cast<int32_t>(elems.size()));
  EXPECT_EQ(map.group_elems, group_offsets);
}

TEST(BlockTest, AModelWithoutElementsHasNoBlocks) {
  const BlockMap map = MakeBlockMap({0, 0}, {0, 1}, 2);
  EXPECT_TRUE(map.blocks.empty());
  EXPECT_EQ(map.elems, 0);
  EXPECT_EQ(map.group_elems, (std::vector<int64_t>{0, 0}));
}

TEST(BlockTest, RunsAreOfOneGroupAndEndWhereTheirRangeDoes) {
  const BlockMap map =
      MakeBlockMap({3, kBlockElems + 1, 5, 7}, {0, 0, 1, 0}, 2);
  const auto expect = [&](BlockRange range, int64_t last, int64_t elems) {
    const BlockRange run = FirstRun(map, range);
    EXPECT_EQ(run.first, range.first);
    EXPECT_EQ(run.last, last);
    EXPECT_EQ(ElemsOf(map, run), elems);
  };
  expect({0, 5}, 3, kBlockElems + 4);
  expect({0, 2}, 2, kBlockElems + 3);
  expect({2, 5}, 3, 1);
  expect({3, 5}, 4, 5);
  expect({4, 5}, 5, 7);
  EXPECT_EQ(ElemsOf(map, {0, 5}), map.elems);
  EXPECT_EQ(ElemsOf(map, {5, 5}), 0);
}

}  // namespace
}  // namespace accrue::kernels
