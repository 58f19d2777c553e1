// ModelSpec: everything that a model is created from.
//
//   ModelSpec spec;
//   spec.name = "mnist";
//   spec.tensors = {{.name = "w", .shape = {784, 10}},
//                   {.name = "b", .shape = {10}}};
//   spec.groups = {{.name = "all", .k = 4,
//                   .hyperparameters = {.learning_rate = 1e-3}}};
//
// Two specs are the same if they are equal after defaults are filled in. The
// daemon checks every field and names those that cannot be (INVALID_ARGUMENT,
// Reason::kInvalidSpec); this library checks nothing twice.
//
// An unset std::optional means the daemon's default, which is given beside it.

#ifndef ACCRUE_CLIENT_SPEC_H_
#define ACCRUE_CLIENT_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace accrue::client {

// The numbers of all enumerators are those of the wire.

enum class Optimizer {
  kSgd = 1,     // momentum, dampening, Nesterov and coupled L2
  kAdam = 2,    // weight decay is coupled L2; not with kEmbedded
  kAdamW = 3,   // decoupled weight decay
  kSignum = 4,  // the sign of SGD's momentum; decoupled weight decay
  // The sign of beta1*m + (1 - beta1)*g, while m decays with beta2. Embedded
  // only at k = 1, or where beta1 = beta2.
  kLion = 5,
  // AdamW's direction, scaled to each tensor's own norm.
  kLamb = 6,
};

// How the moments decay over a cycle of k pushes; b is beta1 or beta2.
enum class Decay {
  kPerCycle = 1,      // b at a cycle's first push, 1 at the others
  kPerPush = 2,       // b at every push ("sparse update only")
  kSliding = 3,       // 1 - (1 - b)/k at every push
  kSlidingExact = 4,  // b^(1/k) at every push; needs b > 0
};

// Where pushes wait for the update step.
enum class Buffering {
  kEmbedded = 1,  // nowhere: each is folded into the moments at once
  kClassic = 2,   // in an accumulation buffer of 4 bytes a parameter
  kGather = 3,    // held as they came, and folded at once when the cycle ends:
                  // kClassic's step, whatever order they came in; k is at most
                  // 4194304/(112 + number of groups), rounded down
};

// What the second moment is of, under Decay::kPerCycle with
// Buffering::kEmbedded.
enum class SecondMoment {
  kArticle = 1,    // single pushes, gain (1 - beta2)/k
  kAdamA = 2,      // single pushes, gain (1 - beta2)/k^2
  kCorrected = 3,  // mean gradients, by an estimate of each element's noise
};

// Where epsilon stands in Adam's denominator.
enum class EpsilonPlace {
  kOutside = 1,  // sqrt(v) + epsilon
  kInside = 2,   // sqrt(v + epsilon)
};

// The factor on the learning rate for k > 1.
enum class LearningRateScaling {
  kConservative = 1,  // 1
  kSqrt = 2,          // sqrt(k)
  kLinear = 3,        // k
};

// What clip_norm bounds.
enum class ClipScope {
  kGroup = 1,  // each group's norm
  kModel = 2,  // the norm over all groups, which share k; not with kEmbedded
};

// What happens to a push that is staler than max_staleness.
enum class StalePolicy {
  kReject = 1,  // refused: Reason::kStale
  kAccept = 2,  // folded like any other
  kDampen = 3,  // folded with its gain divided by 1 + staleness
};

// What an answered push means.
enum class Durability {
  kMemory = 1,   // folded; a daemon that crashes goes back to a checkpoint
  kJournal = 2,  // on the daemon's disk too; a crash loses nothing
};

// How one element lies on the wire; little-endian.
enum class Encoding {
  kF32 = 1,   // IEEE 754 single precision, 4 bytes
  kBf16 = 2,  // bfloat16, 2 bytes
  kF16 = 3,   // IEEE 754 half precision, 2 bytes
  // For pushes only; see proto/accrue/v1/model.proto and accrue/compression.h.
  kInt8 = 4,  // a scale for every 1024 elements, and a byte for each
  kTopK = 5,  // index and value, 8 bytes, of some elements; the others are 0
};

// Bytes of one element of the first three.
constexpr int64_t ElementBytes(Encoding encoding) {
  return encoding == Encoding::kF32 ? 4 : 2;
}

struct TensorSpec {
  // Unique in the model; 1 to 255 bytes of [A-Za-z0-9._/-].
  std::string name = {};
  // Extents, each at least 1, at most 8 of them; empty: a scalar.
  std::vector<int64_t> shape = {};
  // The name of its group. Empty: the model's first group.
  std::string group = {};
};

// The learning rate's factor as a function of the group's updates u.
struct Schedule {
  enum class Kind {
    kConstant = 1,           // 1
    kLinear = 2,             // from 1 to final_factor over total_updates
    kCosine = 3,             // half a cosine from 1 to final_factor
    kStep = 4,               // gamma^floor(u / step_updates)
    kExponential = 5,        // gamma^u
    kInverseSquareRoot = 6,  // 1/sqrt(1 + u/step_updates)
  };
  Kind kind = Kind::kConstant;
  // Updates over which the factor first rises from 1/warmup_updates to 1.
  int64_t warmup_updates = 0;
  // kLinear, kCosine: their length in updates, at least 1.
  int64_t total_updates = 0;
  // kStep, kInverseSquareRoot: at least 1.
  int64_t step_updates = 0;
  // kStep, kExponential: in (0, 1].
  double gamma = 0;
  // kLinear, kCosine: in [0, 1].
  double final_factor = 0;
};

// A group's hyperparameters. They may change while the model trains; a change
// takes effect at the group's next cycle.
struct Hyperparameters {
  // At least 0. Required in a spec.
  std::optional<double> learning_rate = {};
  // Adam, Lion, Lamb: beta1, in [0, 1), 0.9 if unset. SGD, Signum: the
  // momentum, 0 if unset.
  std::optional<double> beta1 = {};
  // Adam, Lamb: in [0, 1), 0.999 if unset. Lion: m's decay, 0.99 if unset.
  std::optional<double> beta2 = {};
  // Adam, Lamb: above 0 in single precision too, 1e-8 if unset.
  std::optional<double> epsilon = {};
  // SGD, Signum: in [0, 1), 0 if unset (PyTorch's default; a spec that is sent
  // says so explicitly).
  std::optional<double> dampening = {};
  // At least 0, 0 if unset. SGD, Adam: coupled L2; others: decoupled.
  std::optional<double> weight_decay = {};
  // Bound on the norm of what the update applies; 0 or unset: none.
  std::optional<double> clip_norm = {};
  // Bound on the norm of each push before it is folded; 0 or unset: none.
  std::optional<double> clip_push_norm = {};
  // Unset: constant.
  std::optional<Schedule> schedule = {};
};

// k follows the noise of the gradients: Noise::variation (description.h),
// rounded, within bounds. It changes between cycles; at max_staleness 0 between
// those of all groups, and then it is a power of two times the smallest k that
// any group may have. It is a multiple of the micro-steps of the last push.
struct AdaptiveK {
  // 1 <= min_k <= the group's first k <= max_k <= 1048576, less under
  // Buffering::kGather.
  int64_t min_k = 1;
  int64_t max_k = 1;
  // k changes only if another value fits better by more than this, in doublings
  // of k; 0 to 20, 0.25 if unset.
  std::optional<double> hysteresis = {};
};

// Tensors that share hyperparameters and one k.
struct GroupSpec {
  // Unique in the model; same alphabet as a tensor's name.
  std::string name = {};
  // Pushes that one update averages, 1 to 1048576; fewer under
  // Buffering::kGather.
  int64_t k = 1;
  // Pushes between two updates; k if unset. Other than k only with
  // Decay::kPerPush and the sliding decays.
  std::optional<int64_t> update_every = {};
  Hyperparameters hyperparameters = {};
  // Unset: k stays. Needs update_every = k.
  std::optional<AdaptiveK> adaptive_k = {};
};

// The optimizer and its conventions, shared by all groups.
struct OptimizerSpec {
  Optimizer optimizer = Optimizer::kAdamW;
  Decay decay = Decay::kPerCycle;
  Buffering buffering = Buffering::kEmbedded;
  SecondMoment second_moment = SecondMoment::kArticle;
  EpsilonPlace epsilon_place = EpsilonPlace::kOutside;
  LearningRateScaling learning_rate_scaling =
      LearningRateScaling::kConservative;
  ClipScope clip_scope = ClipScope::kGroup;
  // SGD: Nesterov's momentum.
  bool nesterov = false;
  // Sliding decays: whether beta2 slides too; true if unset.
  std::optional<bool> slide_beta2 = {};
};

struct ModelSpec {
  // Unique on the server; 1 to 128 bytes of [A-Za-z0-9._-], not beginning with
  // a dot.
  std::string name = {};
  // In payload order, at least one.
  std::vector<TensorSpec> tensors = {};
  // At least one.
  std::vector<GroupSpec> groups = {};
  OptimizerSpec optimizer = {};
  // Versions that a push may be behind: 0 synchronous, -1 no limit.
  int64_t max_staleness = 0;
  // What happens to a push beyond max_staleness.
  StalePolicy stale_policy = StalePolicy::kReject;
  // Pushes (micro-steps counted) of one worker toward one version; 0: no limit.
  int64_t max_pushes_per_worker = 0;
  // This long after the first push since a publication the next update takes
  // place without the pushes that are missing to it; unset: never.
  std::optional<absl::Duration> cycle_timeout = {};
  // cycle_timeout does so only once this many pushes are in; 1 if unset.
  std::optional<int64_t> min_pushes = {};
  // The weight that counts as 1; 1 if unset. Above 0.
  std::optional<double> nominal_weight = {};
  // Publications that may exist at once, readers' included; 4 if unset, 2 to
  // 64.
  std::optional<int64_t> max_publications = {};
  // What an answered push means.
  Durability durability = Durability::kMemory;
};

// Elements of one tensor / of all of them. Shapes that are not valid give
// meaningless counts, never a crash.
int64_t ElementCount(const TensorSpec& tensor);
int64_t ElementCount(const ModelSpec& spec);

// The enumerators' names on command lines, in files and in tables: lower case,
// "adamw", "per_cycle", "embedded", "article", "outside", "conservative",
// "group", "reject", "f32", "cosine". Name() of a number that this library
// does not know is "unknown"; ParseName() returns nothing for such a name.
absl::string_view Name(Optimizer value);
absl::string_view Name(Decay value);
absl::string_view Name(Buffering value);
absl::string_view Name(SecondMoment value);
absl::string_view Name(EpsilonPlace value);
absl::string_view Name(LearningRateScaling value);
absl::string_view Name(ClipScope value);
absl::string_view Name(StalePolicy value);
absl::string_view Name(Durability value);
absl::string_view Name(Encoding value);
absl::string_view Name(Schedule::Kind value);

// ParseName<Decay>("per_cycle") == Decay::kPerCycle, for each of the above.
template <typename Enum>
std::optional<Enum> ParseName(absl::string_view name);

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_SPEC_H_
