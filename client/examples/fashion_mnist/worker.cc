#include "client/examples/fashion_mnist/worker.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "accrue/local_accumulation.h"
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

// Computes the gradients toward one version and pushes them.
class Pusher {
 public:
  Pusher(const Plan& plan, Mlp<float>& network, client::Worker& worker)
      : plan_(plan),
        network_(network),
        worker_(worker),
        gradient_(network.parameter_count()),
        sum_(network.parameter_count()) {}

  absl::Status Push(const Examples& examples, absl::Span<const int64_t> share,
                    absl::Span<const float> parameters,
                    const client::Version& version) {
    const auto size = static_cast<int64_t>(share.size());
    for (int64_t step = 0; step < plan_.micro_steps; ++step) {
      const int64_t begin = step * size / plan_.micro_steps;
      const int64_t end = (step + 1) * size / plan_.micro_steps;
      Gather(examples, share.subspan(begin, end - begin), &batch_);
      const double loss = network_.LossAndGradient(
          parameters, batch_.inputs, batch_.labels, absl::MakeSpan(gradient_));
      if (plan_.local_accumulation) {
        ACCRUE_RETURN_IF_ERROR(sum_.Add(gradient_, loss));
        continue;
      }
      ACCRUE_ASSIGN_OR_RETURN(
          const client::PushResult pushed,
          worker_.Push(gradient_, {.version = version, .loss = loss}));
      ACCRUE_RETURN_IF_ERROR(Judge(pushed));
      if (!pushed.accepted) return absl::OkStatus();
    }
    if (!plan_.local_accumulation) return absl::OkStatus();
    ACCRUE_ASSIGN_OR_RETURN(const client::PushResult pushed,
                            sum_.PushTo(worker_, {.version = version}));
    return Judge(pushed);
  }

 private:
  absl::Status Judge(const client::PushResult& pushed) const {
    if (pushed.accepted || GoesOn(pushed.reason)) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("model \"", plan_.model, "\" refused a push: ",
                     client::ReasonName(pushed.reason), ": ", pushed.message));
  }

  const Plan& plan_;
  Mlp<float>& network_;
  client::Worker& worker_;
  Batch batch_;
  std::vector<float> gradient_;
  client::LocalAccumulation sum_;
};

absl::Status Train(const Plan& plan, const Examples& examples, Share& share,
                   int64_t last_version, client::Worker& worker) {
  Mlp<float> network = MakeNetwork();
  std::vector<float> parameters(network.parameter_count());
  Pusher pusher(plan, network, worker);
  while (true) {
    ACCRUE_ASSIGN_OR_RETURN(const client::PullResult pulled,
                            worker.PullNewer(&parameters, kWait));
    // Nothing newer: other workers are slow. Their coordinator says who, and
    // decides how long to bear it.
    if (pulled.unchanged) continue;
    if (pulled.version.number >= last_version) return absl::OkStatus();
    ACCRUE_RETURN_IF_ERROR(pusher.Push(examples,
                                       share.Batch(pulled.version.number),
                                       parameters, pulled.version));
  }
}

}  // namespace

absl::Status RunWorker(const Plan& plan, int64_t index) {
  ACCRUE_ASSIGN_OR_RETURN(const Examples examples,
                          LoadTrainingExamples(plan.dataset, plan.examples));
  const int64_t batches = BatchesPerEpoch(examples.count(), plan.workers,
                                          plan.batch_size * plan.micro_steps);
  Share share(examples.count(), plan.workers, index, batches, plan.seed);
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client,
                          client::Client::Connect(plan.target));
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          client.OpenModel(plan.model));
  ACCRUE_ASSIGN_OR_RETURN(
      client::Worker worker,
      model.OpenWorker({.name = absl::StrCat("worker-", index),
                        .compression = plan.compression}));
  ACCRUE_RETURN_IF_ERROR(
      Train(plan, examples, share, plan.epochs * batches, worker));
  return worker.Close();
}

}  // namespace accrue::fashion_mnist
