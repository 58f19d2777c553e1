#include "tests/conformance/shard_pair.h"

#include <bit>
#include <functional>
#include <future>
#include <ios>
#include <latch>
#include <memory>
#include <utility>

namespace accrue::kernels {
namespace {

using Told = std::function<void(absl::Status)>;

// Waits for what `start` tells.
absl::Status Await(const std::function<void(Told)>& start) {
  auto told = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> future = told->get_future();
  start([told](absl::Status status) { told->set_value(std::move(status)); });
  return future.get();
}

}  // namespace

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

absl::Status ResetAndWait(Shard& shard) {
  return Await([&](Told told) { shard.Reset(std::move(told)); });
}

std::vector<float> ReadAll(const Shard& shard, Shard::Array array,
                           int64_t elems) {
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

ModelTraits OneTensor(int64_t elems, const GroupTraits& group) {
  return {.tensor_elems = {elems}, .tensor_groups = {0}, .groups = {group}};
}

void Pair::Run(const PassPlan& plan, bool one_by_one) {
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
    // Nesterov's halfway point is kept wherever the shard likes.
    if (plan.groups[g].nesterov && !plan.groups[g].update.has_value()) continue;
    ASSERT_TRUE(SameBits(parameters_.next[g], expected_.next[g]));
  }
  parameters_.Publish(plan);
  expected_.Publish(plan);
  ExpectSameState();
}

void Pair::LoadParameters() {
  std::vector<const float*> groups;
  for (const auto& theta : parameters_.theta) groups.push_back(theta.data());
  const absl::Status status =
      Await([&](Told told) { shard_->Load(groups, std::move(told)); });
  EXPECT_TRUE(status.ok()) << status;
  expected_ = parameters_;
}

void Pair::ExpectSameState() {
  const int64_t elems = options_.blocks->elems;
  ASSERT_TRUE(
      SameBits(ReadAll(*shard_, Shard::Array::kMomentum, elems), state_.m));
  if (options_.has_variance) {
    ASSERT_TRUE(
        SameBits(ReadAll(*shard_, Shard::Array::kVariance, elems), state_.v));
  }
  if (options_.has_accumulation) {
    ASSERT_TRUE(SameBits(ReadAll(*shard_, Shard::Array::kAccumulation, elems),
                         state_.a));
  }
}

}  // namespace accrue::kernels
