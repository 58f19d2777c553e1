// ImagesExperiment: the article's 5.1 and 6.2 on Fashion-MNIST: small batches,
// equal samples seen, several seeds, every learning rate that a claim compares.
//
// Writes images.csv, a row a run, and images_loss.csv, the training loss of
// each run averaged over 100 pushes, as 6.2 has it.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGES_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGES_H_

#include "absl/status/status.h"
#include "client/examples/experiments/options.h"

namespace accrue::experiments {

absl::Status ImagesExperiment(const Options& options);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGES_H_
