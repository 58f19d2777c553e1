// CommunicationTest: a daemon, a client of it, and models whose arithmetic is
// easy to foresee.
//
// Errors.    a test that cannot begin ends its process
// Threading. compatible

#ifndef ACCRUE_TESTS_E2E_COMMUNICATION_H_
#define ACCRUE_TESTS_E2E_COMMUNICATION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/e2e/daemon.h"

namespace accrue {

class CommunicationTest : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();

  void SetUp() override;

  // sgd without momentum at learning rate 1: theta' = theta - mean of k
  // gradients. Tensor i, of sizes[i] elements, is in the group with ks[i] as
  // its k.
  static client::ModelSpec PlainSgd(const std::string& name,
                                    const std::vector<int64_t>& sizes,
                                    const std::vector<int64_t>& ks);
  // Created, and initialized to zeros.
  client::Model Make(const client::ModelSpec& spec);

  static std::unique_ptr<Daemon> daemon_;
  std::optional<client::Client> client_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_COMMUNICATION_H_
