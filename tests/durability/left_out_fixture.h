// LeftOutFixture: processes on a disk that could not be read when one of them
// began, and can be now: that one had to leave its models out.
#ifndef ACCRUE_TESTS_DURABILITY_LEFT_OUT_FIXTURE_H_
#define ACCRUE_TESTS_DURABILITY_LEFT_OUT_FIXTURE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"

namespace accrue {

class LeftOutFixture : public ::testing::Test {
 protected:
  LeftOutFixture() { StartAgain(); }

  // Of five parameters, with cycles of two pushes.
  static ModelSpec Spec(const std::string& name, Durability durability) {
    ModelSpec spec = SimpleSpec(5, 2);
    spec.name = name;
    spec.durability = durability;
    FillDefaults(spec);
    return spec;
  }
  // The process that runs ends without notice.
  void StartAgain() {
    process_.reset();
    process_ = std::make_unique<KeepingProcess>(data_.path(),
                                                DurabilityOptions(), &files_);
    ASSERT_EQ(process_->Start(), absl::OkStatus());
  }
  // The next one leaves out all that there are.
  void LeaveOut() {
    files_.faults().Add(
        {.operation = "open", .path_part = "/checkpoint-", .times = kAlways});
    StartAgain();
    files_.faults().Clear();
  }
  absl::Status Find(const std::string& name) {
    return process_->store().Find(name).status();
  }

  const TemporaryDirectory data_;
  const TemporaryDirectory shadow_;
  ForgetfulFiles files_{shadow_ / "shadow"};
  std::unique_ptr<KeepingProcess> process_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_LEFT_OUT_FIXTURE_H_
