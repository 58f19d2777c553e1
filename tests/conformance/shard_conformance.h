// ShardConformance: what every backend's shard must do, bit for bit.
//
// A backend links shard_conformance.cc and step_conformance.cc into a test of
// its own and instantiates the suite with itself.
#ifndef ACCRUE_TESTS_CONFORMANCE_SHARD_CONFORMANCE_H_
#define ACCRUE_TESTS_CONFORMANCE_SHARD_CONFORMANCE_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "server/kernels/shard.h"
#include "tests/device/lacks_gpu.h"

namespace accrue::kernels {

// Makes shards, and outlives them.
class ShardMaker {
 public:
  virtual ~ShardMaker() = default;
  virtual absl::StatusOr<std::unique_ptr<Shard>> Make(
      const ShardOptions& options) = 0;
};

struct ShardBackend {
  std::string name;
  // Where this machine lacks the GPU (LacksGpu) the tests are skipped.
  std::function<absl::StatusOr<std::unique_ptr<ShardMaker>>()> start;
};

inline std::string NameOfBackend(
    const testing::TestParamInfo<ShardBackend>& info) {
  return info.param.name;
}

inline void PrintTo(const ShardBackend& backend, std::ostream* out) {
  *out << backend.name;
}

class ShardConformance : public testing::TestWithParam<ShardBackend> {
 protected:
  void SetUp() override {
    auto maker = GetParam().start();
    if (LacksGpu(maker.status())) GTEST_SKIP() << maker.status();
    ASSERT_TRUE(maker.ok()) << maker.status();
    maker_ = *std::move(maker);
  }

  std::unique_ptr<ShardMaker> maker_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_CONFORMANCE_SHARD_CONFORMANCE_H_
