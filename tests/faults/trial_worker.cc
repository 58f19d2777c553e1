#include "tests/faults/trial_worker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/faults/gradient.h"

namespace accrue::faults {
namespace {

using client::Encoding;
using client::Reason;
using Outcome = PushRecord::Outcome;

constexpr int kHastyOneIn = 16;
constexpr uint64_t kMaxHastyMicroseconds = 600;
constexpr int kCloseOneIn = 64;
constexpr int kPullOneIn = 4;

constexpr Encoding kEncodings[] = {Encoding::kF32, Encoding::kBf16,
                                   Encoding::kF16};
// Relative weights and loss scales, also such that do not divide.
constexpr double kWeights[] = {1, 1, 0.5, 3};
constexpr double kScales[] = {1, 1, 1024, 3};

}  // namespace

TrialWorker::TrialWorker(const TrialWorkerOptions& options)
    : options_(options),
      random_(options.seed),
      replayed_{.model = options.replayed},
      one_hot_{.model = options.one_hot},
      one_hot_pushes_(options.one_hot_pushes) {}

void TrialWorker::Run(const std::atomic<bool>& stop) {
  if (!Connect()) return;
  while (!stop) {
    if (OneIn(kPullOneIn) && !PullReplayed()) return;
    if (!PushReplayed() || !PushOneHot()) return;
    if (OneIn(kCloseOneIn) && !CloseCycle()) return;
  }
}

bool TrialWorker::Connect() {
  auto client = client::Client::Connect(options_.target, options_.client);
  if (!client.ok()) return Complain(replayed_, client.status().ToString());
  client_ = *std::move(client);
  return Open(replayed_) && Open(one_hot_);
}

// Also takes over from the worker's session before, if there was one.
bool TrialWorker::Open(Seat& seat) {
  seat.worker.reset();
  const auto model = client_->OpenModel(seat.model->subject.spec.name);
  if (!model.ok()) return Complain(seat, model.status().ToString());
  auto worker = model->OpenWorker({.name = options_.name});
  if (!worker.ok()) return Complain(seat, worker.status().ToString());
  seat.worker = *std::move(worker);
  seat.parameters.resize(seat.model->subject.initial.size());
  return PullAll(seat);
}

bool TrialWorker::PullAll(Seat& seat) {
  const auto pulled = seat.worker->Pull(&seat.parameters);
  if (!pulled.ok()) return Complain(seat, pulled.status().ToString());
  if (&seat == &replayed_) {
    seat.model->history.AddPull(pulled->version, seat.parameters);
  }
  return true;
}

bool TrialWorker::PullReplayed() {
  const auto pulled =
      replayed_.worker->PullNewer(&replayed_.parameters, absl::ZeroDuration());
  if (!pulled.ok()) return Complain(replayed_, pulled.status().ToString());
  replayed_.model->history.AddPull(pulled->version, replayed_.parameters);
  return true;
}

bool TrialWorker::PushReplayed() {
  PushRecord push;
  push.seed = random_();
  push.encoding = kEncodings[random_() % std::size(kEncodings)];
  push.micro_steps = options_.micro_steps;
  push.weight = kWeights[random_() % std::size(kWeights)];
  push.scale = kScales[random_() % std::size(kScales)];
  const Gradient gradient =
      Gradient::Random(push.seed, push.encoding,
                       static_cast<int64_t>(replayed_.parameters.size()));
  return Push(replayed_, std::move(push), gradient.payload());
}

bool TrialWorker::PushOneHot() {
  PushRecord push;
  const int64_t element =
      options_.first_element + one_hot_pushes_++ % options_.element_count;
  push.seed = static_cast<uint64_t>(element);
  push.encoding = Encoding::kTopK;
  const Gradient gradient = Gradient::OneHot(element);
  return Push(one_hot_, std::move(push), gradient.payload());
}

bool TrialWorker::Push(Seat& seat, PushRecord push,
                       const client::Payload& payload) {
  push.worker = options_.name;
  push.session = seat.worker->session_id();
  push.sequence = seat.worker->last_sequence() + 1;
  push.from = *seat.worker->version();
  client::PushOptions options = {.micro_steps = push.micro_steps,
                                 .weight = push.weight,
                                 .scale = push.scale};
  const bool hasty = OneIn(kHastyOneIn);
  if (hasty) {
    options.timeout = absl::Microseconds(random_() % kMaxHastyMicroseconds);
  }
  const auto result = seat.worker->Push(payload, options);
  if (!result.ok()) {
    return Failed(seat, std::move(push), result.status(), hasty);
  }
  if (!result->accepted) return Refused(seat, std::move(push), result->reason);
  return Acknowledged(seat, std::move(push), *result);
}

bool TrialWorker::Refused(Seat& seat, PushRecord push, Reason reason) {
  const bool lost = SessionLost(seat, push);
  push.outcome = Outcome::kRefused;
  push.reason = reason;
  seat.model->history.Add(std::move(push));
  if (lost) return Complain(seat, "its session was lost");
  if (reason == Reason::kStale ||
      (reason == Reason::kLineageChanged && !LineageLasts(seat))) {
    return PullAll(seat);
  }
  return Complain(seat, absl::StrCat("refused: ", client::ReasonName(reason)));
}

bool TrialWorker::Failed(Seat& seat, PushRecord push, const absl::Status& error,
                         bool hasty) {
  if (!seat.worker->in_doubt() && !absl::IsUnknown(error)) {
    push.outcome = Outcome::kRefused;
    seat.model->history.Add(std::move(push));
    if (options_.network_repeats &&
        client::GetReason(error) == Reason::kSessionFenced) {
      return Open(seat);
    }
    return hasty || Complain(seat, error.ToString());
  }
  if (OneIn(2)) {
    const auto settled = seat.worker->Settle();
    if (settled.ok() && settled->has_value()) {
      return Acknowledged(seat, std::move(push), **settled);
    }
  }
  // That it was not folded when the daemon was asked does not keep it from
  // being folded then: it may still be on its way, until its session is over.
  push.outcome = Outcome::kUnknown;
  const bool lost = SessionLost(seat, push);
  seat.model->history.Add(std::move(push));
  if (lost || (!hasty && SessionsLast(seat))) {
    return Complain(seat, error.ToString());
  }
  return Open(seat);
}

bool TrialWorker::Acknowledged(Seat& seat, PushRecord push,
                               const client::PushResult& result) {
  const bool lost = SessionLost(seat, push);
  push.outcome = Outcome::kAcknowledged;
  push.session = seat.worker->session_id();
  push.sequence = seat.worker->last_sequence();
  push.t = result.folded_pushes;
  push.version = result.version;
  push.published = result.published;
  push.duplicate = result.duplicate;
  seat.model->history.Add(std::move(push));
  options_.on_acknowledged();
  return !lost || Complain(seat, "its session was lost");
}

bool TrialWorker::LineageLasts(const Seat& seat) {
  return seat.model->subject.spec.durability == client::Durability::kJournal;
}

bool TrialWorker::SessionsLast(const Seat& seat) const {
  return LineageLasts(seat) && !options_.network_repeats;
}

bool TrialWorker::SessionLost(const Seat& seat, const PushRecord& push) const {
  return SessionsLast(seat) && seat.worker->session_id() != push.session;
}

bool TrialWorker::CloseCycle() {
  const client::Version version = *replayed_.worker->version();
  replayed_.model->history.AddClose(version);
  const auto model = client_->OpenModel(replayed_.model->subject.spec.name);
  if (!model.ok()) return Complain(replayed_, model.status().ToString());
  const auto ended = model->EndCycle(version);
  return ended.ok() || Complain(replayed_, ended.status().ToString());
}

bool TrialWorker::Complain(Seat& seat, const std::string& what) {
  seat.model->history.Complain(
      absl::StrCat("worker ", options_.name, ", model ",
                   seat.model->subject.spec.name, ": ", what));
  return false;
}

}  // namespace accrue::faults
