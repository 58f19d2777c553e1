// LinkExperiment: the bytes and the time that k saves (the article's 6.3, 8.3
// and 9). Workers train on real images over whatever network lies between them
// and the daemon; the gradients' computation counts as it does in training.
//
// Writes link.csv, a row a setting and seed: seed, method, k, local, encoding,
// micro_batches, pushes, updates, received_bytes and sent_bytes as the daemon
// counts them, link_out_bytes and link_in_bytes as the workers' network
// interface does, seconds, compute_seconds (of one worker), loss (over the last
// quarter).
//
// k is of one worker: each makes k gradients an update. Where `local` is 1 it
// pushes their mean once, as k micro-steps; else it pushes each.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_LINK_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_LINK_H_

#include "absl/status/status.h"
#include "client/examples/experiments/options.h"

namespace accrue::experiments {

// FAILED_PRECONDITION: the interface carried more than its shape lets through;
// no time that was measured over it would mean anything.
absl::Status LinkExperiment(const Options& options);

// A few of the same settings, to compare with: writes loopback.csv.
absl::Status LoopbackExperiment(const Options& options);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_LINK_H_
