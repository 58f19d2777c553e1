// ImagesExperiment: the article's 5.1 and 6.2 on Fashion-MNIST: small batches,
// equal samples seen, several seeds, every learning rate that a claim compares.
//
// Writes images.csv, a row a run; images_loss.csv, the training loss of each
// run averaged over 100 pushes, as 6.2 has it; images_noise.csv, for those runs
// that are about it, the noise of every group as the daemon sees it, every 50
// pushes.
//
// Settings are chosen by held_out_accuracy and compared by test_accuracy.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGES_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGES_H_

#include "absl/status/status.h"
#include "client/examples/experiments/options.h"

namespace accrue::experiments {

absl::Status ImagesExperiment(const Options& options);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_IMAGES_H_
