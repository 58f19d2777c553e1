#include "server/rule/adaptive_k.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "server/rule/coefficients.h"

namespace accrue::rule {
namespace {

template <class... Parts>
std::string Sentence(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Of LeastSeen.
constexpr double kSeenForSure = 3;

// Doublings of k from one end of its range to the other, and more.
constexpr double kMaxHysteresis = 20;

// That k may be anything from min_k to max_k: what is refused is refused at an
// end of the range.
std::string ValidateEnd(int64_t k, const char* name, RuleSpec spec) {
  spec.k = spec.update_every = k;
  const std::string why = ValidateRule(spec);
  return why.empty() ? ""
                     : Sentence("adaptive_k: at ", name, " = ", k, ": ", why);
}

// rho in the long run, of full cycles of micro-batches that weigh the same.
double SettledNoiseLeft(const RuleSpec& spec) {
  const MomentRule rule = FirstMomentRule(spec, spec.hyper);
  const double keep = KeepPerPush(rule);
  const double left = (1 - keep) / (1 + keep);
  return rule.decay == Decay::kPerCycle ? left / static_cast<double>(spec.k)
                                        : left;
}

// At min_k m averages fewest gradients: where it is little more than the last
// one, nothing tells signal and noise apart.
std::string ValidateSight(const AdaptiveK& adaptive, RuleSpec spec) {
  spec.k = spec.update_every = adaptive.min_k;
  if (NoiseIsSeparable(SettledNoiseLeft(spec), 1)) return "";
  const bool at_every_k = spec.decay == Decay::kPerPush;
  return Sentence("adaptive_k: min_k = ", adaptive.min_k,
                  " with a momentum of ",
                  FirstMomentRule(spec, spec.hyper).beta, ", want ",
                  at_every_k ? "" : "a larger min_k or ", "more momentum: at ",
                  at_every_k ? "any k" : "that k",
                  " nothing would tell signal and noise apart, and k would "
                  "stay as it is");
}

bool IsPowerOfTwoTimes(int64_t k, int64_t base) {
  if (k % base != 0) return false;
  const int64_t factor = k / base;
  return (factor & (factor - 1)) == 0;
}

std::string ValidateChain(const char* name, int64_t k, int64_t smallest) {
  if (IsPowerOfTwoTimes(k, smallest)) return "";
  return Sentence("adaptive_k: ", name, " = ", k,
                  " is no power of two times the smallest of all groups, ",
                  smallest,
                  ": at max_staleness 0 cycles must nest whatever the noise");
}

// The distance of k from what would fit.
double Distance(double want, int64_t k) {
  return std::abs(std::log2(want / static_cast<double>(k)));
}

// The power of two times b that is nearest to `want`, as far as [least, most]
// and n let it be.
int64_t NearestInChain(int64_t least, int64_t most, double want,
                       const KFit& fit) {
  const double doublings =
      std::round(std::log2(want / static_cast<double>(fit.nesting)));
  int64_t k = fit.nesting << static_cast<int64_t>(std::max(doublings, 0.0));
  while (k > most) k /= 2;
  while (k < least || (k % fit.micro_steps != 0 && k < kMaxK)) k *= 2;
  return k;
}

int64_t NearestMultiple(int64_t least, int64_t most, double want,
                        const KFit& fit) {
  const int64_t n = fit.micro_steps;
  const auto multiples =
      static_cast<int64_t>(std::round(want / static_cast<double>(n)));
  return n * std::max(std::min(multiples, most / n), (least + n - 1) / n);
}

// 0 if there is none.
int64_t Nearest(int64_t least, int64_t most, double want, const KFit& fit) {
  const int64_t k = fit.nesting > 0 ? NearestInChain(least, most, want, fit)
                                    : NearestMultiple(least, most, want, fit);
  const bool fits = k >= least && k <= most && k % fit.micro_steps == 0;
  return fits ? k : 0;
}

}  // namespace

std::string ValidateAdaptiveK(const AdaptiveK& adaptive, const RuleSpec& spec) {
  if (adaptive.min_k < 1 || adaptive.max_k < adaptive.min_k ||
      adaptive.max_k > kMaxK) {
    return Sentence("adaptive_k: min_k = ", adaptive.min_k,
                    ", max_k = ", adaptive.max_k,
                    ", want 1 <= min_k <= max_k <= ", kMaxK);
  }
  if (spec.k < adaptive.min_k || spec.k > adaptive.max_k) {
    return Sentence("adaptive_k: the first k, ", spec.k,
                    ", want min_k to max_k, ", adaptive.min_k, " to ",
                    adaptive.max_k);
  }
  if (!(adaptive.hysteresis >= 0 && adaptive.hysteresis <= kMaxHysteresis)) {
    return Sentence("adaptive_k: hysteresis = ", adaptive.hysteresis,
                    ", want 0 to ", kMaxHysteresis);
  }
  if (spec.update_every != spec.k) {
    return Sentence("adaptive_k: update_every = ", spec.update_every,
                    ", want k = ", spec.k, ": both change together");
  }
  std::string why = ValidateEnd(adaptive.min_k, "min_k", spec);
  if (why.empty()) why = ValidateEnd(adaptive.max_k, "max_k", spec);
  if (why.empty()) why = ValidateSight(adaptive, spec);
  return why;
}

int64_t SmallestK(const std::vector<RuleSpec>& groups,
                  const std::vector<std::optional<AdaptiveK>>& adaptive) {
  int64_t smallest = kMaxK;
  for (size_t g = 0; g < groups.size(); ++g) {
    smallest =
        std::min(smallest, adaptive[g].has_value() ? adaptive[g]->min_k
                                                   : groups[g].update_every);
  }
  return smallest;
}

std::string ValidateAdaptiveGroups(
    const std::vector<RuleSpec>& groups,
    const std::vector<std::optional<AdaptiveK>>& adaptive, bool nested) {
  const bool any =
      std::any_of(adaptive.begin(), adaptive.end(),
                  [](const auto& policy) { return policy.has_value(); });
  if (!any || groups.size() == 1) return "";
  for (const RuleSpec& group : groups) {
    if (group.clip_scope != ClipScope::kModel) continue;
    return "adaptive_k: clip_scope MODEL bounds one norm over all groups, "
           "which must then share k: it cannot follow each group's noise";
  }
  if (!nested) return "";
  const int64_t smallest = SmallestK(groups, adaptive);
  for (size_t g = 0; g < groups.size(); ++g) {
    std::string why = ValidateChain("k", groups[g].update_every, smallest);
    if (why.empty() && adaptive[g].has_value()) {
      why = ValidateChain("min_k", adaptive[g]->min_k, smallest);
      if (why.empty()) {
        why = ValidateChain("max_k", adaptive[g]->max_k, smallest);
      }
    }
    if (!why.empty()) return why;
  }
  return "";
}

void RecentMicroSteps::Note(int64_t micro_steps, int64_t version) {
  last_[micro_steps] = version;
  std::erase_if(last_, [version](const auto& noted) {
    return noted.second <= version - kVersions;
  });
}

int64_t RecentMicroSteps::LeastCommonMultiple(int64_t version) const {
  int64_t multiple = 1;
  for (const auto& [micro_steps, last] : last_) {
    // Neither is beyond kMaxK here: the product does not overflow.
    if (last > version - kVersions && multiple <= kMaxK) {
      multiple = std::lcm(multiple, micro_steps);
    }
  }
  return multiple;
}

double SeenFrom(const RuleSpec& spec, const NoiseEstimate& estimate,
                int64_t elems) {
  if (spec.decay == Decay::kPerPush) return 0;
  NoiseEstimate settled = estimate;
  settled.noise_left = SettledNoiseLeft(spec);
  return kSeenForSure * static_cast<double>(spec.k) *
         LeastSeen(settled, elems) / estimate.mean_squared;
}

int64_t NextK(const AdaptiveK& adaptive, int64_t k, const Variation& variation,
              const KFit& fit) {
  const auto least = static_cast<double>(adaptive.min_k);
  const auto most = static_cast<double>(adaptive.max_k);
  const double want =
      variation.at_least ? most : std::clamp(variation.value, least, most);
  int64_t lowest = adaptive.min_k;
  if (!variation.at_least) {
    const double seen = std::ceil(fit.seen_from);
    lowest = static_cast<int64_t>(
        std::max(least, std::min(seen, static_cast<double>(k))));
  }
  const int64_t fitting = Nearest(lowest, adaptive.max_k, want, fit);
  if (fitting == 0) return k;
  const double gained = Distance(want, k) - Distance(want, fitting);
  if (!(gained > adaptive.hysteresis)) return k;
  if (fitting <= kMaxGrowth * k) return fitting;
  const int64_t nearer = Nearest(adaptive.min_k, kMaxGrowth * k, want, fit);
  return nearer == 0 ? k : nearer;
}

}  // namespace accrue::rule
