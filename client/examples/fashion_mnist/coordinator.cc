#include "client/examples/fashion_mnist/coordinator.h"

#include <csignal>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "client/examples/fashion_mnist/children.h"
#include "client/examples/fashion_mnist/evaluation.h"
#include "client/examples/fashion_mnist/share.h"
#include "server/base/status_macros.h"

namespace accrue::fashion_mnist {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(100);
constexpr absl::Duration kPullAttempt = absl::Seconds(2);
constexpr absl::Duration kAnswer = absl::Seconds(10);
constexpr absl::Duration kWorkersEnd = absl::Seconds(30);
// The training accuracy is of a sample: the whole set would take six times as
// long as the test set.
constexpr int64_t kTrainSample = 10000;

// The flags that make this program the worker of that index.
std::vector<std::string> WorkerArguments(const Plan& plan, int64_t index) {
  return {absl::StrCat("--worker=", index),
          absl::StrCat("--target=", plan.target),
          absl::StrCat("--model=", plan.model),
          absl::StrCat("--dataset=", plan.dataset),
          absl::StrCat("--workers=", plan.workers),
          absl::StrCat("--epochs=", plan.epochs),
          absl::StrCat("--batch_size=", plan.batch_size),
          absl::StrCat("--examples=", plan.examples),
          absl::StrCat("--seed=", plan.seed),
          absl::StrCat("--micro_steps=", plan.micro_steps),
          absl::StrCat("--local_accumulation=", plan.local_accumulation),
          absl::StrCat("--compression=", Name(plan.compression.encoding)),
          absl::StrCat("--top_fraction=", plan.compression.top_fraction),
          absl::StrCat("--error_feedback=", plan.compression.error_feedback)};
}

// Pushes a second, over the last second or so.
class PushRate {
 public:
  double Update(int64_t pushes, absl::Time now) {
    // What is there before the first push is preparation.
    if (pushes == 0) return 0;
    if (!since_.has_value()) {
      since_ = now;
      pushes_then_ = pushes;
    }
    const absl::Duration elapsed = now - *since_;
    if (elapsed <= absl::ZeroDuration()) return 0;
    const bool full = elapsed >= absl::Seconds(1);
    if (full || !full_) {
      rate_ = static_cast<double>(pushes - pushes_then_) /
              absl::ToDoubleSeconds(elapsed);
    }
    if (full) {
      full_ = true;
      since_ = now;
      pushes_then_ = pushes;
    }
    return rate_;
  }

 private:
  std::optional<absl::Time> since_;
  int64_t pushes_then_ = 0;
  bool full_ = false;  // a whole second has been seen
  double rate_ = 0;
};

class Coordinator {
 public:
  Coordinator(const Plan& plan, const CoordinatorOptions& options,
              client::Model model, const Examples& train, const Examples& test,
              int64_t batches_per_epoch,
              const volatile std::sig_atomic_t* interrupted, Display& display)
      : plan_(plan),
        options_(options),
        model_(std::move(model)),
        train_(train),
        test_(test),
        batches_per_epoch_(batches_per_epoch),
        interrupted_(interrupted),
        display_(display),
        network_(MakeNetwork()),
        parameters_(network_.parameter_count()) {
    progress_.epochs = plan.epochs;
  }

  absl::StatusOr<Outcome> Run() {
    const absl::Time start = absl::Now();
    Children workers;
    for (int64_t i = 0; i < plan_.workers; ++i) {
      ACCRUE_RETURN_IF_ERROR(
          workers.Spawn(absl::StrCat("worker-", i), WorkerArguments(plan_, i)));
    }
    ACCRUE_RETURN_IF_ERROR(Follow(workers));
    const absl::Duration training_time = absl::Now() - start;
    ACCRUE_RETURN_IF_ERROR(workers.WaitAll(kWorkersEnd));
    return Conclude(training_time);
  }

 private:
  int64_t last_version() const { return plan_.epochs * batches_per_epoch_; }

  // Until the last version is there.
  absl::Status Follow(Children& workers) {
    client::Watcher watcher = model_.Watch();
    absl::Time moved = absl::Now();
    while (progress_.version < last_version()) {
      if (*interrupted_ != 0) return absl::CancelledError("interrupted");
      ACCRUE_RETURN_IF_ERROR(workers.Check());
      const absl::StatusOr<client::Notice> notice = watcher.Next(kLook);
      if (notice.ok()) {
        moved = absl::Now();
        ACCRUE_RETURN_IF_ERROR(Advance(*notice));
      } else if (!absl::IsDeadlineExceeded(notice.status())) {
        return notice.status();
      } else if (absl::Now() - moved > options_.patience) {
        return Stalled();
      }
    }
    return absl::OkStatus();
  }

  absl::Status Advance(const client::Notice& notice) {
    const int64_t epoch = notice.version.number / batches_per_epoch_;
    progress_.version = notice.version.number;
    progress_.loss = notice.loss;
    progress_.pushes_per_second =
        rate_.Update(notice.folded_pushes, absl::Now());
    if (epoch > progress_.epoch) {
      ACCRUE_RETURN_IF_ERROR(Evaluate());
      progress_.epoch = epoch;
      display_.EpochDone(progress_);
    } else {
      display_.Update(progress_);
    }
    return absl::OkStatus();
  }

  // In attempts that are short enough to notice an interruption between two:
  // one to a whole process group takes the daemon away as well.
  absl::Status PullParameters() {
    const absl::Time until = absl::Now() + options_.patience;
    while (true) {
      if (*interrupted_ != 0) return absl::CancelledError("interrupted");
      const absl::Status pulled =
          model_.Pull(&parameters_, {.timeout = kPullAttempt}).status();
      const bool again =
          absl::IsUnavailable(pulled) || absl::IsDeadlineExceeded(pulled);
      if (!again || absl::Now() >= until) return pulled;
    }
  }

  absl::Status Evaluate() {
    ACCRUE_RETURN_IF_ERROR(PullParameters());
    progress_.test_accuracy =
        Accuracy(network_, parameters_, test_, test_.count());
    progress_.train_accuracy =
        Accuracy(network_, parameters_, train_, kTrainSample);
    return absl::OkStatus();
  }

  // Why nothing moves, as far as the daemon knows.
  absl::Status Stalled() const {
    const auto description = model_.Describe();
    return absl::DeadlineExceededError(absl::StrCat(
        "no new version for ", absl::FormatDuration(options_.patience), "; ",
        description.ok()
            ? absl::StrCat("missing: ",
                           absl::StrJoin(description->missing_workers, ", "))
            : description.status().ToString()));
  }

  absl::StatusOr<Outcome> Conclude(absl::Duration training_time) {
    ACCRUE_RETURN_IF_ERROR(Evaluate());
    ACCRUE_ASSIGN_OR_RETURN(const auto description, model_.Describe());
    return Outcome{.test_accuracy = *progress_.test_accuracy,
                   .versions = description.version->number,
                   .pushes = description.folded_pushes,
                   .accumulation_buffer_bytes =
                       description.memory.accumulation_buffer_bytes,
                   .published_bytes = description.memory.published_bytes,
                   .training_time = training_time};
  }

  const Plan& plan_;
  const CoordinatorOptions& options_;
  const client::Model model_;
  const Examples& train_;
  const Examples& test_;
  const int64_t batches_per_epoch_;
  const volatile std::sig_atomic_t* const interrupted_;
  Display& display_;
  Mlp<float> network_;
  std::vector<float> parameters_;
  Progress progress_;
  PushRate rate_;
};

absl::StatusOr<client::Model> OpenModel(const client::Client& client,
                                        const Plan& plan,
                                        const CoordinatorOptions& options,
                                        int64_t batches_per_epoch) {
  if (options.replace) {
    const absl::Status deleted = client.DeleteModel(plan.model);
    if (!deleted.ok() && !absl::IsNotFound(deleted)) return deleted;
  }
  absl::StatusOr<client::Model> model =
      client.CreateOrOpen(MakeSpec(plan, batches_per_epoch));
  if (client::GetReason(model.status()) == client::Reason::kModelExists) {
    return absl::AlreadyExistsError(
        absl::StrCat(model.status().message(),
                     "; --replace deletes it, --model names "
                     "another"));
  }
  ACCRUE_RETURN_IF_ERROR(model.status());
  ACCRUE_RETURN_IF_ERROR(
      model->InitializeWith(MakeInitializers(), static_cast<int64_t>(plan.seed))
          .status());
  return model;
}

}  // namespace

std::string TimeLine(const Outcome& outcome) {
  return absl::StrFormat("trained in %.1f s",
                         absl::ToDoubleSeconds(outcome.training_time));
}

std::string OutcomeLine(const Outcome& outcome) {
  return absl::StrFormat(
      "test_accuracy=%.4f versions=%d pushes=%d accumulation_buffer_bytes=%d "
      "published_bytes=%d",
      outcome.test_accuracy, outcome.versions, outcome.pushes,
      outcome.accumulation_buffer_bytes, outcome.published_bytes);
}

absl::StatusOr<Outcome> RunCoordinator(
    const Plan& plan, const CoordinatorOptions& options,
    const volatile std::sig_atomic_t* interrupted, Display& display) {
  // First what is most often missing.
  ACCRUE_ASSIGN_OR_RETURN(const Examples train,
                          LoadTrainingExamples(plan.dataset, plan.examples));
  ACCRUE_ASSIGN_OR_RETURN(const Examples test,
                          LoadExamples(plan.dataset, Part::kTest));
  if (plan.workers * plan.micro_steps > train.count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--workers: ", plan.workers, ", --micro_steps: ", plan.micro_steps,
        ", more minibatches a version than there are examples"));
  }
  ACCRUE_ASSIGN_OR_RETURN(
      const client::Client client,
      client::Client::Connect(plan.target, {.call_timeout = kAnswer}));
  const int64_t batches = BatchesPerEpoch(train.count(), plan.workers,
                                          plan.batch_size * plan.micro_steps);
  ACCRUE_ASSIGN_OR_RETURN(client::Model model,
                          OpenModel(client, plan, options, batches));
  return Coordinator(plan, options, std::move(model), train, test, batches,
                     interrupted, display)
      .Run();
}

}  // namespace accrue::fashion_mnist
