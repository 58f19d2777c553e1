// ImageSettings: which runs the comparisons on images are made of.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGE_SETTINGS_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGE_SETTINGS_H_

#include <string>
#include <vector>

#include "client/examples/experiments/method.h"

namespace accrue::experiments {

struct ImageSetting {
  // "sgd/accumulation/k4/linear", "sgd/standard/x0.25", ...: the optimizer, the
  // method, and what it is asked for.
  std::string name;
  Setting setting;
};

// For sgd and adamw, each at its own learning rate: the standard method at
// multiples of it ("x0.25"), the others at the three scalings with k; and
// "sgd/undamped", 6.2's baseline, which is torch.optim.SGD with dampening 0.
// Quick: fewer, but those that a claim is about.
std::vector<ImageSetting> ImageSettings(bool quick);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGE_SETTINGS_H_
