// Of the step at a cycle's end: norms, buffers, directions.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "server/kernels/convert.h"
#include "tests/conformance/shard_conformance.h"
#include "tests/conformance/shard_pair.h"
#include "tests/conformance/training_run.h"
#include "tests/kernels/reference_pass.h"

namespace accrue::kernels {
namespace {

using Array = Shard::Array;

TEST_P(ShardConformance, AClippedNormIsTheEuclideanOneAndTheBoundHolds) {
  const uint64_t seed = 4000;
  constexpr int64_t kElems = 3 * kBlockElems + 5;
  TrainingRun run(OneTensor(kElems, {.clipped = true, .k = 1}), seed);
  Pair pair(*maker_, run);
  PassPlan plan = run.NextPass(1);
  plan.groups[0].pushes = {{.gain1 = 0.75f}};
  plan.groups[0].update->clip_norm = 1e-3;
  plan.groups[0].update->norm_factor = 4;
  // What is clipped: m after the fold, which the reference knows.
  ReferenceState folded = MakeReferenceState(*run.blocks());
  PassPlan fold_only = plan;
  fold_only.groups[0].update.reset();
  Parameters scratch = pair.parameters();
  RunReference(*run.blocks(), scratch.Bind(fold_only), folded);
  long double squares = 0;
  for (const float x : folded.m) {
    squares += static_cast<long double>(x) * static_cast<long double>(x);
  }
  const auto norm = static_cast<double>(std::sqrt(squares) * 4);

  const PassResult result =
      RunAndWait(pair.shard(), pair.parameters().Bind(plan));
  // kElems roundings of at most half an ulp of the sum each, halved by the
  // root; and one of the product.
  EXPECT_NEAR(result.clip_norms[0], norm,
              norm * static_cast<double>(kElems) * 0x1p-53);

  const std::vector<float> m = ReadAll(pair.shard(), Array::kMomentum, kElems);
  const auto clip = static_cast<float>(1e-3 / result.clip_norms[0]);
  for (size_t i = 0; i < m.size(); ++i) {
    ASSERT_EQ(m[i], clip * folded.m[i]) << i;
  }
}

TEST_P(ShardConformance, ANormAtItsBoundIsNotClipped) {
  for (const auto buffering :
       {rule::Buffering::kEmbedded, rule::Buffering::kClassic,
        rule::Buffering::kGather}) {
    const uint64_t seed = 5000;
    TrainingRun run(
        OneTensor(2, {.buffering = buffering, .clipped = true, .k = 1}), seed);
    Pair pair(*maker_, run);
    PassPlan plan = run.NextPass(1);
    const float gradient[] = {3, 4};
    plan.chains = {std::make_shared<const ByteChain>(
        ByteChain::View(gradient, sizeof(gradient)))};
    plan.encodings = {Encoding::kF32};
    GroupPass& group = plan.groups[0];
    group.pushes = {{.gain1 = 1, .first = true}};
    if (group.buffer_fold) group.buffer_fold = {.gain1 = 1};
    group.update->norm_factor = 1;
    group.update->clip_norm = 5;
    const PassResult result =
        RunAndWait(pair.shard(), pair.parameters().Bind(plan));
    EXPECT_EQ(result.clip_norms[0], 5.0);
    EXPECT_EQ(ReadAll(pair.shard(), Array::kMomentum, 2),
              (std::vector<float>{3, 4}));
  }
}

// README, "Accuracy": with k = 1 there is nothing to accumulate.
TEST_P(ShardConformance, ClassicOfOnePushIsEmbedded) {
  for (const auto optimizer :
       {rule::Optimizer::kSgd, rule::Optimizer::kAdam, rule::Optimizer::kSignum,
        rule::Optimizer::kLion, rule::Optimizer::kLamb}) {
    for (const bool nesterov : {false, true}) {
      if (nesterov && optimizer != rule::Optimizer::kSgd) continue;
      const uint64_t seed = 6000;
      GroupTraits traits = {.optimizer = optimizer,
                            .nesterov = nesterov,
                            .mixes = optimizer == rule::Optimizer::kLion,
                            .k = 1};
      TrainingRun embedded_run(OneTensor(kBlockElems + 7, traits), seed);
      traits.buffering = rule::Buffering::kClassic;
      TrainingRun classic_run(OneTensor(kBlockElems + 7, traits), seed);
      Pair embedded(*maker_, embedded_run), classic(*maker_, classic_run);
      for (int pass = 0; pass < 4; ++pass) {
        PassPlan plan = embedded_run.NextPass(1);
        plan.groups[0].pushes[0].weight = 1;
        embedded.Run(plan, false);
        GroupPass& group = plan.groups[0];
        group.buffering = rule::Buffering::kClassic;
        group.buffer_fold = {.mean = 1,
                             .keep1 = group.pushes[0].keep1,
                             .gain1 = group.pushes[0].gain1,
                             .keep2 = group.pushes[0].keep2,
                             .gain2 = group.pushes[0].gain2};
        classic.Run(plan, false);
        EXPECT_TRUE(SameBits(embedded.parameters().theta[0],
                             classic.parameters().theta[0]));
        EXPECT_TRUE(SameBits(embedded.state().m, classic.state().m));
        EXPECT_TRUE(SameBits(embedded.state().v, classic.state().v));
      }
    }
  }
}

TEST_P(ShardConformance, ASignIsOneWhateverTheSizeAndZeroOfZeros) {
  const uint64_t seed = 6500;
  // As many as make several vectors and a rest.
  constexpr int64_t kElems = 67;
  TrainingRun run(
      OneTensor(kElems, {.optimizer = rule::Optimizer::kSignum, .k = 1}), seed);
  Pair pair(*maker_, run);
  PassPlan plan = run.NextPass(1);
  constexpr float kGradients[] = {0.0f,       -0.0f,      0x1p-149f,
                                  -0x1p-149f, 0x1.8p100f, -0x1.8p100f};
  constexpr float kSteps[] = {0, 0, -0.125f, 0.125f, -0.125f, 0.125f};
  std::vector<float> gradient(kElems), want(kElems);
  for (size_t e = 0; e < kElems; ++e) {
    pair.parameters().theta[0][e] = static_cast<float>(e);
    gradient[e] = kGradients[e % 6];
    want[e] = static_cast<float>(e) + kSteps[e % 6];
  }
  pair.LoadParameters();
  plan.chains = {std::make_shared<const ByteChain>(
      ByteChain::View(gradient.data(), kElems * 4))};
  plan.encodings = {Encoding::kF32};
  plan.groups[0].pushes = {{.keep1 = 0, .gain1 = 1}};
  plan.groups[0].update = {.lr = 0.125f};
  RunAndWait(pair.shard(), pair.parameters().Bind(plan));
  EXPECT_TRUE(SameBits(pair.parameters().next[0], want));
}

// The gradient is 2 and v is 4, of which v_hat = s + (v - s)/4: with a square
// of the mean as large as v, one that overflows, one of 1 and nothing to take
// off it, with less than it, with more.
TEST_P(ShardConformance, ACorrectionStaysBetweenNothingAndAllOfIt) {
  const uint64_t seed = 6700;
  TrainingRun run(
      OneTensor(
          5, {.optimizer = rule::Optimizer::kAdam, .corrects = true, .k = 1}),
      seed);
  struct Case {
    float inv_weight, noise_gain, variance;
  };
  for (const Case& c :
       {Case{1, 8, 4}, Case{0x1p127f, 0, 4}, Case{0x1p127f, 0x1p127f, 4},
        Case{0.5f, 0, 1.75f}, Case{0.5f, 0.25f, 1.1875f}, Case{0.5f, 8, 1}}) {
    Pair pair(*maker_, run);
    PassPlan plan = run.NextPass(1);
    const std::vector<float> gradient = {2, -2, 2, -2, 0};
    plan.chains = {std::make_shared<const ByteChain>(
        ByteChain::View(gradient.data(), 20))};
    plan.encodings = {Encoding::kF32};
    plan.groups[0].pushes = {{.keep1 = 0, .gain1 = 1, .keep2 = 0, .gain2 = 1}};
    plan.groups[0].update = {.lr = 1,
                             .correction = {.inv_weight = c.inv_weight,
                                            .noise_gain = c.noise_gain,
                                            .noise_share = 0.25f},
                             .epsilon = 1e-3f};
    pair.parameters().theta[0] = std::vector<float>(5);
    pair.LoadParameters();
    RunAndWait(pair.shard(), pair.parameters().Bind(plan));
    const float step = 2.0f / (std::sqrt(c.variance) + 1e-3f);
    EXPECT_TRUE(SameBits(pair.parameters().next[0],
                         {0 - step, step, 0 - step, step, 0}));
  }
}

// Three tensors of one group: zeros, which trust nothing; norm 5 against a
// direction of norm 10; a direction of zeros. And one whose ratio is beyond a
// float, but not its step.
TEST_P(ShardConformance, ATrustRatioIsOfOneTensorAndOneOfZeros) {
  const uint64_t seed = 6600;
  TrainingRun run({.tensor_elems = {2, 2, 2, 1},
                   .tensor_groups = {0, 0, 0, 0},
                   .groups = {{.optimizer = rule::Optimizer::kLamb, .k = 1}}},
                  seed);
  Pair pair(*maker_, run);
  PassPlan plan = run.NextPass(1);
  const float gradient[] = {1, 2, 0, 10, 0, 0, 0x1p-100f};
  plan.chains = {std::make_shared<const ByteChain>(
      ByteChain::View(gradient, sizeof(gradient)))};
  plan.encodings = {Encoding::kF32};
  // v stays 0, so that the direction is m, which is the gradient.
  plan.groups[0].pushes = {{.keep1 = 0, .gain1 = 1, .keep2 = 0, .gain2 = 0}};
  plan.groups[0].update = {.epsilon = 1, .rate = 0.125};
  pair.parameters().theta[0] = {0, 0, 3, 4, 1, 1, 0x1p100f};
  pair.LoadParameters();
  RunAndWait(pair.shard(), pair.parameters().Bind(plan));
  EXPECT_TRUE(
      SameBits(pair.parameters().next[0],
               {-0.125f, -0.25f, 3, 3.375f, 1, 1,
                0x1p100f - std::numeric_limits<float>::max() * 0x1p-100f}));
}

// A cycle that was held, in one pass, is the cycle that a buffer summed.
TEST_P(ShardConformance, AGatheredCycleIsClassics) {
  uint64_t seed = 6800;
  for (GroupTraits traits : AllGroupTraits()) {
    if (traits.buffering != rule::Buffering::kClassic) continue;
    SCOPED_TRACE(testing::Message() << "seed " << ++seed);
    TrainingRun classic_run(OneTensor(4099, traits), seed);
    traits.buffering = rule::Buffering::kGather;
    TrainingRun gather_run(OneTensor(4099, traits), seed);
    Pair classic(*maker_, classic_run), gather(*maker_, gather_run);
    for (int pass = 0; pass < 3 && !HasFatalFailure(); ++pass) {
      PassPlan plan = gather_run.NextPass(11);
      gather.Run(plan, false);
      // The pushes that the cycle had, apart.
      GroupPass& group = plan.groups[0];
      PassPlan same = plan;
      if (!group.payloads.empty()) {
        same.chains.clear();
        same.encodings.clear();
        for (const int32_t p : group.payloads) {
          same.chains.push_back(plan.chains[static_cast<size_t>(p)]);
          same.encodings.push_back(plan.encodings[static_cast<size_t>(p)]);
        }
        same.groups[0].payloads.clear();
      }
      same.groups[0].buffering = rule::Buffering::kClassic;
      classic.Run(same, true);
      EXPECT_TRUE(SameBits(gather.parameters().theta[0],
                           classic.parameters().theta[0]));
      EXPECT_TRUE(SameBits(gather.state().m, classic.state().m));
      EXPECT_TRUE(SameBits(gather.state().v, classic.state().v));
    }
  }
}

// One group's next parameters in two encodings, and a byte behind each that is
// nobody's.
class EncodedCopies {
 public:
  static constexpr Encoding kEncodings[] = {Encoding::kBf16, Encoding::kF16};

  explicit EncodedCopies(size_t elems) {
    for (auto& bytes : bytes_) bytes.resize(2 * elems + 1, kUntouched);
  }
  std::vector<EncodedNext> Wanted() {
    return {{kEncodings[0], bytes_[0].data()},
            {kEncodings[1], bytes_[1].data()}};
  }
  // Null: nothing was encoded.
  void Expect(const std::vector<float>* next) const {
    for (size_t i = 0; i < 2; ++i) {
      std::vector<std::byte> want(bytes_[i].size(), kUntouched);
      if (next != nullptr) {
        Encode(next->data(), static_cast<int64_t>(next->size()), kEncodings[i],
               want.data());
      }
      EXPECT_EQ(bytes_[i], want) << "encoding " << i;
    }
  }

 private:
  static constexpr std::byte kUntouched{0x5a};
  std::vector<std::byte> bytes_[2];
};

TEST_P(ShardConformance, AnUpdateEncodesWhatItMakesAndNothingElseDoes) {
  uint64_t seed = 6900;
  for (GroupTraits traits : AllGroupTraits()) {
    traits.k = 2;
    SCOPED_TRACE(testing::Message() << "seed " << ++seed);
    // Groups in turn, so that a block's place in its group is not its place in
    // the model.
    TrainingRun run({.tensor_elems = {5, 4099, 1, kBlockElems + 3},
                     .tensor_groups = {0, 1, 0, 1},
                     .groups = {traits, traits}},
                    seed);
    Pair pair(*maker_, run);
    for (int pass = 0; pass < 4; ++pass) {
      const PassPlan plan = run.NextPass(1);
      Pass bound = pair.parameters().Bind(plan);
      std::vector<EncodedCopies> copies;
      for (size_t g = 0; g < 2; ++g) {
        copies.emplace_back(pair.parameters().next[g].size());
        bound.groups[g].encoded = copies[g].Wanted();
      }
      RunAndWait(pair.shard(), std::move(bound));
      for (size_t g = 0; g < 2; ++g) {
        const bool updated = plan.groups[g].update.has_value();
        copies[g].Expect(updated ? &pair.parameters().next[g] : nullptr);
      }
      pair.parameters().Publish(plan);
    }
  }
}

}  // namespace
}  // namespace accrue::kernels
