#include "tests/conformance/shard_conformance.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <latch>
#include <limits>
#include <vector>

#include "tests/conformance/training_run.h"
#include "tests/kernels/reference_pass.h"

namespace accrue::kernels {
namespace {

using Array = Shard::Array;

PassResult RunAndWait(Shard& shard, Pass pass) {
  std::latch ended(1);
  PassResult result;
  shard.Run(std::move(pass), [&](absl::StatusOr<PassResult> outcome) {
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    if (outcome.ok()) result = *std::move(outcome);
    ended.count_down();
  });
  ended.wait();
  return result;
}

std::vector<float> ReadAll(const Shard& shard, Array array, int64_t elems) {
  std::vector<float> out(static_cast<size_t>(elems));
  const absl::Status status = shard.Read(array, 0, absl::MakeSpan(out));
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

testing::AssertionResult SameBits(const std::vector<float>& got,
                                  const std::vector<float>& want) {
  if (got.size() != want.size()) {
    return testing::AssertionFailure() << got.size() << " of " << want.size();
  }
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::bit_cast<uint32_t>(got[i]) != std::bit_cast<uint32_t>(want[i])) {
      return testing::AssertionFailure()
             << std::hexfloat << "element " << i << " of " << got.size()
             << " is " << got[i] << ", want " << want[i];
    }
  }
  return testing::AssertionSuccess();
}

// A shard with its parameters, and the reference that it is held against.
class Pair {
 public:
  Pair(ShardMaker& maker, TrainingRun& run)
      : run_(run),
        options_(run.shard_options()),
        shard_(*maker.Make(options_)),
        state_(MakeReferenceState(*options_.blocks)),
        parameters_(run.RandomParameters()),
        expected_(parameters_) {}

  // One pass on the shard (as passes of one push, if so wanted), one on the
  // reference.
  void Run(const PassPlan& plan, bool one_by_one) {
    const Parameters before = parameters_;
    PassResult got;
    for (const PassPlan& part :
         one_by_one ? OneByOne(plan) : std::vector<PassPlan>{plan}) {
      got = RunAndWait(*shard_, parameters_.Bind(part));
    }
    const PassResult want =
        RunReference(*options_.blocks, expected_.Bind(plan), state_);
    EXPECT_EQ(got.clip_norms, want.clip_norms);
    EXPECT_EQ(got.momentum_squares, want.momentum_squares);
    for (size_t g = 0; g < plan.groups.size(); ++g) {
      SCOPED_TRACE(testing::Message() << "group " << g);
      ASSERT_TRUE(SameBits(parameters_.theta[g], before.theta[g]))
          << "published parameters changed";
      ASSERT_TRUE(SameBits(parameters_.next[g], expected_.next[g]));
    }
    parameters_.Publish(plan);
    expected_.Publish(plan);
    ExpectSameState();
  }

  void ExpectSameState() {
    const int64_t elems = options_.blocks->elems;
    ASSERT_TRUE(SameBits(ReadAll(*shard_, Array::kMomentum, elems), state_.m));
    if (options_.has_variance) {
      ASSERT_TRUE(
          SameBits(ReadAll(*shard_, Array::kVariance, elems), state_.v));
    }
    if (options_.has_accumulation) {
      ASSERT_TRUE(
          SameBits(ReadAll(*shard_, Array::kAccumulation, elems), state_.a));
    }
  }

  Shard& shard() { return *shard_; }
  ReferenceState& state() { return state_; }
  Parameters& parameters() { return parameters_; }

 private:
  TrainingRun& run_;
  const ShardOptions options_;
  const std::unique_ptr<Shard> shard_;
  ReferenceState state_;
  Parameters parameters_, expected_;
};

ModelTraits OneTensor(int64_t elems, const GroupTraits& group) {
  return {.tensor_elems = {elems}, .tensor_groups = {0}, .groups = {group}};
}

TEST_P(ShardConformance, RandomPassesAgreeWithTheReference) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    TrainingRun run(RandomModel(random), seed);
    Pair pair(*maker_, run);
    for (int pass = 0; pass < 8 && !HasFatalFailure(); ++pass) {
      pair.Run(run.NextPass(1 + static_cast<int64_t>(random() % 12)), false);
    }
  }
}

TEST_P(ShardConformance, PushesFoldedInOnePassAreThoseFoldedOneByOne) {
  uint64_t seed = 1000;
  for (GroupTraits traits : AllGroupTraits()) {
    if (traits.buffering == rule::Buffering::kGather) continue;  // one pass
    traits.k = 11;
    SCOPED_TRACE(testing::Message() << "seed " << ++seed);
    const ModelTraits model = OneTensor(4099, traits);
    TrainingRun fused_run(model, seed), single_run(model, seed);
    Pair fused(*maker_, fused_run), single(*maker_, single_run);
    for (int pass = 0; pass < 3 && !HasFatalFailure(); ++pass) {
      // Two runs of one seed: the same passes for both.
      fused.Run(fused_run.NextPass(11), false);
      single.Run(single_run.NextPass(11), true);
    }
    EXPECT_TRUE(
        SameBits(fused.parameters().theta[0], single.parameters().theta[0]));
  }
}

TEST_P(ShardConformance, AnyLengthAtAnyAlignmentGivesTheSameBits) {
  uint64_t seed = 2000;
  for (const int64_t elems : {int64_t{0}, int64_t{1}, int64_t{3}, int64_t{15},
                              int64_t{16}, int64_t{17}, kBlockElems - 1,
                              kBlockElems, kBlockElems + 1, int64_t{40009}}) {
    // A tensor in front of it moves it against the arrays' alignment.
    for (const int64_t offset : {0, 1, 3}) {
      for (const GroupTraits& traits :
           {GroupTraits{.k = 2},
            GroupTraits{.optimizer = rule::Optimizer::kAdamW, .k = 2}}) {
        SCOPED_TRACE(testing::Message() << "seed " << ++seed << ", " << elems
                                        << " elements at " << offset);
        ModelTraits model = {.tensor_elems = {offset, elems},
                             .tensor_groups = {0, 1},
                             .groups = {traits, traits}};
        TrainingRun run(model, seed);
        Pair pair(*maker_, run);
        for (int pass = 0; pass < 3 && !HasFatalFailure(); ++pass) {
          pair.Run(run.NextPass(2), false);
        }
      }
    }
  }
}

TEST_P(ShardConformance, AnEncodedPushFoldsAsTheFloatsThatItStandsFor) {
  uint64_t seed = 2500;
  for (const Encoding encoding : {Encoding::kInt8, Encoding::kTopK}) {
    for (const GroupTraits& traits : AllGroupTraits()) {
      for (const int64_t max_span : {3, 1 << 20}) {
        SCOPED_TRACE(testing::Message() << "seed " << ++seed);
        Random random(seed);
        // Groups in turn, so that a walk skips and goes back to elements.
        const ModelTraits model = {
            .tensor_elems = {5, 4099, 1, kBlockElems + 3},
            .tensor_groups = {0, 1, 0, 1},
            .groups = {traits, traits}};
        TrainingRun run(model, seed);
        const int64_t elems = run.blocks()->elems;
        Pair encoded(*maker_, run), floats(*maker_, run);
        floats.parameters() = encoded.parameters();
        PassPlan plan = run.NextPass(1);
        plan.chains = {std::make_shared<const ByteChain>(
            CutIntoSpans(RandomBytes(elems, encoding, random), max_span,
                         static_cast<int64_t>(random() % 4), random))};
        plan.encodings = {encoding};
        const std::vector<float> decoded =
            DecodeReference({plan.chains[0].get(), encoding}, elems);
        RunAndWait(encoded.shard(), encoded.parameters().Bind(plan));
        plan.chains = {std::make_shared<const ByteChain>(
            ByteChain::View(decoded.data(), elems * 4))};
        plan.encodings = {Encoding::kF32};
        RunAndWait(floats.shard(), floats.parameters().Bind(plan));
        for (size_t g = 0; g < 2; ++g) {
          ASSERT_TRUE(SameBits(encoded.parameters().next[g],
                               floats.parameters().next[g]));
        }
        ASSERT_TRUE(SameBits(ReadAll(encoded.shard(), Array::kMomentum, elems),
                             ReadAll(floats.shard(), Array::kMomentum, elems)));
      }
    }
  }
}

TEST_P(ShardConformance, AnUntouchedGroupIsNotReadOrWritten) {
  const uint64_t seed = 3000;
  TrainingRun run({.tensor_elems = {100, 50000, 17},
                   .tensor_groups = {0, 1, 0},
                   .groups = {{.k = 1}, {.k = 1}}},
                  seed);
  Pair pair(*maker_, run);
  pair.Run(run.NextPass(1), false);
  for (int pass = 0; pass < 2; ++pass) {
    PassPlan plan = run.NextPass(1);
    plan.groups[1] = GroupPass();
    pair.Run(plan, false);
    // Without parameters to point at, too.
    Pass bound = pair.parameters().Bind(plan);
    bound.groups[1].theta = nullptr;
    bound.groups[1].next = nullptr;
    bound.groups[0] = GroupPass();
    RunAndWait(pair.shard(), std::move(bound));
    pair.ExpectSameState();
  }
}

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
  plan.chains = {std::make_shared<const ByteChain>(
      ByteChain::View(gradient.data(), kElems * 4))};
  plan.encodings = {Encoding::kF32};
  plan.groups[0].pushes = {{.keep1 = 0, .gain1 = 1}};
  plan.groups[0].update = {.lr = 0.125f};
  RunAndWait(pair.shard(), pair.parameters().Bind(plan));
  EXPECT_TRUE(SameBits(pair.parameters().next[0], want));
}

// s of an estimate above v, below 0, between, and of one that overflows into
// no number: v_hat = s + (v - s)/4 of v = 4, where the gradient is 2.
TEST_P(ShardConformance, ACorrectionStaysBetweenNothingAndAllOfIt) {
  const uint64_t seed = 6700;
  TrainingRun run(
      OneTensor(
          5, {.optimizer = rule::Optimizer::kAdam, .corrects = true, .k = 1}),
      seed);
  struct Case {
    float signal_gain, noise_gain, variance;
  };
  for (const Case& c : {Case{4, 0, 4}, Case{1, 8, 1}, Case{1, 0.5f, 2.5f},
                        Case{0x1p127f, 0x1p127f, 1}}) {
    Pair pair(*maker_, run);
    PassPlan plan = run.NextPass(1);
    const std::vector<float> gradient = {2, -2, 2, -2, 0};
    plan.chains = {std::make_shared<const ByteChain>(
        ByteChain::View(gradient.data(), 20))};
    plan.encodings = {Encoding::kF32};
    plan.groups[0].pushes = {{.keep1 = 0, .gain1 = 1, .keep2 = 0, .gain2 = 1}};
    plan.groups[0].update = {.lr = 1,
                             .signal_gain = c.signal_gain,
                             .noise_gain = c.noise_gain,
                             .noise_share = 0.25f,
                             .epsilon = 1e-3f};
    pair.parameters().theta[0] = std::vector<float>(5);
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

TEST_P(ShardConformance, DenormalsAreKept) {
  const uint64_t seed = 7000;
  TrainingRun run(OneTensor(100, {.k = 2}), seed);
  Pair pair(*maker_, run);
  PassPlan plan = run.NextPass(1);
  const std::vector<float> gradient(100, 0x1p-148f);
  plan.chains = {
      std::make_shared<const ByteChain>(ByteChain::View(gradient.data(), 400))};
  plan.encodings = {Encoding::kF32};
  plan.groups[0].pushes = {{.gain1 = 0.5f}};
  RunAndWait(pair.shard(), pair.parameters().Bind(plan));
  EXPECT_EQ(ReadAll(pair.shard(), Array::kMomentum, 100),
            std::vector<float>(100, 0x1p-149f));
}

TEST_P(ShardConformance, WhatIsWrittenIsReadBack) {
  const uint64_t seed = 8000;
  Random random(seed);
  TrainingRun run(OneTensor(1000, {.optimizer = rule::Optimizer::kAdam,
                                   .buffering = rule::Buffering::kClassic}),
                  seed);
  const auto shard = *maker_->Make(run.shard_options());
  for (const Array array :
       {Array::kMomentum, Array::kVariance, Array::kAccumulation}) {
    EXPECT_EQ(ReadAll(*shard, array, 1000), std::vector<float>(1000));
    const std::vector<float> values = RandomFloats(300, random);
    ASSERT_TRUE(shard->Write(array, 700, values).ok());
    std::vector<float> back(301);
    ASSERT_TRUE(shard->Read(array, 699, absl::MakeSpan(back)).ok());
    EXPECT_EQ(back[0], 0.0f);
    EXPECT_TRUE(SameBits({back.begin() + 1, back.end()}, values));
    EXPECT_EQ(shard->Write(array, 701, values).code(),
              absl::StatusCode::kOutOfRange);
    EXPECT_EQ(shard->Read(array, -1, absl::MakeSpan(back)).code(),
              absl::StatusCode::kOutOfRange);
  }
}

TEST_P(ShardConformance, OnlyTheArraysThatAreNeededExistAndAreCharged) {
  constexpr int64_t kElems = 12345;
  const auto blocks =
      std::make_shared<const BlockMap>(MakeBlockMap({kElems}, {0}, 1));
  for (const bool has_variance : {false, true}) {
    for (const bool has_accumulation : {false, true}) {
      MemoryLedger ledger;
      const auto shard = *maker_->Make({.blocks = blocks,
                                        .has_variance = has_variance,
                                        .has_accumulation = has_accumulation,
                                        .ledger = &ledger});
      EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), 4 * kElems);
      EXPECT_EQ(ledger.live_bytes(MemoryTag::kVariance),
                has_variance ? 4 * kElems : 0);
      EXPECT_EQ(ledger.live_bytes(MemoryTag::kAccumulation),
                has_accumulation ? 4 * kElems : 0);
      float x;
      if (!has_variance) {
        EXPECT_EQ(
            shard->Read(Array::kVariance, 0, absl::MakeSpan(&x, 1)).code(),
            absl::StatusCode::kFailedPrecondition);
      }
      if (!has_accumulation) {
        EXPECT_EQ(
            shard->Write(Array::kAccumulation, 0, absl::MakeSpan(&x, 1)).code(),
            absl::StatusCode::kFailedPrecondition);
      }
    }
  }
}

}  // namespace
}  // namespace accrue::kernels
