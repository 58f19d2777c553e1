// PushGate: whether a push may be folded, or for which of the reasons in
// proto/accrue/v1/error.proto it may not.
//
// The same judgement is passed twice: early on the header alone, to spare the
// payload's way, and finally by the executor at the moment of the fold.
//
// Errors.    in the table's order: the model, the session, the sequence, the
//            version, the cycle, the quota; then the payload. Each carries the
//            model's version and lineage.
// Threading. compatible (the model's lock).
#ifndef ACCRUE_SERVER_MODEL_PUSH_GATE_H_
#define ACCRUE_SERVER_MODEL_PUSH_GATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/base/error.h"
#include "server/model/push.h"
#include "server/model/session_table.h"
#include "server/model/spec.h"
#include "server/rule/cycle.h"
#include "server/rule/rule_spec.h"

namespace accrue {

// The model as the gate sees it.
struct GateView {
  const ModelSpec* spec = nullptr;
  const std::vector<rule::RuleSpec>* rules = nullptr;
  const std::vector<rule::CycleState>* cycles = nullptr;  // the batch's
  SessionTable* sessions = nullptr;
  const Version* version = nullptr;  // null while uninitialized
};

struct Passed {
  Session* session = nullptr;
  bool repeats = false;    // its sequence is the session's last
  double weight = 1;       // relative to the nominal one
  double gain_factor = 1;  // of a stale push that is damped
};

absl::StatusOr<Passed> JudgeHeader(const PushHeader& header,
                                   const GateView& view);

// Of a push whose header passed and that does not repeat.
absl::Status JudgePayload(const Push& push, const Passed& passed,
                          const GateView& view);

// Of one that repeats: OK if it is the same payload.
absl::Status JudgeRepeat(uint64_t hash, const Passed& passed,
                         const GateView& view);

// Whether a gradient of `version` is refused for its age.
bool TooStale(int64_t version, const GateView& view);

// An error about this model, with its version and lineage.
absl::Status GateError(absl::StatusCode code, Reason reason,
                       const GateView& view, absl::string_view message);

// An error, telling the model's version and lineage as well.
absl::Status WithVersion(const absl::Status& status, const GateView& view);

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_PUSH_GATE_H_
