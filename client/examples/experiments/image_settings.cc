#include "client/examples/experiments/image_settings.h"

#include "absl/strings/str_cat.h"

namespace accrue::experiments {
namespace {

using client::LearningRateScaling;
using client::Optimizer;

constexpr LearningRateScaling kScalings[] = {LearningRateScaling::kConservative,
                                             LearningRateScaling::kSqrt,
                                             LearningRateScaling::kLinear};

class Collection {
 public:
  Collection(Optimizer optimizer, double learning_rate,
             std::vector<ImageSetting>* settings)
      : optimizer_(optimizer),
        learning_rate_(learning_rate),
        settings_(settings) {}

  void Standard(double multiple) {
    Setting setting = Base(Method::kStandard);
    setting.learning_rate *= multiple;
    Add(absl::StrCat("standard/x", multiple), setting);
  }

  void WithK(Method method, int64_t k, LearningRateScaling scaling) {
    Setting setting = Base(method);
    setting.k = k;
    setting.scaling = scaling;
    Add(absl::StrCat(Name(method), "/k", k, "/", client::Name(scaling)),
        setting);
  }

  void AtAllScalings(Method method, int64_t k) {
    for (const auto scaling : kScalings) WithK(method, k, scaling);
  }

  // The learning rate that 6.2 has, whatever this collection's.
  void Undamped() {
    Setting setting = Base(Method::kStandard);
    setting.learning_rate = 0.1;
    setting.dampening = 0;
    Add("undamped", setting);
  }

 private:
  Setting Base(Method method) const {
    return {.method = method,
            .optimizer = optimizer_,
            .learning_rate = learning_rate_};
  }
  void Add(const std::string& name, const Setting& setting) {
    settings_->push_back(
        {absl::StrCat(client::Name(optimizer_), "/", name), setting});
  }

  const Optimizer optimizer_;
  const double learning_rate_;
  std::vector<ImageSetting>* const settings_;
};

void AddBoth(bool quick, Collection collection) {
  collection.Standard(1);
  collection.Standard(0.25);
  collection.WithK(Method::kBetaOnly, 4, LearningRateScaling::kConservative);
  for (const auto scaling : kScalings) {
    if (quick && scaling == LearningRateScaling::kSqrt) continue;
    collection.WithK(Method::kSparseOnly, 4, scaling);
    collection.WithK(Method::kFull, 4, scaling);
  }
  if (quick) return;
  collection.Standard(0.5);
  collection.Standard(2);
  collection.Standard(4);
}

}  // namespace

std::vector<ImageSetting> ImageSettings(bool quick) {
  std::vector<ImageSetting> settings;
  Collection sgd(Optimizer::kSgd, 0.1, &settings);
  AddBoth(quick, sgd);
  sgd.Undamped();
  for (const int64_t k : {4, 8}) {
    if (quick) {
      sgd.WithK(Method::kAccumulation, k, LearningRateScaling::kConservative);
      sgd.WithK(Method::kAccumulation, k, LearningRateScaling::kLinear);
    } else {
      sgd.AtAllScalings(Method::kAccumulation, k);
    }
  }
  AddBoth(quick, Collection(Optimizer::kAdamW, 1e-3, &settings));
  return settings;
}

}  // namespace accrue::experiments
