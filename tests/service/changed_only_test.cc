// Pulls that bring what has changed since the version that a worker has.
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "server/service/convert.h"
#include "tests/service/pull_fixture.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Groups that update at every push, at every second and at every fourth, of one
// element each; the value of each is its place.
class ChangedOnlyTest : public PullCallTest {
 protected:
  ChangedOnlyTest() {
    v1::ModelSpec spec = PlainSpec("m", 1);
    for (const int64_t k : {2, 4}) {
      *spec.add_groups() = spec.groups(0);
      v1::GroupSpec& group = *spec.mutable_groups(spec.groups_size() - 1);
      group.set_name("k" + std::to_string(k));
      group.set_k(k);
    }
    for (const char* group : {"k2", "k4", "k2"}) {
      v1::TensorSpec& tensor = *spec.add_tensors();
      tensor.set_name("t" + std::to_string(spec.tensors_size() - 1));
      tensor.set_group(group);
    }
    first_ = CreateInitialized(spec, {0, 1, 2, 3});
  }

  v1::PullRequest Since(int64_t number,
                        const std::vector<std::string>& tensors = {}) {
    v1::PullRequest request = Request();
    *request.mutable_have() = first_;
    request.mutable_have()->set_number(number);
    request.set_changed_only(true);
    for (const std::string& tensor : tensors) request.add_tensors(tensor);
    return request;
  }

  v1::Version first_;
};

TEST_F(ChangedOnlyTest, SendsWhatHasChangedOfWhatIsAskedFor) {
  Update(first_, 4);
  const Pulled one = Pull(Since(0));
  EXPECT_TRUE(one.header.changed_only());
  EXPECT_THAT(one.header.changed_groups(), ElementsAre(0));
  EXPECT_THAT(Floats(one.bytes), ElementsAre(0));
  Update(one.header.version(), 4);
  const Pulled two = Pull(Since(0));
  EXPECT_THAT(two.header.changed_groups(), ElementsAre(0, 1));
  EXPECT_THAT(Floats(two.bytes), ElementsAre(0, 1, 3));

  // In the spec's order, whatever the order in which they are named.
  EXPECT_THAT(Floats(Pull(Since(0, {"t3", "t2", "w"})).bytes),
              ElementsAre(0, 3));
  EXPECT_THAT(Floats(Pull(Since(1, {"t2", "t1"})).bytes), ElementsAre(1));
  // Nothing of it has changed, but the version has.
  const Pulled none = Pull(Since(0, {"t2"}));
  ASSERT_TRUE(none.status.ok()) << none.description;
  EXPECT_FALSE(none.header.unchanged());
  EXPECT_EQ(none.header.version().number(), 2);
  EXPECT_EQ(none.header.payload_bytes(), 0);
  EXPECT_THAT(none.bytes, IsEmpty());
  // The newest is at hand.
  EXPECT_TRUE(Pull(Since(2, {"t1"})).header.unchanged());
  // Of another lineage, or of none, everything counts as changed.
  v1::PullRequest other = Since(1, {"t2"});
  other.mutable_have()->set_lineage("00000000000000000000000000000000");
  EXPECT_THAT(Floats(Pull(other).bytes), ElementsAre(2));
  other.clear_have();
  const Pulled all = Pull(other);
  EXPECT_THAT(Floats(all.bytes), ElementsAre(2));
  EXPECT_THAT(all.header.changed_groups(), ElementsAre(0, 1, 2));
}

// What has changed is decided when the wait ends, by what came then.
TEST_F(ChangedOnlyTest, AWaitEndsWithWhatTheNextVersionChanged) {
  v1::PullRequest all = Since(0), some = Since(0, {"t2", "t3"});
  for (v1::PullRequest* request : {&all, &some}) {
    *request->mutable_wait() = ToApi(absl::Hours(1));
  }
  Pulled first, second;
  const auto await = [&](const auto& update) {
    std::thread one([&] { first = Pull(all); });
    std::thread other([&] { second = Pull(some); });
    while (server_->live_call_count() < 2) std::this_thread::yield();
    update();
    one.join();
    other.join();
  };
  await([&] { Update(first_, 4); });
  EXPECT_THAT(first.header.changed_groups(), ElementsAre(0));
  EXPECT_THAT(Floats(first.bytes), ElementsAre(0));
  EXPECT_EQ(second.header.version().number(), 1);
  EXPECT_FALSE(second.header.unchanged());
  EXPECT_THAT(second.bytes, IsEmpty());

  const v1::Version now = first.header.version();
  *all.mutable_have() = *some.mutable_have() = now;
  while (server_->live_call_count() > 0) std::this_thread::yield();
  await([&] { Update(now, 4); });
  EXPECT_THAT(Floats(first.bytes), ElementsAre(0, 1, 3));
  EXPECT_THAT(second.header.changed_groups(), ElementsAre(0, 1));
  EXPECT_THAT(Floats(second.bytes), ElementsAre(3));

  // An end without news is the same with a filter as without.
  *some.mutable_have() = first.header.version();
  *some.mutable_wait() = ToApi(absl::Milliseconds(5));
  EXPECT_TRUE(Pull(some).header.unchanged());
}

}  // namespace
}  // namespace accrue
