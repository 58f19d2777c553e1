// TrainingRun: an endless, random, but repeatable sequence of passes over a
// random model, with the parameters that they read and write.
//
// The scalars are random too, not a rule's: a shard must obey any.
#ifndef ACCRUE_TESTS_CONFORMANCE_TRAINING_RUN_H_
#define ACCRUE_TESTS_CONFORMANCE_TRAINING_RUN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "server/base/byte_chain.h"
#include "server/kernels/block.h"
#include "server/kernels/shard.h"
#include "tests/kernels/payloads.h"

namespace accrue::kernels {

// What is the same in all of a group's passes.
struct GroupTraits {
  rule::Optimizer optimizer = rule::Optimizer::kSgd;
  rule::Buffering buffering = rule::Buffering::kEmbedded;
  rule::EpsilonPlace epsilon_place = rule::EpsilonPlace::kOutside;
  bool nesterov = false;
  bool l2 = false;
  bool clipped = false;
  bool mixes = false;  // lion with two betas
  bool corrects = false;
  int64_t k = 1;  // a multiple of the smallest
};

// All that a shard tells apart: every allowed combination of the above, k = 1.
std::vector<GroupTraits> AllGroupTraits();

struct ModelTraits {
  std::vector<int64_t> tensor_elems;
  std::vector<int32_t> tensor_groups;
  std::vector<GroupTraits> groups;
  bool clip_over_groups = false;
};

// Tensors of awkward sizes in up to three groups that share their buffering.
ModelTraits RandomModel(Random& random);

// A pass without parameters; payloads are shared between copies.
struct PassPlan {
  std::vector<std::shared_ptr<const ByteChain>> chains;
  std::vector<Encoding> encodings;
  std::vector<GroupPass> groups;
  bool clip_over_groups = false;
};

// The same work in passes of one push each. Not of gathering groups.
std::vector<PassPlan> OneByOne(const PassPlan& plan);

// Published and next parameters: [groups][elements].
struct Parameters {
  std::vector<std::vector<float>> theta, next;

  Pass Bind(const PassPlan& plan);
  // Groups that `plan` updates publish their next parameters.
  void Publish(const PassPlan& plan);
};

class TrainingRun {
 public:
  TrainingRun(const ModelTraits& model, uint64_t seed);

  std::shared_ptr<const BlockMap> blocks() const { return blocks_; }
  ShardOptions shard_options() const;
  Parameters RandomParameters();

  // The next pass: up to max_pushes pushes, and never beyond the first update
  // of any group; now and then a cycle's close, without a push. Gather: cycles,
  // of up to max_pushes pushes.
  PassPlan NextPass(int64_t max_pushes);

 private:
  PassPlan NextGatheringPass(int64_t max_pushes);
  float Pick(std::initializer_list<float> special, float low, float high);
  void AddPayloads(int64_t count, PassPlan& plan);
  GroupPass NextGroupPass(const GroupTraits& traits, int64_t position,
                          int64_t pushes, bool ends);

  const ModelTraits model_;
  std::shared_ptr<const BlockMap> blocks_;
  std::vector<int64_t> positions_;  // [groups] in their cycles
  Random random_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_CONFORMANCE_TRAINING_RUN_H_
