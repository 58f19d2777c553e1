#include "server/model/publication.h"

#include <bit>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/kernels/convert.h"
#include "server/model/commit_log.h"
#include "tests/model/harness.h"
#include "tests/model/holding_reader.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PublicationTest, NotOneBitChangesBetweenUpdates) {
  Harness harness;
  ModelSpec spec = SimpleSpec(100, 3);
  spec.optimizer.nesterov = true;
  spec.groups[0].hyper.beta1 = 0.9;
  auto model = harness.Make(spec, 0.25);
  const std::string session = harness.Open(*model, "a")->id;
  std::vector<float> gradient(100, 0.125f);
  for (int64_t i = 1; i <= 30; ++i) {
    auto publication = model->newest();
    const std::vector<float> before = harness.Parameters(*model);
    auto answer = harness.PushNow(*model, session, i, gradient);
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->published, i % 3 == 0);
    if (!answer->published) {
      EXPECT_EQ(model->newest(), publication);
    }
    EXPECT_EQ(std::memcmp(publication->group(0), before.data(), 400), 0);
  }
}

TEST(PublicationTest, AReaderThatComesTooLateIsToldAtOnce) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(100, 1));
  auto publication = model->newest();
  publication->EndReaders(absl::AbortedError("needed"));
  const auto late = HoldingReader::Of(publication);
  EXPECT_TRUE(late->ended());
  EXPECT_EQ(late->Why(), absl::AbortedError("needed"));
}

TEST(PublicationTest, AtMostMaxPublicationsExistAndUpdatesGoOn) {
  Harness harness;
  ModelSpec spec = SimpleSpec(2 * kernels::kBlockElems, 1);
  spec.max_publications = 3;
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "a")->id;
  const std::vector<float> ones(2 * kernels::kBlockElems, 1.0f);
  std::vector<std::shared_ptr<HoldingReader>> readers;
  int64_t sequence = 0;
  for (int i = 0; i < 2; ++i) {
    readers.push_back(HoldingReader::Of(model->newest()));
    ASSERT_TRUE(harness.PushNow(*model, session, ++sequence, ones).ok());
  }
  readers.push_back(HoldingReader::Of(model->newest()));
  EXPECT_EQ(model->Describe().publications, 3);
  auto push = harness.NewPush(*model, session, ++sequence, ones);
  auto answer = harness.Send(*model, std::move(push));
  EXPECT_EQ(GetErrorInfo(readers[0]->Why()).reason, Reason::kSlowReader);
  EXPECT_FALSE(readers[1]->ended());
  EXPECT_EQ(model->Describe().publications, 3);
  readers[0]->LetGo();
  ASSERT_TRUE(answer.get().ok());
  EXPECT_EQ(model->Describe().publications, 3);
  EXPECT_EQ(model->Describe().published_bytes,
            3 * 2 * kernels::kBlockElems * 4);
  for (auto& reader : readers) reader->LetGo();
  ASSERT_TRUE(harness.PushNow(*model, session, ++sequence, ones).ok());
  EXPECT_LE(model->Describe().publications, 2);
}

// Takes nothing but the publication, and keeps it.
class KeepingCapture : public Capture {
 public:
  void Begin(CapturedState captured) override {
    newest_ = std::move(captured.newest);
  }
  bool Read(const ArrayReader& /*arrays*/,
            std::function<void()> /*resume*/) override {
    taken_.set_value();
    return true;
  }
  void Fail(const absl::Status& why) override { FAIL() << why; }

  void Await() { taken_.get_future().wait(); }
  void LetGo() { newest_ = nullptr; }

 private:
  std::shared_ptr<const Publication> newest_;
  std::promise<void> taken_;
};

TEST(PublicationTest, ACaptureCostsNoThirdOneTheUpdateAfterNextWaitsForIt) {
  Harness harness;
  const ModelSpec spec = SimpleSpec(4, 1);
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "a")->id;
  const std::vector<float> ones(4, 1.0F);
  ASSERT_TRUE(harness.PushNow(*model, session, 1, ones).ok());
  const auto capture = std::make_shared<KeepingCapture>();
  model->CaptureState(capture);
  capture->Await();
  auto reader = HoldingReader::Of(model->newest());
  ASSERT_TRUE(harness.PushNow(*model, session, 2, ones).ok());
  auto answer = harness.Send(*model, harness.NewPush(*model, session, 3, ones));
  EXPECT_FALSE(reader->ended());  // it is not in the way
  reader->LetGo();
  EXPECT_EQ(model->Describe().publications, 2);
  capture->LetGo();
  ASSERT_TRUE(answer.get().ok());
  EXPECT_EQ(model->Describe().published_bytes, 2 * 4 * 4);
}

TEST(PublicationTest, ADeletedModelWaitsForNoReader) {
  Harness harness;
  ModelSpec spec = SimpleSpec(1, 1);
  spec.max_publications = 2;
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "a")->id;
  auto reader = HoldingReader::Of(model->newest());
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {1}).ok());
  auto held = harness.Send(*model, harness.NewPush(*model, session, 2, {1}));
  EXPECT_FALSE(reader->Why().ok());
  model->Delete();
  EXPECT_EQ(held.get().status().code(), absl::StatusCode::kNotFound);
  model.reset();
  reader->LetGo();  // outlived its model
}

TEST(PublicationTest, EncodedCopiesAreMadeOnceAndAreOfThisVersion) {
  Harness harness;
  ModelSpec spec = SimpleSpec(1, 1);
  spec.tensors = {{"a", {3}, "all"}, {"b", {2}, "all"}, {"c", {1}, "all"}};
  auto model = harness.Make(spec, 1.0);
  const std::string session = harness.Open(*model, "a")->id;
  auto read = [&](std::vector<int> tensors, kernels::Encoding encoding) {
    std::promise<absl::StatusOr<std::vector<Publication::Range>>> promise;
    auto publication = model->newest();
    publication->Ranges(std::move(tensors), encoding, model->pool(),
                        model->lane(),
                        [&](auto ranges) { promise.set_value(ranges); });
    auto ranges = promise.get_future().get();
    EXPECT_TRUE(ranges.ok());
    std::vector<float> values;
    for (const auto& range : *ranges) {
      const int64_t count = range.size_bytes / EncodedBytes(encoding);
      const size_t old = values.size();
      values.resize(old + count);
      kernels::Decode(range.data, count, encoding, values.data() + old);
    }
    return values;
  };
  for (int64_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(
        harness.PushNow(*model, session, i, {0.5, -1, 0.25, 2, -0.125, 4})
            .ok());
    const std::vector<float> exact = read({}, kernels::Encoding::kF32);
    ASSERT_EQ(exact.size(), 6);
    EXPECT_EQ(read({}, kernels::Encoding::kBf16), exact);
    EXPECT_EQ(read({}, kernels::Encoding::kF16), exact);
    EXPECT_THAT(read({0, 2}, kernels::Encoding::kF16),
                ElementsAre(exact[0], exact[1], exact[2], exact[5]));
  }
}

TEST(PublicationTest, KnowsWhichGroupsHaveChangedSince) {
  Harness harness;
  ModelSpec spec = SimpleSpec(1, 1);
  spec.tensors = {{"a", {3}, "fast"}, {"b", {2}, "slow"}, {"c", {1}, "rest"}};
  spec.groups[0].name = "fast";
  for (const auto& [name, k] : {std::pair("slow", 2), std::pair("rest", 4)}) {
    spec.groups.push_back(spec.groups[0]);
    spec.groups.back().name = name;
    spec.groups.back().k = spec.groups.back().update_every = k;
  }
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "a")->id;
  const Version first = *model->Describe().version;
  const auto since = [&](int64_t number) {
    return model->newest()->ChangedSince({first.lineage, number});
  };
  EXPECT_THAT(since(0), IsEmpty());
  const auto push = [&](int64_t sequence) {
    ASSERT_TRUE(
        harness.PushNow(*model, session, sequence, std::vector<float>(6, 1))
            .ok());
  };
  push(1);
  EXPECT_THAT(since(0), ElementsAre(0));
  EXPECT_THAT(since(1), IsEmpty());
  push(2);
  EXPECT_THAT(since(0), ElementsAre(0, 1));
  EXPECT_THAT(since(1), ElementsAre(0, 1));
  push(3);
  EXPECT_THAT(since(1), ElementsAre(0, 1));
  EXPECT_THAT(since(2), ElementsAre(0));
  // A close changes what it closes.
  ASSERT_TRUE(harness.EndCycle(*model).ok());
  EXPECT_THAT(since(2), ElementsAre(0, 1, 2));
  EXPECT_THAT(since(3), ElementsAre(1, 2));
  // An older publication is asked about itself, not about the newest.
  const auto old = model->newest();
  push(4);
  EXPECT_THAT(old->ChangedSince({first.lineage, 4}), IsEmpty());
  // Of another history, or of none, all is news.
  EXPECT_THAT(model->newest()->ChangedSince({"another", 5}),
              ElementsAre(0, 1, 2));
  EXPECT_THAT(model->newest()->ChangedSince({}), ElementsAre(0, 1, 2));
}

TEST(PublicationTest, InitializersDependOnSeedTensorAndIndexAlone) {
  Harness harness;
  ModelSpec spec = SimpleSpec(1, 1);
  spec.tensors = {{"u", {300'000}, "all"}, {"n", {300'000}, "all"}};
  auto values = [&](int64_t seed) {
    auto model = harness.TryMake(spec);
    Initialization initialization;
    initialization.seed = seed;
    initialization.initializers = {{"n", Initializer::Kind::kNormal, 3, 2},
                                   {"u", Initializer::Kind::kUniform, -1, 1}};
    std::promise<absl::StatusOr<Version>> done;
    (*model)->Initialize(std::move(initialization),
                         [&](auto version) { done.set_value(version); });
    EXPECT_TRUE(done.get_future().get().ok());
    return harness.Parameters(**model);
  };
  const std::vector<float> a = values(1), b = values(1), c = values(2);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  // Golden bits: the same on every host, whatever its libm and its threads.
  std::vector<uint32_t> uniform, normal;
  for (const int64_t i : {0, 1, 2, 299'999}) {
    uniform.push_back(std::bit_cast<uint32_t>(a[i]));
    normal.push_back(std::bit_cast<uint32_t>(a[300'000 + i]));
  }
  EXPECT_THAT(uniform,
              ElementsAre(0x3ec6280c, 0xbe1d4351, 0xbf4618eb, 0xbee2038e));
  EXPECT_THAT(normal,
              ElementsAre(0x4053b4a2, 0x401768cd, 0x3fb79b72, 0x408d13fc));
  double uniform_sum = 0, normal_sum = 0, normal_squares = 0;
  for (int i = 0; i < 300'000; ++i) {
    ASSERT_GE(a[i], -1);
    ASSERT_LE(a[i], 1);
    uniform_sum += a[i];
    normal_sum += a[300'000 + i];
    normal_squares += (a[300'000 + i] - 3) * (a[300'000 + i] - 3);
  }
  // Means of n draws stray by sigma/sqrt(n); five of those are a bug.
  EXPECT_NEAR(uniform_sum / 3e5, 0, 5 * 0.5774 / 547.7);
  EXPECT_NEAR(normal_sum / 3e5, 3, 5 * 2 / 547.7);
  EXPECT_NEAR(normal_squares / 3e5, 4, 5 * 4 * 1.4142 / 547.7);
}

TEST(PublicationTest, TheFirstCompleteInitializationWins) {
  Harness harness;
  auto model = harness.TryMake(SimpleSpec(2, 1));
  ASSERT_TRUE(model.ok());
  EXPECT_EQ((*model)->newest(), nullptr);
  auto first = harness.Initialize(**model, 1);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->number, 0);
  EXPECT_EQ(first->lineage.size(), 32);
  auto second = harness.Initialize(**model, 2);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(GetErrorInfo(second.status()).reason, Reason::kAlreadyInitialized);
  EXPECT_THAT(harness.Parameters(**model), ElementsAre(1, 1));
}

TEST(PublicationTest, BadInitializersAreRefusedAndLeaveNothing) {
  Harness harness;
  auto model = harness.TryMake(SimpleSpec(2, 1));
  using Kind = Initializer::Kind;
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<std::vector<Initializer>> bad = {
      {},
      {{"x", Kind::kConstant, 0, 0}},
      {{"w", Kind::kConstant, 0, 0}, {"w", Kind::kConstant, 0, 0}},
      {{"w", Kind::kConstant, inf, 0}},
      {{"w", Kind::kConstant, 1e300, 0}},
      {{"w", Kind::kUniform, 1, 1}},
      {{"w", Kind::kNormal, 0, 0}},
      {{"w", Kind::kNormal, 3.4e38, 1e36}},
      {{"w", Kind::kNormal, -3.4e38, 1e36}},
  };
  for (const auto& initializers : bad) {
    Initialization initialization;
    initialization.initializers = initializers;
    std::promise<absl::StatusOr<Version>> done;
    (*model)->Initialize(std::move(initialization),
                         [&](auto version) { done.set_value(version); });
    EXPECT_EQ(done.get_future().get().status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ((*model)->newest(), nullptr);
  }
  EXPECT_TRUE(harness.Initialize(**model, 1).ok());
}

}  // namespace
}  // namespace accrue
