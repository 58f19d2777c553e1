// TrainingState: what a model is between two steps of its executor, but for its
// arrays and for the payloads that it holds. With those it is all that there is
// to know: a model that is given it goes on bit for bit like the one that it
// was taken from.
//
// StateSource: where a model that begins from a stored state reads it.
//
// Threading. compatible; sources: as said.
#ifndef ACCRUE_SERVER_MODEL_TRAINING_STATE_H_
#define ACCRUE_SERVER_MODEL_TRAINING_STATE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/byte_chain.h"
#include "server/kernels/encoding.h"
#include "server/model/push.h"
#include "server/model/version.h"
#include "server/rule/adaptive_k.h"
#include "server/rule/cycle.h"
#include "server/rule/noise.h"
#include "server/rule/rule_spec.h"

namespace accrue {

// What a group's gradients were found to be at one of its updates.
struct NoiseReading {
  rule::NoiseEstimate estimate;
  rule::Variation variation;
  int64_t updates = 0;  // u after that update
};

// A push that GATHER holds, but for its payload.
struct HeldPushState {
  std::string worker;
  kernels::Encoding encoding = kernels::Encoding::kF32;
  int64_t payload_bytes = 0;
  rule::PushFacts facts;                  // without a norm
  std::vector<double> group_square_sums;  // [groups]
};

struct GroupState {
  rule::Hyperparameters hyper;  // the newest
  int64_t k = 1;
  int64_t update_every = 1;
  rule::CycleState cycle;
  int64_t version = 0;       // that changed its parameters last
  bool looks_ahead = false;  // its half-way parameters are kLookAhead's
  int64_t gather_begin = 0;  // index in `held` of its cycle's first push
  double clip_norm = 0;      // seen at the last update
  std::optional<NoiseReading> noise;
};

struct SessionState {
  std::string worker;
  std::string id;
  int64_t last_sequence = 0;
  std::optional<PushOutcome> last_outcome;
  uint64_t last_hash = 0;
};

struct TrainingState {
  std::optional<Version> version;       // none: it has no parameters
  bool is_beginning = false;            // its lineage's first
  int64_t folded_pushes = 0;            // t
  int64_t published_folded_pushes = 0;  // t of the newest publication
  std::vector<GroupState> groups;
  std::vector<SessionState> sessions;  // by worker
  // Ids of sessions that others have taken over, the oldest first.
  std::vector<std::string> fenced_sessions;
  std::map<std::string, int64_t> pushes_this_version;  // by worker
  std::vector<HeldPushState> held;  // in the order of acceptance
  // The pushes toward the next publication.
  int64_t window = 0;
  int64_t window_pushes = 0;
  double loss_sum = 0;
  int64_t loss_count = 0;
  std::optional<double> last_loss;
  int64_t short_cycles = 0;
  int64_t received_bytes = 0;
  int64_t micro_steps = 1;                        // of the last push
  std::map<int64_t, int64_t> recent_micro_steps;  // -> window of its last push
  std::vector<rule::KChange> k_changes;
};

// The arrays of a model's flat vector [elems].
enum class StateArray {
  kParameters,
  kMomentum,
  kVariance,
  kAccumulation,
  kLookAhead
};

// Arrays are stored, hashed and read in pieces of so many elements, the last of
// each perhaps shorter.
inline constexpr int64_t kStatePieceElems = int64_t{1} << 20;

class StateSource {
 public:
  virtual ~StateSource() = default;
  virtual const TrainingState& state() const = 0;
  // An array that it does not have is zero.
  virtual bool Has(StateArray array) const = 0;
  // Elements [piece*kStatePieceElems, ... + out.size()), a whole piece. Several
  // threads may read at once. DATA_LOSS: not what was stored; UNAVAILABLE: the
  // disk fails.
  virtual absl::Status Read(StateArray array, int64_t piece,
                            absl::Span<float> out) const = 0;
  // The payload of state().held[index], in memory of its own.
  virtual absl::StatusOr<ByteChain> ReadHeld(int64_t index) const = 0;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_TRAINING_STATE_H_
