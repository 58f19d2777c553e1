#include "server/kernels/pass_sums.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/kernels/pass_check.h"

namespace accrue::kernels {

PassSums::PassSums(const BlockMap& blocks, const Pass& pass)
    : blocks_(blocks), pass_(pass), clips_(pass.groups.size(), 1.0f) {
  const auto& groups = pass.groups;
  result_.clip_norms.resize(groups.size());
  result_.momentum_squares.resize(groups.size());
  const size_t block_count = blocks.blocks.size();
  const auto any = [&](bool (*is)(const GroupPass&)) {
    return std::any_of(groups.begin(), groups.end(), is);
  };
  if (any(IsClipped)) clipped_.resize(block_count);
  if (any(IsTrusted)) trust_.resize(block_count);
  if (any(IsMeasured)) momentum_.resize(block_count);
}

void PassSums::FindClips() {
  const std::vector<GroupPass>& groups = pass_.groups;
  std::vector<double> squares(groups.size());
  for (size_t b = 0; b < blocks_.blocks.size(); ++b) {
    squares[static_cast<size_t>(blocks_.blocks[b].group)] += clipped_[b];
  }
  double model_squares = 0;
  for (const double sum : squares) model_squares += sum;

  for (size_t g = 0; g < groups.size(); ++g) {
    if (!IsClipped(groups[g])) continue;
    double norm =
        std::sqrt(pass_.clip_over_groups ? model_squares : squares[g]);
    if (groups[g].buffering == rule::Buffering::kEmbedded) {
      norm *= groups[g].update->norm_factor;
    }
    clips_[g] = rule::ClipFactor(norm, groups[g].update->clip_norm);
    result_.clip_norms[g] = norm;
  }
}

void PassSums::FindRates() { rates_ = TrustRates(blocks_, pass_, trust_); }

PassResult PassSums::Result() && {
  for (size_t b = 0; b < momentum_.size(); ++b) {
    result_.momentum_squares[static_cast<size_t>(blocks_.blocks[b].group)] +=
        momentum_[b];
  }
  return std::move(result_);
}

}  // namespace accrue::kernels
