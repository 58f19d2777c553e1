// A model on a GPU's daemon and the same on the CPU's, which are told the same.
#ifndef ACCRUE_TESTS_GPU_SIDES_H_
#define ACCRUE_TESTS_GPU_SIDES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "accrue/client.h"
#include "tests/e2e/daemon.h"

namespace accrue {

inline constexpr int64_t kCycle = 4;

// Of its own for every seed.
std::vector<float> Gradient(int64_t elems, int64_t seed);

// Two groups, one with half the other's k: kCycle.
client::ModelSpec Spec(const std::string& name, int64_t elems,
                       client::Optimizer optimizer,
                       client::Buffering buffering);

// Not EXPECT_EQ: nobody reads so many floats.
bool SameBits(const std::vector<float>& a, const std::vector<float>& b);

// A model of a daemon, with a worker. Errors are failures of the test.
class Side {
 public:
  Side(const Daemon& daemon, const client::ModelSpec& spec,
       const client::Compression& compression);

  void Initialize(bool restore = false);
  // Of the newest version.
  absl::StatusOr<client::PushResult> Push(const std::vector<float>& gradient);
  // The newest parameters.
  const std::vector<float>& Pull();
  client::ModelDescription Describe() { return *model_.Describe(); }

 private:
  const client::Client client_;
  client::Model model_;
  std::optional<client::Worker> worker_;
  std::vector<float> parameters_;
};

// The same model on both.
class Sides {
 public:
  Sides(const Daemon& gpu, const Daemon& cpu, const client::ModelSpec& spec,
        const client::Compression& compression);

  Side& gpu() { return gpu_; }
  Side& cpu() { return cpu_; }

  // So many pushes to both. After each, nothing can be told apart.
  void Train(int64_t pushes);

 private:
  Side gpu_, cpu_;
  const int64_t elems_;
  int64_t pushed_ = 0;
};

// A program with GPUs that are none, if the test is to run on it; else null.
const char* FakeProgram();

}  // namespace accrue

#endif  // ACCRUE_TESTS_GPU_SIDES_H_
