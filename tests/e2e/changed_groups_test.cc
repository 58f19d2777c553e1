// Pulls that leave out what has not changed: whatever a reader has, afterwards
// it holds the version that it was told, bit for bit.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/e2e/communication.h"

namespace accrue {
namespace {

using client::Encoding;
using client::PullResult;
using client::Version;

// Of k = 2 and 4 in turn.
const std::vector<int64_t> kSizes = {1000, 3, 50'000, 7, 1, 20'000};
const std::vector<int64_t> kKs = {2, 4, 2, 4, 4, 2};
constexpr int64_t kElems = 1000 + 3 + 50'000 + 7 + 1 + 20'000;
constexpr int64_t kElemsOften = 1000 + 50'000 + 20'000;

class ChangedGroupsTest : public CommunicationTest {
 protected:
  client::Model Make() {
    return CommunicationTest::Make(PlainSgd("m", kSizes, kKs));
  }

  static std::vector<float> Gradient(int64_t step) {
    std::vector<float> gradient(kElems);
    for (size_t i = 0; i < gradient.size(); ++i) {
      gradient[i] = static_cast<float>(static_cast<int64_t>(i) % 97 + step);
    }
    return gradient;
  }

  static std::vector<float> Whole(const client::Model& model) {
    std::vector<float> parameters(kElems);
    EXPECT_TRUE(model.Pull(&parameters).ok());
    return parameters;
  }
};

// Parameter bytes of a worker's pulls: all but what a message adds.
int64_t PulledElems(const client::Worker& worker) {
  return worker.traffic().pull_response_bytes / 4;
}

TEST_F(ChangedGroupsTest, AWorkerGetsWhatItsLastVersionLacks) {
  const client::Model model = Make();
  client::Worker worker = *model.OpenWorker();
  std::vector<float> parameters(kElems);
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  for (int64_t step = 1; step <= 12; ++step) {
    const auto pushed = worker.Push(Gradient(step));
    ASSERT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
    const int64_t before = PulledElems(worker);
    const auto pulled = worker.PullNewer(&parameters, absl::ZeroDuration());
    ASSERT_TRUE(pulled.ok()) << pulled.status();
    EXPECT_EQ(pulled->unchanged, step % 2 == 1);
    EXPECT_EQ(pulled->version, pushed->version);
    EXPECT_TRUE(parameters == Whole(model)) << "after step " << step;
    // Every second push changes the one group, every fourth the other too.
    const int64_t want = step % 4 == 0   ? kElems
                         : step % 2 == 0 ? kElemsOften
                                         : 0;
    EXPECT_GE(PulledElems(worker) - before, want);
    EXPECT_LE(PulledElems(worker) - before, want + 64);
  }
}

TEST_F(ChangedGroupsTest, FromAnyVersionToAnyOther) {
  const client::Model model = Make();
  client::Worker worker = *model.OpenWorker();
  const Version first = *model.Describe()->version;
  std::vector<Version> versions = {first};
  std::vector<std::vector<float>> contents = {Whole(model)};
  for (int64_t step = 1; step <= 8; ++step) {
    ASSERT_TRUE(
        worker.Push(Gradient(step), {.version = versions.back()})->accepted);
    if (step % 2 == 1) continue;
    versions.push_back(*model.Describe()->version);
    contents.push_back(Whole(model));
    for (size_t v = 0; v + 1 < versions.size(); ++v) {
      std::vector<float> parameters = contents[v];
      const auto pulled =
          model.Pull(&parameters, {.have = versions[v], .changed_only = true});
      ASSERT_TRUE(pulled.ok()) << pulled.status();
      EXPECT_EQ(pulled->version, versions.back());
      EXPECT_TRUE(parameters == contents.back())
          << versions[v].number << " to " << versions.back().number;
    }
  }
}

TEST_F(ChangedGroupsTest, WhatHasNotChangedIsNotTouched) {
  const client::Model model = Make();
  client::Worker worker = *model.OpenWorker();
  const Version first = *model.Describe()->version;
  for (int64_t step = 1; step <= 2; ++step) {
    ASSERT_TRUE(worker.Push(Gradient(step), {.version = first})->accepted);
  }
  std::vector<float> parameters(kElems, 42);
  ASSERT_TRUE(
      model.Pull(&parameters, {.have = first, .changed_only = true}).ok());
  const std::vector<float> whole = Whole(model);
  size_t begin = 0;
  for (size_t tensor = 0; tensor < kSizes.size(); ++tensor) {
    const auto end = begin + static_cast<size_t>(kSizes[tensor]);
    for (size_t i = begin; i < end; ++i) {
      ASSERT_EQ(parameters[i], kKs[tensor] == 2 ? whole[i] : 42.0f) << i;
    }
    begin = end;
  }
}

TEST_F(ChangedGroupsTest, OfSomeTensorsInAnyEncodingIntoManyParts) {
  const client::Model model = Make();
  client::Worker worker = *model.OpenWorker();
  const Version first = *model.Describe()->version;
  for (int64_t step = 1; step <= 2; ++step) {
    ASSERT_TRUE(worker.Push(Gradient(step), {.version = first})->accepted);
  }
  // t1 and t4 have not changed, t0 and t5 have.
  const std::vector<std::string> tensors = {"t5", "t4", "t1", "t0"};
  constexpr size_t kCount = 1000 + 3 + 1 + 20'000;
  std::vector<float> want(kCount);
  ASSERT_TRUE(model.Pull(&want, {.tensors = tensors}).ok());
  std::vector<std::vector<float>> parts(kCount / 11 + 1,
                                        std::vector<float>(11));
  parts.back().resize(kCount % 11);
  ASSERT_TRUE(
      model
          .Pull(&parts,
                {.have = first, .tensors = tensors, .changed_only = true})
          .ok());
  for (size_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(parts[i / 11][i % 11], want[i]) << i;
  }

  std::vector<uint16_t> halves(kCount), all(kCount);
  const auto pull = [&](std::vector<uint16_t>& into, bool changed_only) {
    return model.Pull(
        client::PayloadBuffer::Encoded(Encoding::kBf16, absl::MakeSpan(into)),
        {.have = changed_only ? std::optional<Version>(first) : std::nullopt,
         .tensors = tensors,
         .changed_only = changed_only});
  };
  ASSERT_TRUE(pull(all, false).ok());
  ASSERT_TRUE(pull(halves, true).ok());
  EXPECT_EQ(halves, all);

  // Only such as have not changed: nothing is sent but the version.
  std::vector<float> three(3, 42);
  const auto pulled = model.Pull(
      &three, {.have = first, .tensors = {"t1"}, .changed_only = true});
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_FALSE(pulled->unchanged);
  EXPECT_EQ(pulled->version.number, 1);
  EXPECT_EQ(three, std::vector<float>(3, 42));
  // A destination of another size is no better for it.
  std::vector<float> four(4);
  EXPECT_EQ(
      model
          .Pull(&four, {.have = first, .tensors = {"t1"}, .changed_only = true})
          .status()
          .code(),
      absl::StatusCode::kInvalidArgument);
}

TEST_F(ChangedGroupsTest, OfAnotherLineageEverythingHasChanged) {
  Version old;
  {
    const client::Model model = Make();
    client::Worker worker = *model.OpenWorker();
    ASSERT_TRUE(
        worker.Push(Gradient(1), {.version = *model.Describe()->version})
            ->accepted);
    old = *model.Describe()->version;
    ASSERT_TRUE(client_->DeleteModel("m").ok());
  }
  const client::Model model = Make();
  client::Worker worker = *model.OpenWorker();
  std::vector<float> parameters(kElems, 42);
  // Its number is there again.
  const auto pulled =
      model.Pull(&parameters, {.have = old, .changed_only = true});
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_NE(pulled->version.lineage, old.lineage);
  EXPECT_EQ(pulled->version.number, old.number);
  EXPECT_EQ(parameters, std::vector<float>(kElems));
  // So it is without a version at all.
  parameters.assign(kElems, 42);
  ASSERT_TRUE(model.Pull(&parameters, {.changed_only = true}).ok());
  EXPECT_EQ(parameters, std::vector<float>(kElems));
}

}  // namespace
}  // namespace accrue
