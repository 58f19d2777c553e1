// ImageSettings: which runs the comparisons on images are made of.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGE_SETTINGS_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGE_SETTINGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/examples/experiments/classifier.h"
#include "client/examples/experiments/method.h"

namespace accrue::experiments {

enum class Layers {
  kOneGroup,
  kApart,  // a group each, so that each layer's noise is seen
  kOwnK,   // k by depth [eq. 54], from setting.k of the last layer on
};

struct ImageSetting {
  // "sgd/accumulation/k4/linear", "sgd/standard/x0.25", ...: the optimizer, the
  // method, and what it is asked for.
  std::string name;
  Setting setting;
  std::vector<int64_t> hidden = {64};
  Layers layers = Layers::kOneGroup;
  client::Encoding encoding = client::Encoding::kF32;
  // What is measured beside losses and accuracies.
  bool with_noise = false;
  bool with_flatness = false;
};

// Of every run.
int64_t ImagePushes(bool quick);

// For sgd and adamw, each at its own learning rate: the standard method at
// multiples of it ("x0.25"), the others at the three scalings with k; and, with
// sgd,
//   undamped   6.2's baseline, which is torch.optim.SGD with dampening 0
//   f16        pushes in 16 bits
//   clip/norm, clip/push_norm
//              the accumulated gradient clipped (7.2), or every push
//   cosine/updates, cosine/pushes
//              a schedule as long as there are updates (7.2), or pushes
//   adaptive   k that follows the noise [eq. 53]
//   deep       four layers, of one k or of k by depth
// Quick: fewer, but those that a claim is about.
std::vector<ImageSetting> ImageSettings(bool quick);

// INVALID_ARGUMENT: layers that the network does not have.
absl::StatusOr<client::ModelSpec> MakeImageSpec(const ImageSetting& setting,
                                                const Network& network,
                                                const std::string& name);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGE_SETTINGS_H_
