// SlowDiskTest: a process that keeps its models on a disk of which one call, of
// a test's choice, takes as long as the test likes.
#ifndef ACCRUE_TESTS_DURABILITY_SLOW_DISK_H_
#define ACCRUE_TESTS_DURABILITY_SLOW_DISK_H_

#include <future>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "server/model/spec.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"

namespace accrue {

class SlowDiskTest : public ::testing::Test {
 protected:
  SlowDiskTest() { StartAgain(); }

  static ModelSpec Spec(Durability durability) {
    ModelSpec spec = SimpleSpec(5, 2);
    spec.name = "m";
    spec.durability = durability;
    FillDefaults(spec);
    return spec;
  }

  // The process that runs ends without notice.
  void StartAgain(const DurabilityOptions& options = DurabilityOptions()) {
    process_.reset();
    process_ = std::make_unique<KeepingProcess>(data_.path(), options, &files_);
    const absl::Status started = process_->Start();
    ASSERT_TRUE(started.ok()) << started;
  }
  std::shared_ptr<Model> Create(Durability durability) {
    auto made = process_->Create(Spec(durability));
    EXPECT_TRUE(made.ok()) << made.status();
    return *made;
  }
  // The next call of that kind waits for LetGo. Once a test.
  void HoldUp(const std::string& operation, const std::string& path_part) {
    files_.faults().Add({.operation = operation,
                         .path_part = path_part,
                         .code = absl::StatusCode::kOk,
                         .first = [this] {
                           reached_.set_value();
                           let_go_.get_future().wait();
                         }});
  }
  void AwaitHeldUp() { reached_.get_future().wait(); }
  void LetGo() { let_go_.set_value(); }

  Harness& harness() { return process_->harness(); }

  const TemporaryDirectory data_;
  const TemporaryDirectory shadow_;
  ForgetfulFiles files_{shadow_ / "shadow"};
  std::promise<void> reached_;
  std::promise<void> let_go_;
  std::unique_ptr<KeepingProcess> process_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_SLOW_DISK_H_
