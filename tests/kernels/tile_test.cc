#include "server/kernels/tile.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/cache_control.h"
#include "tests/kernels/payloads.h"
#include "tests/kernels/simd_targets.h"

namespace accrue::kernels {
namespace {

constexpr int64_t kMargin = 64;
constexpr float kUntouched = 17;

// What a fold and update of `size` elements leaves in m, v and next, the last
// with a margin on both sides and `misalignment` elements behind a cache line.
std::vector<float> RunOnce(int64_t size, int64_t misalignment, bool adaptive,
                           bool far_next) {
  Random random(static_cast<uint64_t>(size));
  std::vector<float> m = RandomFloats(size, random);
  std::vector<float> v = RandomFloats(size, random);
  for (float& element : v) element *= element;
  const std::vector<float> theta = RandomFloats(size, random);
  const std::vector<float> gradient = RandomFloats(size, random);
  std::vector<float> room(static_cast<size_t>(size + 3 * kMargin), kUntouched);
  const auto address = reinterpret_cast<uintptr_t>(room.data());
  const auto to_line = static_cast<int64_t>((64 - address % 64) % 64 / 4);
  float* const next = room.data() + kMargin + to_line + misalignment;

  const rule::PushScalars push = {
      .keep1 = 0.9f, .gain1 = 0.1f, .keep2 = 0.99f, .gain2 = 0.01f};
  const rule::UpdateScalars update = {
      .lr = 1e-3f, .inv_mass2 = 1.5f, .epsilon = 1e-8f};
  const float* const x = gradient.data();
  const TileScalars scalars = {
      .pushes = &push, .push_count = 1, .update = &update};
  const TileArrays arrays = {.m = m.data(),
                             .v = adaptive ? v.data() : nullptr,
                             .theta = theta.data(),
                             .next = next,
                             .x = &x,
                             .size = size,
                             .far_next = far_next};
  RunTile(TileStage::kFoldAndUpdate, scalars, arrays);
  hwy::FlushStream();

  std::vector<float> result(next - kMargin, next + size + kMargin);
  result.insert(result.end(), m.begin(), m.end());
  result.insert(result.end(), v.begin(), v.end());
  return result;
}

TEST(TileTest, StoresPastTheCachesWriteTheSameBitsAndNothingElse) {
  ForEachSimdTarget([] {
    for (const int64_t size : {0, 1, 3, 15, 16, 17, 63, 64, 65, 127, 2048}) {
      for (const int64_t misalignment : {0, 1, 3, 4, 8, 15}) {
        for (const bool adaptive : {false, true}) {
          const std::vector<float> far =
              RunOnce(size, misalignment, adaptive, true);
          const std::vector<float> near =
              RunOnce(size, misalignment, adaptive, false);
          ASSERT_EQ(std::memcmp(far.data(), near.data(), far.size() * 4), 0)
              << size << " elements, " << misalignment << " behind a line";
          ASSERT_EQ(far[kMargin - 1], kUntouched);
          ASSERT_EQ(far[static_cast<size_t>(kMargin + size)], kUntouched);
        }
      }
    }
  });
}

}  // namespace
}  // namespace accrue::kernels
