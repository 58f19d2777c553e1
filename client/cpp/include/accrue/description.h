// ModelDescription, SessionDescription, ServerInfo: how a model, a session and
// the daemon are, at the moment the daemon answered.

#ifndef ACCRUE_CLIENT_DESCRIPTION_H_
#define ACCRUE_CLIENT_DESCRIPTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "accrue/spec.h"
#include "accrue/traffic.h"
#include "accrue/version.h"

namespace accrue::client {

// How much of a group's gradients is signal and how much is noise, debiased, as
// last measured. Both are sums over the group's elements, and of gradients of
// one micro-batch.
struct Noise {
  double variance = 0;      // sigma^2
  double mean_squared = 0;  // mu^2; 0 if it is below what can be seen
  // sqrt(variance/mean_squared), the coefficient of variation; its square is
  // the noise scale. Without a mean the least that it can be.
  double variation = 0;
  bool variation_at_least = false;  // it is only the least that it can be
  // C_k = (mu^2 + sigma^2/k)/(mu^2 + sigma^2) at the k in force.
  double power_left = 0;
  double noise_left = 0;  // the momentum's share of variance
  int64_t updates = 0;    // of the group, when it was measured
};

// A change of k by AdaptiveK.
struct KChange {
  std::string group = {};
  int64_t from_k = 0;
  int64_t to_k = 0;
  double variation = 0;  // Noise::variation that called for it
  bool variation_at_least = false;
  int64_t updates = 0;  // of the group, when it changed
};

// A group's place in its cycle.
struct GroupPosition {
  std::string group = {};
  int64_t updates = 0;       // u: updates so far
  int64_t position = 0;      // pushes in the open cycle
  int64_t k = 0;             // k in force
  int64_t update_every = 0;  // length of the cycle, pushes
  // The learning rate of the next update, schedule and scaling included.
  double learning_rate = 0;
  // The clipped quantity's norm at the last update; 0 without clip_norm.
  double clip_norm_seen = 0;
  // Unset until two updates (one, of several pushes) could tell.
  std::optional<Noise> noise = {};
};

// Live bytes under one tag.
struct MemoryItem {
  std::string tag = {};    // "parameters", "momentum", "gathered", ...
  int64_t live_bytes = 0;  // allocated now
  int64_t peak_bytes = 0;  // the most that were allocated at once
};

// Where a model's memory is: the sum of live allocations, not an estimate.
struct MemoryReport {
  std::vector<MemoryItem> items = {};
  // Bytes that serve as a gradient accumulation buffer.
  int64_t accumulation_buffer_bytes = 0;
  int64_t published_bytes = 0;  // of all publications
  int64_t publications = 0;     // that exist now
  // The daemon's process may grow to this.
  int64_t ceiling_bytes = 0;
};

// A model's whole state on the daemon's disk.
struct CheckpointDescription {
  std::string name = {};
  // Unset: the model had no parameters yet.
  std::optional<Version> version = {};
  int64_t folded_pushes = 0;  // t, of the state in it
  absl::Time create_time = {};
  int64_t size_bytes = 0;  // of all of its files
};

struct ModelDescription {
  enum class State {
    kUnknown = 0,        // of a newer daemon
    kUninitialized = 1,  // created; no parameters yet
    kReady = 2,          // it trains
    kPoisoned = 3,       // a device fault; it refuses all until it is
                         // initialized again
    // Client::ListModels() only:
    kDamaged = 4,  // its files failed their check at the daemon's start; it can
                   // be restored or deleted
    kLeftOut = 5,  // that start could not bring it up, from its disk or into
                   // memory; the next one tries again
  };

  // As created, defaults filled in, hyperparameters as last updated.
  ModelSpec spec = {};
  State state = State::kUnknown;
  // The newest publication; unset while uninitialized.
  std::optional<Version> version = {};
  int64_t folded_pushes = 0;  // t: pushes folded, micro-steps counted
  std::vector<GroupPosition> groups = {};  // in the spec's order
  MemoryReport memory = {};
  // Workers with an open session that have not / have pushed toward the next
  // version.
  std::vector<std::string> missing_workers = {};
  std::vector<std::string> pushed_workers = {};
  int64_t short_cycles = 0;  // closed before all pushes were in
  // The mean of the losses that came with the pushes of the last closed cycle;
  // unset if none did.
  std::optional<double> last_loss = {};
  int64_t parameter_count = 0;     // elements over all tensors
  int64_t payload_bytes = 0;       // of a push in F32
  std::string poison_reason = {};  // why it is poisoned
  int64_t received_bytes = 0;      // payload bytes of pushes folded so far
  int64_t sent_bytes = 0;          // parameter bytes sent to readers so far
  Traffic traffic = {};            // all bytes each way so far
  // The last changes of k, at most 64, oldest first.
  std::vector<KChange> k_changes = {};
  int64_t micro_steps = 1;  // of the last push that was folded
  // Where its state lies, in the order of its elements: "cuda:0".
  std::vector<std::string> devices = {};
  // Answered pushes (micro-steps counted) that were lost when the daemon last
  // crashed, as far as it knows; 0 under Durability::kJournal.
  int64_t lost_pushes = 0;
  // t when the daemon last took it up from its disk; 0 if it never has.
  int64_t restored_folded_pushes = 0;
  // The newest; unset without a data directory.
  std::optional<CheckpointDescription> checkpoint = {};
  // Why it is damaged or left out. Of such a model only this, the state and the
  // spec's name are known.
  std::string unavailable_reason = {};
};

// "uninitialized", "ready", "poisoned", "damaged", "left_out", "unknown".
absl::string_view Name(ModelDescription::State state);

// A worker's session as an operator sees it.
struct SessionDescription {
  std::string worker = {};
  std::string id_prefix = {};  // first eight digits of the session's id
  int64_t last_sequence = 0;   // the last one folded; 0 before the first
  // Pushes (micro-steps counted) toward the next version.
  int64_t pushes_this_version = 0;
  absl::Time last_active_time = {};  // when it last pushed or was opened
};

// A device that holds models.
struct DeviceInfo {
  std::string name = {};     // "cpu", "cuda:0"
  std::string product = {};  // "NVIDIA H200"; empty of the CPU
  // By its driver's account; 0 of the CPU, and of a device that is lost.
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
  std::string fault = {};  // what it was lost to; empty: it is sound
};

struct ServerInfo {
  std::string version = {};
  std::vector<std::string> devices = {};      // that hold models
  std::vector<DeviceInfo> device_infos = {};  // in their order
  std::vector<Encoding> encodings = {};       // that pushes and pulls may use
  std::vector<Encoding> push_encodings = {};  // that only pushes may use
  int64_t max_chunk_bytes = 0;
  int64_t ingest_memory_bytes = 0;
  int64_t max_push_streams = 0;
  int64_t max_sessions = 0;  // a model
  absl::Duration push_idle_timeout = {};
  bool draining = false;
  int64_t memory_ceiling_bytes = 0;
  int64_t ingest_reserved_bytes = 0;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_DESCRIPTION_H_
