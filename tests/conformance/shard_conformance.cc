// Of any pass: what it reads and writes, and that it is the reference's.

#include "tests/conformance/shard_conformance.h"

#include <memory>
#include <vector>

#include "tests/conformance/shard_pair.h"
#include "tests/conformance/training_run.h"
#include "tests/kernels/reference_pass.h"

namespace accrue::kernels {
namespace {

using Array = Shard::Array;

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

// More of them than go to a device at a time.
TEST_P(ShardConformance, ManyPushesFoldInTheirOrder) {
  constexpr int64_t kPushes = 100;
  uint64_t seed = 1500;
  for (const rule::Buffering buffering :
       {rule::Buffering::kEmbedded, rule::Buffering::kClassic,
        rule::Buffering::kGather}) {
    SCOPED_TRACE(testing::Message() << "seed " << ++seed);
    TrainingRun run(
        OneTensor(kBlockElems + 5, {.optimizer = rule::Optimizer::kAdamW,
                                    .buffering = buffering,
                                    .clipped = true,
                                    .k = kPushes}),
        seed);
    Pair pair(*maker_, run);
    for (int pass = 0; pass < 5 && !HasFatalFailure(); ++pass) {
      pair.Run(run.NextPass(kPushes), false);
    }
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
        floats.LoadParameters();
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

TEST_P(ShardConformance, AResetShardTrainsAsANewOne) {
  uint64_t seed = 8500;
  for (const auto buffering :
       {rule::Buffering::kEmbedded, rule::Buffering::kClassic}) {
    SCOPED_TRACE(testing::Message() << "seed " << ++seed);
    const GroupTraits traits = {
        .optimizer = rule::Optimizer::kAdam, .buffering = buffering, .k = 3};
    TrainingRun run({.tensor_elems = {3, kBlockElems + 1, 5},
                     .tensor_groups = {0, 1, 0},
                     .groups = {traits, traits}},
                    seed);
    Pair pair(*maker_, run);
    // The last of them ends in the middle of a cycle.
    for (int pass = 0; pass < 4; ++pass) pair.Run(run.NextPass(2), false);
    ASSERT_TRUE(ResetAndWait(pair.shard()).ok());
    pair.state() = MakeReferenceState(*run.blocks());
    pair.ExpectSameState();
    pair.parameters() = run.RandomParameters();
    pair.LoadParameters();
    for (int pass = 0; pass < 4 && !HasFatalFailure(); ++pass) {
      pair.Run(run.NextPass(2), false);
    }
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
