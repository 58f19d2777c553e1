// Many more models are restored, made and deleted at once than the pool has
// threads: all is answered, and right.
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/base/work_pool.h"
#include "tests/durability/left_out_fixture.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

constexpr int kCrowd = 200;
static_assert(kCrowd > 2 * WorkPool::kMostSpares);

class CrowdTest : public LeftOutFixture {
 protected:
  void LeaveOut(int count) {
    for (int i = 0; i < count; ++i) {
      auto model = process_->Create(Spec(Left(i)));
      ASSERT_EQ(model.status(), absl::OkStatus());
      ASSERT_TRUE(process_->harness().Initialize(**model, 0.5).ok());
    }
    LeftOutFixture::LeaveOut();
    lane_ = pool().NewLane();
  }
  static ModelSpec Spec(const std::string& name) {
    return LeftOutFixture::Spec(name, Durability::kJournal);
  }
  static std::string Left(int i) { return absl::StrCat("left-", i); }

  // Each begins here, and is made on the pool.
  std::future<absl::Status> Restore(const std::string& name) {
    return OnPool([this, name](auto done) {
      process_->data().Restore(name, "", process_->store(), [=](auto model) {
        done(std::move(model).status());
      });
    });
  }
  std::future<absl::Status> Create(const std::string& name) {
    return OnPool([this, name](auto done) {
      process_->store().Create(
          Spec(name), [=](auto made) { done(std::move(made).status()); });
    });
  }
  std::future<absl::Status> Delete(const std::string& name) {
    return OnPool(
        [this, name](auto done) { done(process_->store().Delete(name)); });
  }

 private:
  using Done = std::function<void(absl::Status)>;

  WorkPool& pool() { return *process_->harness().environment().pool; }
  std::future<absl::Status> OnPool(std::function<void(Done)> work) {
    auto answer = std::make_shared<std::promise<absl::Status>>();
    pool().Post(lane_, [work = std::move(work), answer] {
      const WorkPool::Waiting waiting;
      work([answer](absl::Status status) {
        answer->set_value(std::move(status));
      });
    });
    return answer->get_future();
  }

  WorkPool::Lane lane_;  // of the process that left them out
};

TEST_F(CrowdTest, AllThatAreRestoredAtOnceAreBack) {
  LeaveOut(kCrowd);
  std::vector<std::future<absl::Status>> restored;
  restored.reserve(kCrowd);
  for (int i = 0; i < kCrowd; ++i) restored.push_back(Restore(Left(i)));
  for (auto& one : restored) EXPECT_EQ(one.get(), absl::OkStatus());
  for (int i = 0; i < kCrowd; ++i) {
    const auto model = process_->store().Find(Left(i));
    ASSERT_EQ(model.status(), absl::OkStatus());
    EXPECT_TRUE((*model)->Describe().version.has_value());
  }
  StartAgain();
  for (int i = 0; i < kCrowd; ++i) EXPECT_EQ(Find(Left(i)), absl::OkStatus());
}

TEST_F(CrowdTest, NorIsOneRestoreInTheWayOfAllThatComesAndGoes) {
  const auto name = [](int i) { return absl::StrCat("new-", i); };
  LeaveOut(kCrowd);
  std::vector<std::future<absl::Status>> answers;
  for (int i = 0; i < kCrowd; ++i) {
    answers.push_back(i % 2 == 0 ? Restore(Left(i)) : Delete(Left(i)));
    answers.push_back(Create(name(i)));
  }
  for (auto& one : answers) EXPECT_EQ(one.get(), absl::OkStatus());
  StartAgain();
  for (int i = 0; i < kCrowd; ++i) {
    EXPECT_EQ(Find(name(i)), absl::OkStatus());
    EXPECT_EQ(absl::IsNotFound(Find(Left(i))), i % 2 == 1) << Find(Left(i));
  }
}

TEST_F(CrowdTest, OneThatIsBeingRestoredIsNobodyElsesToChange) {
  LeaveOut(1);
  std::promise<void> reached, go_on;
  files_.faults().Add({.operation = "rename",
                       .path_part = "/tmp-",
                       .code = absl::StatusCode::kOk,
                       .first = [&] {
                         reached.set_value();
                         go_on.get_future().wait();
                       }});
  auto restored = Restore(Left(0));
  reached.get_future().wait();
  for (auto& second : {Restore(Left(0)).get(), Delete(Left(0)).get()}) {
    EXPECT_EQ(second.code(), absl::StatusCode::kUnavailable) << second;
    EXPECT_GT(GetErrorInfo(second).retry_after, absl::ZeroDuration());
    EXPECT_EQ(GetErrorInfo(second).subject, Left(0));
  }
  go_on.set_value();
  EXPECT_EQ(restored.get(), absl::OkStatus());
  EXPECT_EQ(Find(Left(0)), absl::OkStatus());
  EXPECT_EQ(Delete(Left(0)).get(), absl::OkStatus());
}

}  // namespace
}  // namespace accrue
