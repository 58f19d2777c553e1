#include "client/examples/experiments/image_settings.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "accrue/per_layer_k.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

using client::LearningRateScaling;
using client::Optimizer;

constexpr LearningRateScaling kScalings[] = {LearningRateScaling::kConservative,
                                             LearningRateScaling::kSqrt,
                                             LearningRateScaling::kLinear};
// By the formula 2^((4 - 1)/2) of the deepest layer's: it bounds nothing here.
constexpr int64_t kMaxLayerK = 16;
// Twice what the noise of these gradients asks for.
constexpr int64_t kMaxAdaptiveK = 16;

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

  // As far per push as the standard method.
  Setting AtEqualRate(int64_t k) const {
    Setting setting = Base(Method::kAccumulation);
    setting.k = k;
    setting.scaling = LearningRateScaling::kLinear;
    return setting;
  }

  ImageSetting& Add(const std::string& name, const Setting& setting) {
    return settings_->emplace_back(
        ImageSetting{.name = absl::StrCat(client::Name(optimizer_), "/", name),
                     .setting = setting});
  }

 private:
  Setting Base(Method method) const {
    return {.method = method,
            .optimizer = optimizer_,
            .learning_rate = learning_rate_};
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

// What 9 combines with k = 4, at k times the learning rate.
void AddCombinations(int64_t pushes, Collection* sgd) {
  const Setting base = sgd->AtEqualRate(4);
  sgd->Add("f16", base).encoding = client::Encoding::kF16;
  Setting clipped = base;
  clipped.clip_norm = 1;  // 7.2's
  sgd->Add("clip/norm", clipped);
  clipped = base;
  clipped.clip_push_norm = 1;
  sgd->Add("clip/push_norm", clipped);
  Setting cosine = base;
  cosine.schedule = {.kind = client::Schedule::Kind::kCosine,
                     .total_updates = pushes / 4};
  sgd->Add("cosine/updates", cosine);
  cosine.schedule->total_updates = pushes;
  sgd->Add("cosine/pushes", cosine);
}

// What 8.3 proposes: k by noise, and by layer.
void AddProposals(Collection* sgd) {
  Setting adaptive = sgd->AtEqualRate(4);
  adaptive.adaptive_k = {.min_k = 1, .max_k = kMaxAdaptiveK};
  sgd->Add("adaptive", adaptive).with_noise = true;
  const auto deep = [&](const std::string& name, int64_t k, Layers layers) {
    ImageSetting& setting = sgd->Add("deep/" + name, sgd->AtEqualRate(k));
    setting.hidden = {64, 32, 32};
    setting.layers = layers;
    setting.with_noise = true;
  };
  deep("k2", 2, Layers::kApart);
  deep("k4", 4, Layers::kApart);
  deep("own_k", 2, Layers::kOwnK);
}

bool IsAboutFlatness(const std::string& name) {
  for (const char* wanted :
       {"sgd/standard/x1", "sgd/accumulation/k4/conservative",
        "sgd/accumulation/k4/linear", "sgd/accumulation/k8/conservative",
        "sgd/accumulation/k8/linear", "sgd/sparse_only/k4/conservative",
        "sgd/sparse_only/k4/linear"}) {
    if (name == wanted) return true;
  }
  return false;
}

}  // namespace

int64_t ImagePushes(bool quick) { return quick ? 600 : 3700; }

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
  AddCombinations(ImagePushes(quick), &sgd);
  AddProposals(&sgd);
  AddBoth(quick, Collection(Optimizer::kAdamW, 1e-3, &settings));
  for (ImageSetting& setting : settings) {
    setting.with_flatness = IsAboutFlatness(setting.name);
    setting.with_noise |= setting.name == "sgd/accumulation/k4/linear";
  }
  return settings;
}

absl::StatusOr<client::ModelSpec> MakeImageSpec(const ImageSetting& setting,
                                                const Network& network,
                                                const std::string& name) {
  client::ModelSpec spec = MakeSpec(setting.setting, name, TensorsOf(network));
  const auto layers = static_cast<int64_t>(setting.hidden.size()) + 1;
  const auto layer_name = [](int64_t layer) {
    return absl::StrCat("layer", layer);
  };
  if (setting.layers == Layers::kOwnK) {
    client::PerLayerK per_layer = {.k_min = setting.setting.k,
                                   .max_k = kMaxLayerK};
    for (int64_t layer = 1; layer <= layers; ++layer) {
      per_layer.depths.push_back({layer_name(layer) + ".*", layer});
    }
    // Each group's own, which its layers' depths say.
    spec.groups[0].k = 1;
    spec.groups[0].update_every.reset();
    return client::SplitByDepth(spec, per_layer);
  }
  if (setting.layers == Layers::kApart) {
    const client::GroupSpec all = spec.groups[0];
    spec.groups.clear();
    for (int64_t layer = 1; layer <= layers; ++layer) {
      spec.groups.push_back(all);
      spec.groups.back().name = layer_name(layer);
    }
    for (client::TensorSpec& tensor : spec.tensors) {
      tensor.group = tensor.name.substr(0, tensor.name.find('.'));
    }
  }
  return spec;
}

}  // namespace accrue::experiments
