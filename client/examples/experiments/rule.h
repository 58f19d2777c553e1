// RuleExperiment: the numbers of the article's sections 3, 4 and 5 that do not
// need training, read off the parameters that the daemon publishes.
//
// Writes rule.csv: measurement, method, beta, k, scaling, value; of what was
// repeated a row each.
//
//   decay_error      B^k - beta, B the decay of a push [eq. 34, the table in
//                    4.1]; method full, or full_exact with B = beta^(1/k)
//   rate             the way per push under a constant gradient of 1, in units
//                    of the learning rate [eq. 36, 41, 46]
//   step_variance    of an update under pure noise, relative to the standard
//                    method's [eq. 37-39]
//   difference       norm of (step - accumulation's step) over the norm of
//                    accumulation's, under pure noise [eq. 28, 31]
//   second_moment    C_k: v of the mean gradient over v as embedded, signal to
//                    noise 0.1 in power; beta is beta2 [eq. 24]
//   weight           the lightest of a cycle's gradients, of the heaviest
//                    [eq. 30]
//   moved            the part of pushes between updates after which any
//                    parameter was another [eq. 40]
//   rate_in_noise    rate, with noise of 3 times the gradient
//   push_seconds     of a push of 2^20 elements, repeated [4.1]
//   classic_difference
//                    norm of (step - step on the mean gradient) over the
//                    latter's, signal to noise 0.1 in power; method is the
//                    optimizer, "corrected" adamw with that second moment [9]
//   refused          1: the daemon does not create such a model [9]
//   adaptive_k       k after gradients of little noise (deviation 2), much (12)
//                    and again little, around 1 [eq. 53]
//   stationary_sharp, stationary_flat
//                    variance of theta at rest in the directions of curvature
//                    10 and 1 [eq. 43, 44]

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_RULE_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_RULE_H_

#include "absl/status/status.h"
#include "accrue/client.h"
#include "client/examples/experiments/csv.h"
#include "client/examples/experiments/options.h"

namespace accrue::experiments {

absl::Status RuleExperiment(const Options& options);

// Its parts, by what they push.
absl::Status MeasureDecays(const client::Client& client, Csv* table);
absl::Status MeasureRates(const client::Client& client, Csv* table);
absl::Status MeasureSteps(const client::Client& client, bool quick, Csv* table);
absl::Status MeasureSecondMoment(const client::Client& client, Csv* table);
absl::Status MeasureWeights(const client::Client& client, Csv* table);
absl::Status MeasureStillness(const client::Client& client, Csv* table);
absl::Status MeasureRateInNoise(const client::Client& client, Csv* table);
absl::Status MeasurePushTimes(const client::Client& client, bool quick,
                              Csv* table);
absl::Status MeasureOptimizers(const client::Client& client, Csv* table);
absl::Status MeasureAdaptiveK(const client::Client& client, Csv* table);
absl::Status MeasureRest(const client::Client& client, bool quick, Csv* table);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_RULE_H_
