// Training: one run on images, and what is measured of it.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_TRAINING_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_TRAINING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "accrue/client.h"
#include "client/examples/experiments/classifier.h"
#include "client/examples/experiments/flatness.h"
#include "client/examples/experiments/image_settings.h"

namespace accrue::experiments {

// 5.1's, which is small on purpose.
inline constexpr int64_t kImageBatchSize = 16;

struct TrainingJob {
  ImageSetting setting;
  uint64_t seed = 0;
  int64_t pushes = 0;
};

// A group's noise after so many pushes, as the daemon describes it.
struct SeenNoise {
  int64_t push = 0;
  std::string group;
  int64_t k = 0;
  client::Noise noise;
};

struct TrainingResult {
  std::vector<double> losses;  // of every push
  bool diverged = false;       // a gradient left the numbers: it ended there
  double train_accuracy = 0;   // of the first 10,000 examples
  double held_out_accuracy = 0;
  double test_accuracy = 0;
  // The part of the gradients' elements, other than 0, that are 0 in fp16.
  double underflow = 0;
  Flatness flatness;             // if the setting has it
  std::vector<SeenNoise> noise;  // the same
  int64_t accumulation_buffer_bytes = 0;
  double seconds = 0;
};

absl::StatusOr<TrainingResult> Train(const client::Client& client,
                                     const Images& images,
                                     const TrainingJob& job);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_TRAINING_H_
