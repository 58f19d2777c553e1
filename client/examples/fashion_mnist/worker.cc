#include "client/examples/fashion_mnist/worker.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "client/examples/fashion_mnist/share.h"
#include "server/base/status_macros.h"

namespace accrue::fashion_mnist {
namespace {

constexpr absl::Duration kWait = absl::Seconds(10);

// Whether training goes on after a push that was refused: it does wherever the
// next pull brings what was missing.
bool GoesOn(client::Reason reason) {
  return reason == client::Reason::kStale ||
         reason == client::Reason::kLineageChanged ||
         reason == client::Reason::kQuota;
}

absl::Status Train(const Plan& plan, const Examples& examples, Share& share,
                   int64_t last_version, client::Worker& worker) {
  Mlp<float> network = MakeNetwork();
  std::vector<float> parameters(network.parameter_count());
  std::vector<float> gradient(network.parameter_count());
  Batch batch;
  while (true) {
    ACCRUE_ASSIGN_OR_RETURN(const client::PullResult pulled,
                            worker.PullNewer(&parameters, kWait));
    // Nothing newer: other workers are slow. Their coordinator says who, and
    // decides how long to bear it.
    if (pulled.unchanged) continue;
    if (pulled.version.number >= last_version) return absl::OkStatus();
    Gather(examples, share.Batch(pulled.version.number), &batch);
    const double loss = network.LossAndGradient(
        parameters, batch.inputs, batch.labels, absl::MakeSpan(gradient));
    ACCRUE_ASSIGN_OR_RETURN(
        const client::PushResult pushed,
        worker.Push(gradient, {.version = pulled.version, .loss = loss}));
    if (!pushed.accepted && !GoesOn(pushed.reason)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "model \"", plan.model, "\" refused a push: ",
          client::ReasonName(pushed.reason), ": ", pushed.message));
    }
  }
}

}  // namespace

absl::Status RunWorker(const Plan& plan, int64_t index) {
  ACCRUE_ASSIGN_OR_RETURN(const Examples examples,
                          LoadTrainingExamples(plan.dataset, plan.examples));
  const int64_t batches =
      BatchesPerEpoch(examples.count(), plan.workers, plan.batch_size);
  Share share(examples.count(), plan.workers, index, batches, plan.seed);
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client,
                          client::Client::Connect(plan.target));
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          client.OpenModel(plan.model));
  ACCRUE_ASSIGN_OR_RETURN(
      client::Worker worker,
      model.OpenWorker({.name = absl::StrCat("worker-", index)}));
  ACCRUE_RETURN_IF_ERROR(
      Train(plan, examples, share, plan.epochs * batches, worker));
  return worker.Close();
}

}  // namespace accrue::fashion_mnist
