#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "accrue/client.h"
#include "client/cpp/src/far_copy.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

using grpc::StatusCode;
using v1::ErrorDetail;

class PullTest : public SdkTest {};

TEST_F(PullTest, ChunksMayBeCutAnywhere) {
  const Model model = OpenModel();
  // More than one slice a chunk, and chunks smaller than an element.
  const std::vector<float> want = Ramp(50'021);
  daemon_.Publish(BytesOf(want));
  const std::vector<std::vector<size_t>> kCuts = {
      {}, {4099, 3, 60'000}, {1 << 20}, {16 << 10}, {7919}};
  for (const auto& cuts : kCuts) {
    daemon_.CutPullsInto(cuts);
    std::vector<float> flat(want.size());
    const PullResult result = ValueOf(model.Pull(&flat));
    EXPECT_FALSE(result.unchanged);
    EXPECT_EQ(result.version.number, daemon_.version().number());
    EXPECT_EQ(flat, want);

    std::vector<std::vector<float>> tensors = {
        std::vector<float>(1), std::vector<float>(50'000),
        std::vector<float>(0), std::vector<float>(20)};
    ValueOf(model.Pull(&tensors));
    EXPECT_EQ(tensors[0], Ramp(1));
    EXPECT_EQ(tensors[1], Ramp(50'000, 1));
    EXPECT_EQ(tensors[3], Ramp(20, 50'001));
  }
}

// They are copied past the caches.
TEST_F(PullTest, LargeParametersArriveWhole) {
  const Model model = OpenModel();
  const std::vector<float> want =
      Ramp(static_cast<int64_t>(internal::kFarBytes / sizeof(float)) + 1);
  daemon_.Publish(BytesOf(want));
  daemon_.CutPullsInto({(1 << 20) + 3});
  std::vector<float> flat(want.size());
  ValueOf(model.Pull(&flat));
  EXPECT_TRUE(flat == want);
}

TEST_F(PullTest, EncodingAndFilterAreAskedFor) {
  const Model model = OpenModel();
  daemon_.Publish(std::string("\x80\x3f\x00\x40", 4));
  std::vector<uint16_t> words(2);
  ValueOf(
      model.Pull(PayloadBuffer::Encoded(Encoding::kBf16, absl::MakeSpan(words)),
                 {.tensors = {"b", "w"}}));
  EXPECT_THAT(words, testing::ElementsAre(0x3f80, 0x4000));
  EXPECT_EQ(daemon_.last_pull()->encoding(), v1::ENCODING_BF16);
  EXPECT_THAT(daemon_.last_pull()->tensors(), testing::ElementsAre("b", "w"));
  EXPECT_FALSE(daemon_.last_pull()->has_have());
}

TEST_F(PullTest, ADestinationOfAnotherSizeIsAnError) {
  const Model model = OpenModel();
  daemon_.Publish(BytesOf(Ramp(17)));
  for (const int elements : {0, 16, 18}) {
    std::vector<float> flat(elements, -1);
    EXPECT_EQ(model.Pull(&flat).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(flat, testing::Each(-1));
  }
  EXPECT_EQ(daemon_.calls("Pull"), 3);
}

TEST_F(PullTest, AnUnchangedVersionLeavesTheDestinationAlone) {
  const Model model = OpenModel();
  daemon_.Publish(BytesOf(Ramp(17)));
  std::vector<float> flat(17);
  const PullResult first = ValueOf(model.Pull(&flat));
  flat.assign(17, -1);
  const PullResult second = ValueOf(model.Pull(
      &flat, {.have = first.version, .wait = absl::Milliseconds(10)}));
  EXPECT_TRUE(second.unchanged);
  EXPECT_EQ(second.version, first.version);
  EXPECT_THAT(flat, testing::Each(-1));
}

TEST_F(PullTest, PullNewerWaitsForTheNextVersion) {
  Worker worker = OpenWorker();
  daemon_.Publish(BytesOf(Ramp(17)));
  std::vector<float> flat(17);
  EXPECT_FALSE(ValueOf(worker.PullNewer(&flat, absl::Seconds(60))).unchanged);
  EXPECT_TRUE(
      ValueOf(worker.PullNewer(&flat, absl::Milliseconds(1))).unchanged);
  std::thread publisher([&] {
    daemon_.AwaitCalls("Pull", 3);
    daemon_.Publish(BytesOf(Ramp(17, 100)));
  });
  const PullResult newer = ValueOf(worker.PullNewer(&flat, absl::Seconds(60)));
  publisher.join();
  EXPECT_FALSE(newer.unchanged);
  EXPECT_EQ(worker.version(), newer.version);
  EXPECT_EQ(flat, Ramp(17, 100));
}

TEST_F(PullTest, APullThatIsCutOffBeginsAgain) {
  const Model model = OpenModel();
  const std::vector<float> want = Ramp(1 << 20);
  daemon_.Publish(BytesOf(want));
  daemon_.CutPullsInto({1 << 20});
  daemon_.Script(
      "Pull", {{Fate::kCutHalfWay},
               Refuse(StatusCode::ABORTED, ErrorDetail::REASON_SLOW_READER),
               {Fate::kCut},
               Refuse(StatusCode::ABORTED, ErrorDetail::REASON_UNSPECIFIED),
               Refuse(StatusCode::UNAVAILABLE, ErrorDetail::REASON_DRAINING)});
  std::vector<float> flat(want.size());
  ValueOf(model.Pull(&flat));
  EXPECT_EQ(flat, want);
  EXPECT_EQ(daemon_.calls("Pull"), 6);
}

TEST_F(PullTest, ProgressCountsUpToAllBytes) {
  const Model model = OpenModel();
  daemon_.Publish(BytesOf(Ramp(100'000)));
  daemon_.CutPullsInto({64 << 10});
  std::vector<float> flat(100'000);
  std::vector<int64_t> seen;
  ValueOf(model.Pull(&flat, {.progress = [&](int64_t received_bytes) {
    seen.push_back(received_bytes);
  }}));
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), 400'000);
}

TEST_F(PullTest, ATimeoutEndsAPullThatIsNotAnswered) {
  const Model model = OpenModel();
  daemon_.Script("Pull", {{Fate::kHang}});
  std::vector<float> flat(17);
  const absl::Time start = absl::Now();
  EXPECT_EQ(
      model.Pull(&flat, {.timeout = absl::Milliseconds(200)}).status().code(),
      absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST_F(PullTest, ErrorsThatWillNotPassAreReturned) {
  const Model model = OpenModel();
  daemon_.Script("Pull", {Refuse(StatusCode::FAILED_PRECONDITION,
                                 ErrorDetail::REASON_NOT_INITIALIZED)});
  std::vector<float> flat(17);
  EXPECT_EQ(GetReason(model.Pull(&flat).status()), Reason::kNotInitialized);
  EXPECT_EQ(daemon_.calls("Pull"), 1);
}

}  // namespace
}  // namespace accrue::client
