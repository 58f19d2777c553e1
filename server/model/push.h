// Push: one worker's gradient, complete and scanned, on its way to the fold;
// and Arrival: one that is still coming in.
//
// Shapes.    payload: the flat vector of the model's layout in one encoding.
// Invariant. nothing of a push is folded before all of it is here.
#ifndef ACCRUE_SERVER_MODEL_PUSH_H_
#define ACCRUE_SERVER_MODEL_PUSH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/byte_chain.h"
#include "server/kernels/encoding.h"
#include "server/model/version.h"

namespace accrue {

struct PushHeader {
  std::string model;
  std::string session_id;
  int64_t sequence = 0;
  Version version;  // that the gradient was computed from
  kernels::Encoding encoding = kernels::Encoding::kF32;
  int64_t payload_bytes = 0;
  int64_t micro_steps = 1;
  std::optional<double> weight;  // absolute; unset: the model's nominal
  double scale = 1.0;            // the payload is this times the gradient
  std::optional<double> loss;
  std::optional<uint64_t> checksum;  // XXH3-64 of the payload
};

// A group's place after a push.
struct GroupProgress {
  int64_t updates = 0;   // u
  int64_t position = 0;  // pushes in the open cycle
  int64_t k = 1;
};

struct PushOutcome {
  int64_t folded_pushes = 0;  // t, after this push
  Version version;            // newest after this push
  bool published = false;
  bool duplicate = false;
  std::vector<GroupProgress> groups;
};

using PushDone = std::function<void(absl::StatusOr<PushOutcome>)>;

struct Push {
  PushHeader header;
  ByteChain payload;  // where KeepsPayloads(spec): a KeptCopy
  uint64_t hash = 0;  // XXH3-64 of the payload
  // What kernels::ArrivalScan saw.
  int64_t first_non_finite = -1;  // element; -1: all are finite
  double max_abs = 0;
  std::vector<double> group_square_sums;  // [groups]
  // Holds the ingest memory that the payload was admitted to; released with
  // the push, before `done` runs, or, where KeepsPayloads(spec), as soon as the
  // payload is held.
  std::shared_ptr<void> reservation;
  // Called exactly once, from a thread of the pool; must be short.
  PushDone done;
};

// A push from its header to its last byte, as its model sees it. Implemented
// by ingest.
class Arrival {
 public:
  virtual ~Arrival() = default;
  // The model has no use for it any more (superseded, fenced, stale, deleted,
  // draining). Any thread, the model's lock held: must only take note and
  // return. May be called after the push was submitted: then it does nothing.
  virtual void Abort(absl::Status why) = 0;
  // How long its payload will still take, by its pace so far;
  // InfiniteDuration: nobody knows. Any thread, the model's lock held.
  virtual absl::Duration TimeLeft() const { return absl::InfiniteDuration(); }
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_PUSH_H_
