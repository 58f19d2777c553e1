// EffectiveBatchExperiment: whether k pushes of B images are one of k*B (the
// article's eq. 42): the same images, pushed 16 at a time and 64 at a time,
// from the same first parameters, at the same learning rate.
//
// Writes batch.csv: method, k, seed, difference: how far apart the parameters
// are after 100 updates, of the way that the large batches went.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_EFFECTIVE_BATCH_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_EFFECTIVE_BATCH_H_

#include "absl/status/status.h"
#include "client/examples/experiments/options.h"

namespace accrue::experiments {

absl::Status EffectiveBatchExperiment(const Options& options);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_EFFECTIVE_BATCH_H_
