// Replay: the rule once more, in single precision, written apart from the
// server: pushes in the order of t give the daemon's parameters and moments bit
// for bit.
//
// Equation.  PER_CYCLE, embedded; sgd with momentum, dampening and L2, adam and
//            adamw with the article's or AdamA's second moment; epsilon
//            outside.
//              m <- keep1*m + gain1*g,  v <- keep2*v + gain2*g^2
//            keep = b at a cycle's first push, 1 after; gain = (1-d)*n/k
//            [README, "The rule"].
// Numerics.  scalars in double, narrowed once; each operator on elements rounds
//            once, to nearest, in float.
// Threading. compatible; a copy goes its own way
#ifndef ACCRUE_TESTS_FAULTS_REPLAY_H_
#define ACCRUE_TESTS_FAULTS_REPLAY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "accrue/spec.h"

namespace accrue::faults {

// Of a push, what the rule looks at.
struct ReplayedPush {
  std::vector<float> gradient = {};
  int64_t version = 0;  // that it was computed from
  int64_t micro_steps = 1;
  double weight = 1;
  double scale = 1;
};

class Replay {
 public:
  Replay(const client::ModelSpec& spec, std::vector<float> theta);

  // True: it published.
  bool Push(const ReplayedPush& push);
  // EndCycle. False: no cycle was open.
  bool Close();

  int64_t t() const { return t_; }
  int64_t version() const { return version_; }
  const std::vector<float>& theta() const { return theta_; }
  const std::vector<float>& momentum() const { return m_; }
  const std::vector<float>& variance() const { return v_; }

 private:
  struct Group {
    client::GroupSpec spec;
    std::vector<size_t> elements = {};
    int64_t position = 0;
    double mass1 = 0, mass2 = 0;
  };

  bool adaptive() const {
    return optimizer_.optimizer != client::Optimizer::kSgd;
  }
  void Fold(const ReplayedPush& push, double damping, Group& group);
  void Update(Group& group);
  void UpdateSgd(const Group& group);
  void UpdateAdam(const Group& group);

  client::OptimizerSpec optimizer_;
  client::StalePolicy stale_policy_;
  int64_t max_staleness_;
  std::vector<Group> groups_;
  std::vector<float> theta_, m_, v_;
  int64_t t_ = 0;
  int64_t version_ = 0;
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_REPLAY_H_
