#include "server/kernels/device_kernels.h"

#include <cmath>
#include <limits>
#include <vector>

#include "server/kernels/square_lanes.h"
#include "tests/kernels/device_kernels_fixture.h"
#include "tests/kernels/payloads.h"

namespace accrue::kernels {
namespace {

enum class Kind { kSgd, kNesterov, kSign, kMixedSign, kAdam, kLamb };

constexpr Kind kKinds[] = {Kind::kSgd,       Kind::kNesterov, Kind::kSign,
                           Kind::kMixedSign, Kind::kAdam,     Kind::kLamb};
constexpr TileStage kStages[] = {TileStage::kFold, TileStage::kUpdate,
                                 TileStage::kFoldAndUpdate};
constexpr rule::Buffering kBufferings[] = {rule::Buffering::kEmbedded,
                                           rule::Buffering::kClassic,
                                           rule::Buffering::kGather};
// Of a group's blocks; between them lie some of another's.
constexpr int32_t kSizes[] = {0, 1, 3, 15, 16, 17, 16383, 16384};
constexpr int32_t kBetween = 5;

constexpr double kUnsummed = -1;

struct GroupKind {
  Kind kind = Kind::kSgd;
  rule::Buffering buffering = rule::Buffering::kEmbedded;
  TileStage stage = TileStage::kFold;
};

// Scalars like those that rule/ plans, and 1, which kernels have ways of their
// own with, now and then.
class RandomGroup {
 public:
  explicit RandomGroup(Random& random) : random_(random) {}

  GroupWork Make(const GroupKind& kind) {
    GroupWork group;
    group.stage = kind.stage;
    group.adaptive = kind.kind == Kind::kAdam || kind.kind == Kind::kLamb;
    group.buffering = kind.buffering;
    group.epsilon_inside = Heads();
    group.nesterov = kind.kind == Kind::kNesterov;
    group.sign = kind.kind == Kind::kSign || kind.kind == Kind::kMixedSign;
    group.lamb = kind.kind == Kind::kLamb;
    group.wanted = {
        .fold_and_update = true, .sum_clipped = true, .sum_momentum = true};
    AddPushes(kind, group);
    AddUpdate(kind, group);
    return group;
  }

 private:
  bool Heads() { return random_() % 2 == 0; }
  float Unit() { return std::uniform_real_distribution<float>(0, 1)(random_); }
  float UnitOrOne() { return Heads() ? 1.0f : Unit(); }

  void AddPushes(const GroupKind& kind, GroupWork& group) {
    if (kind.stage == TileStage::kUpdate) return;
    group.push_count = 1 + static_cast<int32_t>(random_() % kLaunchPushes);
    const bool keeps_all = Heads();
    for (int32_t p = 0; p < group.push_count; ++p) {
      group.pushes[p] = {.mult = UnitOrOne(),
                         .keep1 = keeps_all ? 1.0f : Unit(),
                         .gain1 = Unit(),
                         .keep2 = keeps_all ? 1.0f : Unit(),
                         .gain2 = Unit(),
                         .weight = UnitOrOne(),
                         .first = p == 0 && Heads()};
    }
    if (group.nesterov && kind.buffering == rule::Buffering::kEmbedded) {
      AddLookAhead(group);
    }
  }

  void AddLookAhead(GroupWork& group) {
    group.has_look_ahead = true;
    group.look_ahead = {.ahead = Unit(), .l2 = Heads() ? 0 : Unit()};
  }

  void AddUpdate(const GroupKind& kind, GroupWork& group) {
    if (kind.stage == TileStage::kFold) return;
    const bool mean = kind.buffering != rule::Buffering::kEmbedded;
    if (mean || kind.stage == TileStage::kUpdate) group.clip = UnitOrOne();
    if (mean) {
      group.buffer_fold = {
          .mean = Unit(),
          .keep1 = Unit(),
          .gain1 = Unit(),
          .keep2 = Unit(),
          .gain2 = Unit(),
          .grad_l2 = kind.kind == Kind::kAdam && Heads() ? Unit() : 0};
      if (group.nesterov) AddLookAhead(group);
    }
    group.update = {.lr = Unit(),
                    .l2 = kind.kind == Kind::kSgd && Heads() ? Unit() : 0,
                    .decay = UnitOrOne(),
                    .inv_mass2 = 1 + Unit(),
                    .epsilon = 1e-6f,
                    .inv_mass1 = 1 + Unit(),
                    .weight_decay = Heads() ? 0 : Unit()};
    if (kind.kind == Kind::kMixedSign) {
      group.update.mix_keep = Unit();
      group.update.mix_gain = Unit();
    }
    if (group.adaptive && Heads()) {
      group.update.correction.noise_share = Unit();
      group.update.correction.noise_gain = Unit();
      group.update.correction.inv_weight = Unit();
    }
    group.wanted.sum_trust = group.wanted.step_lamb = group.lamb;
  }

  Random& random_;
};

// A shard of two groups in turns: of the second nothing is asked.
struct ShardPiece {
  ShardPiece(const GroupWork& group, int64_t offset, Random& random)
      : groups({group, GroupWork()}), begin(offset) {
    for (const int32_t size : kSizes) {
      for (const int32_t g : {0, 1}) {
        blocks.push_back({.offset = offset,
                          .size = g == 0 ? size : kBetween,
                          .group = g,
                          .rate = g == 0 ? 0.125f : 0});
        offset += blocks.back().size;
      }
    }
    m = RandomFloats(offset, random);
    v = RandomFloats(offset, random);
    for (float& element : v) element *= element;
    a = RandomFloats(offset, random);
    theta = RandomFloats(offset, random);
    sum = RandomFloats(offset - begin, random);
    for (std::vector<float>& gradient : x) {
      gradient = RandomFloats(offset - begin, random);
    }
    clipped.assign(blocks.size(), kUnsummed);
    momentum = clipped;
    trust.assign(2 * blocks.size(), kUnsummed);
  }

  std::vector<GroupWork> groups;
  std::vector<BlockWork> blocks;
  int64_t begin;
  std::vector<float> m, v, a, theta;         // [elements of the shard]
  std::vector<float> sum, x[kLaunchPushes];  // from `begin` on
  std::vector<double> clipped, momentum, trust;
};

double Squares(const float* x, int64_t size, float scale) {
  SquareLanes lanes;
  lanes.Add(x, size, 0, scale);
  return lanes.Total();
}

// The CPU's way with one block.
void RunOnCpu(size_t b, const std::vector<float>& theta, ShardPiece& piece) {
  const BlockWork& block = piece.blocks[b];
  const GroupWork& group = piece.groups[static_cast<size_t>(block.group)];
  if (!group.wanted.fold_and_update) return;
  const int64_t in_chunk = block.offset - piece.begin;
  const float* x[kLaunchPushes];
  for (int p = 0; p < kLaunchPushes; ++p) x[p] = piece.x[p].data() + in_chunk;
  float* const m = piece.m.data() + block.offset;
  float* a = nullptr;
  if (group.buffering == rule::Buffering::kClassic) {
    a = piece.a.data() + block.offset;
  } else if (group.buffering == rule::Buffering::kGather) {
    a = piece.sum.data() + in_chunk;
  }
  const float* const published = theta.data() + block.offset;
  float* const next = piece.theta.data() + block.offset;
  RunTile(group.stage,
          {.pushes = group.pushes,
           .push_count = group.push_count,
           .look_ahead = group.has_look_ahead ? &group.look_ahead : nullptr,
           .buffer_fold = &group.buffer_fold,
           .update = &group.update,
           .clip = group.clip,
           .epsilon_inside = group.epsilon_inside,
           .nesterov = group.nesterov,
           .sign = group.sign,
           .lamb = group.lamb},
          {.m = m,
           .v = group.adaptive ? piece.v.data() + block.offset : nullptr,
           .a = a,
           .theta = published,
           .next = next,
           .x = x,
           .size = block.size});
  if (group.wanted.step_lamb) {
    piece.trust[2 * b] = Squares(published, block.size, 1);
    piece.trust[2 * b + 1] = Squares(next, block.size, 1);
    RunLambStep(block.rate, published, next, block.size);
  }
  piece.clipped[b] = a == nullptr
                         ? Squares(m, block.size, 1)
                         : Squares(a, block.size, group.buffer_fold.mean);
  piece.momentum[b] = Squares(m, block.size, 1);
}

class DeviceFoldTest : public DeviceKernelsTest {
 protected:
  // All of it as a shard's tail that begins `far` elements into it.
  void RunOnDevice(int64_t far, ShardPiece& piece) {
    std::vector<BlockWork> far_blocks = piece.blocks;
    for (BlockWork& block : far_blocks) block.offset += far;
    const int64_t skipped = piece.begin % 4;
    const auto groups = Put(piece.groups);
    const auto blocks = Put(far_blocks);
    const auto m = Put(piece.m), v = Put(piece.v), a = Put(piece.a);
    const auto theta = Put(piece.theta), sum = Put(piece.sum, skipped);
    const auto flaw = Put(std::vector<uint32_t>(1));
    const auto clipped = Put(piece.clipped), momentum = Put(piece.momentum);
    const auto trust = Put(piece.trust);
    Launch launch = {.blocks = blocks.data(),
                     .block_count = static_cast<int64_t>(far_blocks.size()),
                     .groups = groups.data(),
                     .m = ShardOf(m, far),
                     .v = ShardOf(v, far),
                     .a = ShardOf(a, far),
                     .theta = ShardOf(theta, far),
                     .begin = piece.begin + far,
                     .sum = sum.data(),
                     .flaw = flaw.data()};
    std::vector<DeviceArray<float>> x;
    for (int p = 0; p < kLaunchPushes; ++p) {
      launch.x[p] = x.emplace_back(Put(piece.x[p], skipped)).data();
    }
    ASSERT_TRUE(kernels().FoldAndUpdate(stream(), launch).ok());
    launch.sums = trust.data();
    ASSERT_TRUE(kernels().SumTrust(stream(), launch).ok());
    ASSERT_TRUE(kernels().StepLamb(stream(), launch).ok());
    launch.sums = clipped.data();
    ASSERT_TRUE(kernels().SumClipped(stream(), launch).ok());
    launch.sums = momentum.data();
    ASSERT_TRUE(kernels().SumMomentum(stream(), launch).ok());
    piece.m = m.Read();
    piece.v = v.Read();
    piece.a = a.Read();
    piece.theta = theta.Read();
    piece.sum = sum.Read();
    piece.clipped = clipped.Read();
    piece.momentum = momentum.Read();
    piece.trust = trust.Read();
    EXPECT_EQ(flaw.Read()[0], 0u);
  }

  void ExpectCpusBits(const GroupKind& kind, int64_t offset, int64_t far,
                      uint64_t seed) {
    SCOPED_TRACE(testing::Message()
                 << "kind " << static_cast<int>(kind.kind) << ", buffering "
                 << static_cast<int>(kind.buffering) << ", stage "
                 << static_cast<int>(kind.stage) << ", offset " << offset
                 << ", seed " << seed);
    Random random(seed);
    const GroupWork group = RandomGroup(random).Make(kind);
    ShardPiece got(group, offset, random);
    ShardPiece want = got;
    const std::vector<float> theta = want.theta;
    for (size_t b = 0; b < want.blocks.size(); ++b) RunOnCpu(b, theta, want);
    RunOnDevice(far, got);
    EXPECT_TRUE(SameBytes(got.m, want.m));
    EXPECT_TRUE(SameBytes(got.v, want.v));
    EXPECT_TRUE(SameBytes(got.a, want.a));
    EXPECT_TRUE(SameBytes(got.theta, want.theta));
    EXPECT_TRUE(SameBytes(got.sum, want.sum));
    EXPECT_TRUE(SameBytes(got.clipped, want.clipped));
    EXPECT_TRUE(SameBytes(got.momentum, want.momentum));
    EXPECT_TRUE(SameBytes(got.trust, want.trust));
  }

 private:
  // Where element 0 would be, of a shard whose element `far` is the array's.
  static float* ShardOf(const DeviceArray<float>& array, int64_t far) {
    return reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(array.data()) -
                                    static_cast<uintptr_t>(far) *
                                        sizeof(float));
  }
};

TEST_P(DeviceFoldTest, EveryStageOfEveryGroupLeavesTheCpusBits) {
  uint64_t seed = 100;
  for (const Kind kind : kKinds) {
    for (const rule::Buffering buffering : kBufferings) {
      for (const TileStage stage : kStages) {
        for (const int64_t offset : {0, 1, 3}) {
          ExpectCpusBits({kind, buffering, stage}, offset, 0, ++seed);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(DeviceFoldTest, ElementsBeyondThirtyTwoBitsAreFoundToo) {
  constexpr int64_t kFar = (int64_t{1} << 33) + 4;
  for (const rule::Buffering buffering : kBufferings) {
    ExpectCpusBits({Kind::kLamb, buffering, TileStage::kFoldAndUpdate}, 1, kFar,
                   200 + static_cast<uint64_t>(buffering));
  }
}

class DeviceFlawTest : public DeviceKernelsTest {};

TEST_P(DeviceFlawTest, AGradientThatIsNotFiniteIsNoted) {
  constexpr int64_t kSize = 1000;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kLargest = std::numeric_limits<float>::max();
  const std::vector<float> zeros(kSize);
  const auto m = Put(zeros), a = Put(zeros), fine = Put(zeros, 1);
  const auto blocks =
      Put(std::vector<BlockWork>{{.offset = 1, .size = kSize - 1}});
  // What a fold of three gradients, with `value` in the last of them, says.
  const auto flaw_of = [&](float value, size_t place,
                           rule::Buffering buffering) {
    GroupWork group;
    group.push_count = 3;
    group.buffering = buffering;
    group.wanted.fold_and_update = true;
    std::vector<float> gradient(kSize - 1, 1.0f);
    gradient[place] = value;
    const auto groups = Put(std::vector<GroupWork>{group});
    const auto last = Put(gradient, 1);
    const auto flaw = Put(std::vector<uint32_t>(1));
    const Launch launch = {.blocks = blocks.data(),
                           .block_count = 1,
                           .groups = groups.data(),
                           .m = m.data(),
                           .a = a.data(),
                           .begin = 1,
                           .x = {fine.data(), fine.data(), last.data()},
                           .flaw = flaw.data()};
    EXPECT_TRUE(kernels().FoldAndUpdate(stream(), launch).ok());
    return flaw.Read()[0];
  };
  // In what comes before the first quad, in quads, and after the last.
  for (const size_t place : {0, 2, 3, 6, 500, 997, 998}) {
    for (const rule::Buffering buffering :
         {rule::Buffering::kEmbedded, rule::Buffering::kClassic}) {
      for (const float flaw : {kInfinity, -kInfinity, NAN, -NAN}) {
        EXPECT_NE(flaw_of(flaw, place, buffering), 0u)
            << flaw << " at " << place;
      }
      for (const float fine_one : {kLargest, -kLargest, 0x1p-149f, -0.0f}) {
        EXPECT_EQ(flaw_of(fine_one, place, buffering), 0u)
            << fine_one << " at " << place;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, DeviceFoldTest, AllKernels(), KernelsName);
INSTANTIATE_TEST_SUITE_P(Backends, DeviceFlawTest, AllKernels(), KernelsName);

}  // namespace
}  // namespace accrue::kernels
