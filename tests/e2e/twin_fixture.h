// TwinTest: a daemon without models, for tests over kinds of state. One for all
// tests of a suite.

#ifndef ACCRUE_TESTS_E2E_TWIN_FIXTURE_H_
#define ACCRUE_TESTS_E2E_TWIN_FIXTURE_H_

#include <optional>

#include <gtest/gtest.h>

#include "tests/e2e/daemon.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"

namespace accrue {

class TwinTest : public testing::TestWithParam<TwinState> {
 protected:
  static void SetUpTestSuite() { daemon_ = Daemon::Start().release(); }
  static void TearDownTestSuite() { delete daemon_; }

  void SetUp() override {
    ASSERT_NE(daemon_, nullptr);
    wire_.emplace(daemon_->tcp());
    for (const v1::Model& model : wire_->Models()) {
      wire_->Delete(model.spec().name());
    }
  }

  inline static Daemon* daemon_ = nullptr;
  std::optional<Wire> wire_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_TWIN_FIXTURE_H_
