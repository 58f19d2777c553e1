// 16-bit copies that come with a version, since readers wanted the one before.
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/kernels/convert.h"
#include "tests/model/flawed_shard.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using kernels::Encoding;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kElems = 70;

// What each pass was asked to make: "0:bf16" of group 0.
using Copies = std::vector<std::string>;

class NotingShard final : public ForwardingShard {
 public:
  NotingShard(std::unique_ptr<kernels::Shard> shard,
              std::vector<Copies>* passes)
      : ForwardingShard(std::move(shard)), passes_(passes) {}

  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    Copies& copies = passes_->emplace_back();
    for (size_t g = 0; g < pass.groups.size(); ++g) {
      for (const kernels::EncodedNext& encoded : pass.groups[g].encoded) {
        copies.push_back(
            std::to_string(g) +
            (encoded.encoding == Encoding::kBf16 ? ":bf16" : ":f16"));
      }
    }
    ForwardingShard::Run(std::move(pass), std::move(done));
  }

 private:
  std::vector<Copies>* const passes_;
};

class CopiesTest : public ::testing::Test {
 protected:
  CopiesTest() {
    harness_.environment().make_shard =
        WrappedShards([this](std::unique_ptr<kernels::Shard> shard, int64_t) {
          return std::make_unique<NotingShard>(std::move(shard), &passes_);
        });
  }
  void Make(ModelSpec spec) {
    model_ = harness_.Make(std::move(spec), 1);
    session_ = harness_.Open(*model_, "a")->id;
    elems_ = static_cast<size_t>(model_->layout()->elems());
  }
  // Returns what its pass made.
  Copies Push() {
    std::vector<float> gradient(elems_);
    for (size_t i = 0; i < elems_; ++i) {
      gradient[i] =
          0.001f * static_cast<float>(i) + 0.1f * static_cast<float>(sequence_);
    }
    EXPECT_TRUE(
        harness_.PushNow(*model_, session_, ++sequence_, gradient).ok());
    return passes_.back();
  }
  // What a reader of `tensor` gets is what the floats are in that encoding.
  void Read(Encoding encoding, int tensor = 0) {
    const auto newest = model_->newest();
    const auto ranges = Ranges(*newest, encoding, tensor);
    const auto floats = Ranges(*newest, Encoding::kF32, tensor);
    ASSERT_EQ(ranges.size(), 1);
    const int64_t count = floats[0].size_bytes / 4;
    ASSERT_EQ(ranges[0].size_bytes, count * 2);
    std::vector<std::byte> want(static_cast<size_t>(count * 2));
    kernels::Encode(reinterpret_cast<const float*>(floats[0].data), count,
                    encoding, want.data());
    EXPECT_EQ(std::memcmp(ranges[0].data, want.data(), want.size()), 0);
  }

  Harness harness_;
  std::vector<Copies> passes_;  // of one model, whose passes follow each other
  std::shared_ptr<Model> model_;
  std::string session_;
  size_t elems_ = 0;
  int64_t sequence_ = 0;

 private:
  std::vector<Publication::Range> Ranges(const Publication& publication,
                                         Encoding encoding, int tensor) {
    std::promise<std::vector<Publication::Range>> ranges;
    publication.Ranges({tensor}, encoding, model_->pool(), model_->lane(),
                       [&](auto made) { ranges.set_value(*made); });
    return ranges.get_future().get();
  }
};

TEST_F(CopiesTest, AVersionComesWithThoseOfTheOneBeforeThatWereRead) {
  Make(SimpleSpec(kElems, 1));
  EXPECT_THAT(Push(), IsEmpty());
  Read(Encoding::kBf16);
  for (int version = 2; version < 6; ++version) {
    EXPECT_THAT(Push(), ElementsAre("0:bf16"));
    Read(Encoding::kBf16);
  }
  Read(Encoding::kF16);
  EXPECT_THAT(Push(), ElementsAre("0:bf16", "0:f16"));
  Read(Encoding::kF16);
  Read(Encoding::kBf16);
}

TEST_F(CopiesTest, WhatNobodyReadsForAVersionIsNotMadeAgain) {
  Make(SimpleSpec(kElems, 1));
  Read(Encoding::kBf16);
  EXPECT_THAT(Push(), ElementsAre("0:bf16"));
  // Also where memory is used again that held one which was read.
  for (int i = 0; i < 3; ++i) EXPECT_THAT(Push(), IsEmpty());
  // Somebody comes later, for a version without one.
  Read(Encoding::kBf16);
  EXPECT_THAT(Push(), ElementsAre("0:bf16"));
  Read(Encoding::kBf16);
}

TEST_F(CopiesTest, ItIsReadWithoutTheMakingOfAnother) {
  Make(SimpleSpec(kElems, 1));
  Read(Encoding::kBf16);
  Push();
  // Those who would make one have no hand free.
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  const auto lane = model_->pool()->NewLane();
  for (int i = 0; i < model_->pool()->thread_count(); ++i) {
    model_->pool()->Post(lane, [released] { released.wait(); });
  }
  const auto newest = model_->newest();
  auto read = std::make_shared<std::promise<void>>();
  std::future<void> done = read->get_future();
  newest->Ranges({}, Encoding::kBf16, model_->pool(), model_->lane(),
                 [read](const auto& ranges) {
                   EXPECT_TRUE(ranges.ok()) << ranges.status();
                   read->set_value();
                 });
  EXPECT_EQ(done.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  release.set_value();
  done.wait();
}

TEST_F(CopiesTest, OnlyGroupsThatWereReadHaveThem) {
  ModelSpec spec = SimpleSpec(kElems, 1);
  spec.tensors.push_back({"other", {5}, "second"});
  spec.groups.push_back(spec.groups[0]);
  spec.groups[1].name = "second";
  spec.groups[1].k = spec.groups[1].update_every = 2;
  Make(spec);
  Read(Encoding::kF16, 1);
  // The second's cycle is not at its end.
  EXPECT_THAT(Push(), IsEmpty());
  EXPECT_THAT(Push(), ElementsAre("1:f16"));
  Read(Encoding::kF16, 1);
  Read(Encoding::kF16, 0);
}

// Not before the update: then it would be of the parameters half-way.
TEST_F(CopiesTest, ALookAheadMakesNone) {
  ModelSpec spec = SimpleSpec(kElems, 2);
  spec.optimizer.nesterov = true;
  spec.groups[0].hyper.beta1 = 0.9;
  Make(spec);
  Read(Encoding::kBf16);
  EXPECT_THAT(Push(), IsEmpty());
  EXPECT_THAT(Push(), ElementsAre("0:bf16"));
  Read(Encoding::kBf16);
}

// The pass had written it, into memory that is used again.
TEST_F(CopiesTest, OneOfAPassThatFailedIsNone) {
  Flaws flaws;
  harness_.environment().make_shard = FlawedShards(flaws);
  model_ = harness_.Make(SimpleSpec(kElems, 1), 1);
  session_ = harness_.Open(*model_, "a")->id;
  Read(Encoding::kBf16);
  flaws.run = true;
  EXPECT_FALSE(
      harness_.PushNow(*model_, session_, 1, std::vector<float>(kElems, 0.5f))
          .ok());
  flaws.run = false;
  ASSERT_TRUE(harness_.Initialize(*model_, 3).ok());
  Read(Encoding::kBf16);
}

}  // namespace
}  // namespace accrue
