// Pair: a shard, and the reference that it is held against.
//
// Errors.    reported as failures of the test that runs
// Threading. compatible
#ifndef ACCRUE_TESTS_CONFORMANCE_SHARD_PAIR_H_
#define ACCRUE_TESTS_CONFORMANCE_SHARD_PAIR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "server/kernels/shard.h"
#include "tests/conformance/shard_conformance.h"
#include "tests/conformance/training_run.h"
#include "tests/kernels/reference_pass.h"

namespace accrue::kernels {

PassResult RunAndWait(Shard& shard, Pass pass);
absl::Status ResetAndWait(Shard& shard);
std::vector<float> ReadAll(const Shard& shard, Shard::Array array,
                           int64_t elems);
testing::AssertionResult SameBits(const std::vector<float>& got,
                                  const std::vector<float>& want);
ModelTraits OneTensor(int64_t elems, const GroupTraits& group);

class Pair {
 public:
  Pair(ShardMaker& maker, TrainingRun& run)
      : run_(run),
        options_(run.shard_options()),
        shard_(*maker.Make(options_)),
        state_(MakeReferenceState(*options_.blocks)),
        parameters_(run.RandomParameters()),
        expected_(parameters_) {
    LoadParameters();
  }

  // One pass on the shard (as passes of one push, if so wanted), one on the
  // reference.
  void Run(const PassPlan& plan, bool one_by_one);
  void ExpectSameState();

  Shard& shard() { return *shard_; }
  ReferenceState& state() { return state_; }
  Parameters& parameters() { return parameters_; }
  // After they were changed by hand: the shard and the reference hear of it.
  void LoadParameters();

 private:
  TrainingRun& run_;
  const ShardOptions options_;
  const std::unique_ptr<Shard> shard_;
  ReferenceState state_;
  Parameters parameters_, expected_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_CONFORMANCE_SHARD_PAIR_H_
