// A chunk on its way through a slot of a GPU on which nothing runs before its
// stream is waited for.
#include "server/kernels/chunk_run.h"

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/kernels/device_transfer.h"
#include "tests/conformance/device_backend.h"
#include "tests/kernels/host_kernels.h"

namespace accrue::kernels {
namespace {

constexpr int64_t kElems = 2 * kBlockElems;

// A pass that adds the gradients up in m: the p-th is p + 1 in every element.
class ChunkRunTest : public testing::Test {
 protected:
  ChunkRunTest()
      : gpu_({.schedule = FakeSchedule::kLazy}),
        unit_(MakeSmallUnit(&gpu_, MakeHostKernels())),
        map_(MakeBlockMap({kElems}, {0}, 1)),
        m_(*gpu_.Allocate(kElems * 4, MemoryTag::kMomentum, nullptr)) {
    arrays_.m = static_cast<float*>(m_.data());
    pass_.groups.resize(1);
  }

  void AddPushes(int count) {
    for (int p = 0; p < count; ++p) {
      const auto& gradient = gradients_.emplace_back(
          static_cast<size_t>(kElems), static_cast<float>(p + 1));
      payloads_.push_back(ByteChain::View(gradient.data(), kElems * 4));
      pass_.payloads.push_back({&payloads_.back()});
      pass_.groups[0].pushes.push_back({.gain1 = 1});
    }
  }

  std::vector<DeviceChunk> Cut() {
    return CutIntoChunks(map_, {0, 2}, pass_, PassStage::kFold,
                         unit_->ring().slot_bytes());
  }

  // What has run on the GPU when the chunk is queued.
  int64_t RunAndCount(const DeviceChunk& chunk) {
    StagingRing::Slot* const slot = unit_->ring().Acquire();
    PassSums sums(map_, pass_);
    ChunkRun run({map_, pass_, PassStage::kFold, sums}, arrays_, chunk, *slot,
                 unit_->kernels());
    const int64_t before = gpu_.counts().run;
    absl::Status queued = run.Queue();
    const int64_t ran = gpu_.counts().run - before;
    unit_->ring().Release(slot, this, std::move(queued),
                          [&](const absl::Status& ended) {
                            EXPECT_TRUE(ended.ok()) << ended;
                            EXPECT_TRUE(run.Collect().ok());
                          });
    unit_->ring().Finish(this);
    return ran;
  }

  void ExpectMomentum(float want) {
    std::vector<float> m(static_cast<size_t>(kElems));
    ASSERT_TRUE(CopyOut(unit_->ring(), arrays_.m, kElems, m.data()).ok());
    for (const float got : m) ASSERT_EQ(got, want);
  }

  FakeGpu gpu_;
  const std::unique_ptr<DeviceUnit> unit_;
  const BlockMap map_;
  const Buffer m_;
  PartArrays arrays_;
  std::list<std::vector<float>> gradients_;
  std::list<ByteChain> payloads_;
  Pass pass_;
};

// Nothing of a chunk has ended before all of it is queued, so that the thread
// can fill another slot.
TEST_F(ChunkRunTest, AllItsLaunchesAreQueuedWithoutAWait) {
  AddPushes(2 * kLaunchPushes + 3);
  for (const DeviceChunk& chunk : Cut()) EXPECT_EQ(RunAndCount(chunk), 0);
  ExpectMomentum(19 * 20 / 2);
}

TEST_F(ChunkRunTest, OfABlockWhosePushesDoNotFitASlotTheNextWaitForTheFirst) {
  AddPushes(5 * kLaunchPushes);
  const std::vector<DeviceChunk> chunks = Cut();
  ASSERT_EQ(chunks.size(), 2u);
  for (const DeviceChunk& chunk : chunks) EXPECT_GT(RunAndCount(chunk), 0);
  ExpectMomentum(40 * 41 / 2);
}

// Pairs may be as many bytes as floats would be, but seldom are.
TEST_F(ChunkRunTest, NoMorePairsCrossTheBusThanThereAre) {
  const std::array<std::pair<uint32_t, float>, 3> pairs = {
      {{0, 3.0f}, {7, 3.0f}, {kElems - 1, 3.0f}}};
  payloads_.push_back(ByteChain::View(pairs.data(), sizeof(pairs)));
  pass_.payloads.push_back({&payloads_.back(), Encoding::kTopK});
  pass_.groups[0].pushes.push_back({.gain1 = 1});
  const int64_t before = gpu_.counts().to_device_bytes;
  const std::vector<DeviceChunk> chunks = Cut();
  for (const DeviceChunk& chunk : chunks) RunAndCount(chunk);
  // What tells the kernels of the chunk comes along.
  EXPECT_LT(gpu_.counts().to_device_bytes - before, 4096);
  std::vector<float> m(static_cast<size_t>(kElems));
  ASSERT_TRUE(CopyOut(unit_->ring(), arrays_.m, kElems, m.data()).ok());
  std::vector<float> want(static_cast<size_t>(kElems));
  for (const auto& [index, value] : pairs) want[index] = value;
  EXPECT_EQ(m, want);
}

}  // namespace
}  // namespace accrue::kernels
