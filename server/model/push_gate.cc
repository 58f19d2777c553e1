#include "server/model/push_gate.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "server/base/fail_point.h"
#include "server/base/status_macros.h"
#include "server/model/gathering.h"
#include "server/rule/cycle.h"
#include "server/rule/groups.h"

namespace accrue {
namespace {

// A finite gradient whose square overflows would stay in v for ever.
constexpr double kMaxGradient = 0x1p63;

absl::Status JudgeSequence(const PushHeader& header, const GateView& view,
                           Passed& passed) {
  const int64_t last = passed.session->last_sequence;
  if (header.sequence == last + 1) return absl::OkStatus();
  if (header.sequence == last && passed.session->last_outcome.has_value()) {
    passed.repeats = !AtFailPoint(FailPoint::kFoldRepeat);
    return absl::OkStatus();
  }
  if (header.sequence > last) {
    return GateError(
        absl::StatusCode::kOutOfRange, Reason::kFuture, view,
        absl::StrCat("sequence ", header.sequence, ", want ", last + 1));
  }
  return GateError(absl::StatusCode::kFailedPrecondition, Reason::kSequenceOld,
                   view,
                   absl::StrCat("sequence ", header.sequence,
                                " is older than the last one, ", last));
}

absl::Status JudgeVersion(const PushHeader& header, const GateView& view,
                          Passed& passed) {
  const Version& now = *view.version;
  if (header.version.lineage != now.lineage) {
    return GateError(
        absl::StatusCode::kAborted, Reason::kLineageChanged, view,
        absl::StrCat("gradient of lineage \"",
                     header.version.lineage.substr(0, 8), "\", the model's is ",
                     now.lineage.substr(0, 8)));
  }
  if (header.version.number > now.number) {
    return GateError(absl::StatusCode::kOutOfRange, Reason::kFuture, view,
                     absl::StrCat("gradient of version ", header.version.number,
                                  ", the newest is ", now.number));
  }
  if (TooStale(header.version.number, view)) {
    return GateError(
        absl::StatusCode::kAborted, Reason::kStale, view,
        absl::StrCat("gradient of version ", header.version.number,
                     ", the newest is ", now.number, ", max_staleness is ",
                     view.spec->max_staleness));
  }
  const int64_t staleness = now.number - header.version.number;
  const int64_t allowed = view.spec->max_staleness;
  if (view.spec->stale_policy == StalePolicy::kDampen && allowed >= 0 &&
      staleness > allowed) {
    passed.gain_factor = 1.0 / static_cast<double>(1 + staleness);
  }
  return absl::OkStatus();
}

absl::Status JudgeMicroSteps(const PushHeader& header, const GateView& view) {
  std::string why;
  if (!rule::MicroStepsAllowed(*view.rules, header.micro_steps, &why)) {
    return GateError(absl::StatusCode::kInvalidArgument, Reason::kUnspecified,
                     view, why);
  }
  for (const rule::CycleState& cycle : *view.cycles) {
    if (cycle.position > 0 && cycle.micro_steps != 0 &&
        cycle.micro_steps != header.micro_steps) {
      return GateError(
          absl::StatusCode::kAborted, Reason::kMicroSteps, view,
          absl::StrCat("micro_steps ", header.micro_steps,
                       ", this cycle's pushes have ", cycle.micro_steps));
    }
  }
  return absl::OkStatus();
}

absl::Status JudgeQuota(const PushHeader& header, const GateView& view,
                        const Passed& passed) {
  const int64_t quota = view.spec->max_pushes_per_worker;
  if (quota == 0) return absl::OkStatus();
  const int64_t used =
      view.sessions->PushesAfter(view.version->number, passed.session->worker);
  if (used + header.micro_steps <= quota) return absl::OkStatus();
  return GateError(
      absl::StatusCode::kAborted, Reason::kQuota, view,
      absl::StrCat("worker \"", passed.session->worker, "\" has pushed ", used,
                   " times toward the next version, "
                   "max_pushes_per_worker is ",
                   quota));
}

// A checkpoint names them all: no more than it has room for, within a batch of
// that, which is counted as it ends. They are as many as the cycle's pushes
// where it keeps those, which has its own bound.
absl::Status JudgeWorkers(const GateView& view, const Passed& passed) {
  if (KeepsPayloads(*view.spec)) return absl::OkStatus();
  const int64_t version = view.version->number;
  const int64_t workers = view.sessions->WorkersAfter(version);
  if (workers < MostSessions(std::ssize(view.spec->groups)) ||
      view.sessions->PushesAfter(version, passed.session->worker) > 0) {
    return absl::OkStatus();
  }
  return GateError(
      absl::StatusCode::kResourceExhausted, Reason::kLimit, view,
      absl::StrCat(workers,
                   " workers have pushed toward the next version, as "
                   "many as a checkpoint has room for"));
}

}  // namespace

absl::Status GateError(absl::StatusCode code, Reason reason,
                       const GateView& view, absl::string_view message) {
  ErrorInfo info;
  info.reason = reason;
  info.subject = view.spec->name;
  if (view.version != nullptr) {
    info.current_version = view.version->number;
    info.lineage = view.version->lineage;
  }
  return MakeError(code, info,
                   absl::StrCat("model \"", view.spec->name, "\": ", message));
}

absl::Status WithVersion(const absl::Status& status, const GateView& view) {
  if (view.version == nullptr) return status;
  return WithVersion(status, view.version->number, view.version->lineage);
}

bool TooStale(int64_t version, const GateView& view) {
  return view.spec->stale_policy == StalePolicy::kReject &&
         view.spec->max_staleness >= 0 &&
         view.version->number - version > view.spec->max_staleness;
}

absl::StatusOr<Passed> JudgeHeader(const PushHeader& header,
                                   const GateView& view) {
  if (view.version == nullptr) {
    return GateError(absl::StatusCode::kFailedPrecondition,
                     Reason::kNotInitialized, view, "it has no parameters yet");
  }
  Passed passed;
  absl::StatusOr<Session*> session = view.sessions->Find(header.session_id);
  if (!session.ok()) return WithVersion(session.status(), view);
  passed.session = *session;
  ACCRUE_RETURN_IF_ERROR(JudgeSequence(header, view, passed));
  if (passed.repeats) return passed;
  ACCRUE_RETURN_IF_ERROR(JudgeVersion(header, view, passed));
  if (header.weight.has_value()) {
    passed.weight = *header.weight / view.spec->nominal_weight;
    // Written so that a NaN is refused.
    if (!(passed.weight >= rule::kMinWeight &&
          passed.weight <= rule::kMaxWeight)) {
      return GateError(
          absl::StatusCode::kInvalidArgument, Reason::kUnspecified, view,
          absl::StrCat("weight ", *header.weight, ", want ", rule::kMinWeight,
                       " to ", rule::kMaxWeight, " times the nominal weight ",
                       view.spec->nominal_weight));
    }
  }
  ACCRUE_RETURN_IF_ERROR(JudgeMicroSteps(header, view));
  ACCRUE_RETURN_IF_ERROR(JudgeQuota(header, view, passed));
  ACCRUE_RETURN_IF_ERROR(JudgeWorkers(view, passed));
  return passed;
}

absl::Status JudgePayload(const Push& push, const Passed& passed,
                          const GateView& view) {
  if (push.first_non_finite >= 0) {
    return GateError(absl::StatusCode::kInvalidArgument, Reason::kNonFinite,
                     view,
                     absl::StrCat("gradient element ", push.first_non_finite,
                                  " is not finite"));
  }
  // A weight below 1 makes a square no smaller: it is squared first.
  const double largest =
      push.max_abs / push.header.scale * std::max(passed.weight, 1.0);
  if (!(largest <= kMaxGradient)) {
    return GateError(absl::StatusCode::kInvalidArgument, Reason::kNonFinite,
                     view,
                     absl::StrCat("|g|*max(weight, 1) reaches ", largest,
                                  ", at most 2^63 can be squared"));
  }
  return absl::OkStatus();
}

absl::Status JudgeRepeat(uint64_t hash, const Passed& passed,
                         const GateView& view) {
  if (hash == passed.session->last_hash) return absl::OkStatus();
  return GateError(absl::StatusCode::kInvalidArgument, Reason::kSequenceReused,
                   view,
                   absl::StrCat("sequence ", passed.session->last_sequence,
                                " was folded with another payload"));
}

}  // namespace accrue
