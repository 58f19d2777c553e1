// Combination: one choice in every dimension that the rule has, and whether
// that is allowed; all of them, and few of them that hold every pair.
//
// Invariant. Refusals() is written down here a second time, independently of
//            ValidateRule: it is empty exactly where ValidateRule is, and a
//            refusing message contains one of its key words.
// Threading. compatible.
#ifndef ACCRUE_TESTS_ORACLE_COMBINATIONS_H_
#define ACCRUE_TESTS_ORACLE_COMBINATIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/rule/cycle.h"
#include "server/rule/rule_spec.h"
#include "tests/oracle/oracle.h"

namespace accrue::oracle {

// The gradients that clips are made for, so that each bites now and then: as
// many elements a group, normal with this mean and variance 1.
inline constexpr int64_t kGroupElems = 5;
inline constexpr float kGradientMean = 0.25f;

struct Combination {
  // What clips. kModelNorm: clip_norm with clip_scope kModel.
  enum class Clip : uint8_t { kNone, kNorm, kModelNorm, kPushNorm };
  // The second moment's gain, epsilon's place, what slides.
  enum class Convention : uint8_t {
    kPlain,  // ARTICLE, outside
    kInside,
    kAdama,
    kAdamaInside,
    kSlideBeta1,  // slide_beta2 = false
    kCorrected,
  };
  enum class Weights : uint8_t { kUnit, kVaried, kMicroSteps };
  // What optimizers have beside their moments.
  enum class Variant : uint8_t {
    kPlain,
    kWeightDecay,
    kDampened,      // d = b, the article's SGDM
    kHalfDampened,  // another d
    kNesterov,
    kNesterovWeightDecay,
    kNesterovDampened,
    kNesterovHalfDampened,
    kNoMomentum,  // b = 0
    kEqualBetas,  // lion: beta1 = beta2
  };

  rule::Optimizer optimizer;
  rule::Decay decay;
  rule::Buffering buffering;
  int16_t k;
  int16_t update_every;  // k or 1
  Clip clip;
  // Every kind but the constant one has a warm-up. kLinear comes with
  // LrScaling kLinear, kCosine with kSqrt.
  rule::Schedule::Kind schedule;
  Convention convention;
  Weights weights;
  Variant variant;

  rule::RuleSpec Rule() const;
  // Of the push with this index, from 0 at the model's beginning. Without
  // scale, damping, norm.
  rule::PushFacts Facts(int64_t push) const;
  // E.g. "adam/SLIDING/k4/every1/EMBEDDED/clip_norm/COSINE/INSIDE/VARIED".
  // Unique; [A-Za-z0-9_/].
  std::string Name() const;
  // Empty if allowed; else key words, one of which the refusal contains.
  std::vector<std::string> Refusals() const;

  bool operator==(const Combination&) const = default;
};

// optimizer x decay x k {1, 2, 4, 7} x update_every {k, 1} x buffering x clip
// x schedule x convention x weights x variant, less what would be the same
// twice, and less most schedules of signum, lion, lamb and CORRECTED: a
// learning rate is the same number to all of them. In a fixed order. Allowed
// and refused ones.
std::vector<Combination> AllCombinations();
std::vector<Combination> AllowedCombinations();

// Some of `from`, in a fixed order, so that every pair of choices (of two
// dimensions) that occurs in `from` occurs in the result.
std::vector<Combination> PairwiseSubset(const std::vector<Combination>& from);

// Empty if a run of `combination` clipped what it clips, at least once: a clip
// that never bites shows nothing.
std::string IdleClip(const Combination& combination, const Oracle& oracle);

}  // namespace accrue::oracle

#endif  // ACCRUE_TESTS_ORACLE_COMBINATIONS_H_
