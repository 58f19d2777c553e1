// BatchRecord: what the journal has of a batch besides its payloads: all that
// its pass needs, as it was planned, so that making it again needs neither the
// rule nor this machine's libm; and what the model is after it.
#ifndef ACCRUE_SERVER_DURABILITY_BATCH_RECORD_H_
#define ACCRUE_SERVER_DURABILITY_BATCH_RECORD_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/durability/fields.h"
#include "server/kernels/encoding.h"
#include "server/model/push.h"
#include "server/model/version.h"
#include "server/rule/correction.h"
#include "server/rule/cycle.h"

namespace accrue {

// A push, and what it was answered, but for the version. Its payload is the
// record's, of the same index.
struct ItemRecord {
  std::string session_id;
  int64_t sequence = 0;
  int64_t version = 0;  // that the gradient was computed from
  kernels::Encoding encoding = kernels::Encoding::kF32;
  int64_t micro_steps = 1;
  std::optional<double> weight;
  double scale = 1;
  std::optional<double> loss;
  int64_t folded_pushes = 0;  // t after it
  std::vector<GroupProgress> groups;
};

// GATHER: how a push is held, parallel to the items.
struct HeldRecord {
  std::string worker;
  rule::PushFacts facts;
  std::vector<double> group_square_sums;
};

// Of one group: its part of the pass, and what it is afterwards.
struct GroupRecord {
  int64_t k = 1;  // in force
  rule::CycleState cycle;
  std::vector<rule::PushScalars> pushes;
  std::vector<int32_t> payloads;
  std::optional<rule::LookAhead> look_ahead;
  std::optional<rule::BufferFold> buffer_fold;
  std::optional<rule::UpdateScalars> update;
};

struct BatchRecord {
  Version version;            // the newest before it
  int64_t folded_before = 0;  // t
  int64_t folded_pushes = 0;  // t after it
  std::vector<ItemRecord> items;
  std::vector<HeldRecord> held;
  std::vector<GroupRecord> groups;
  std::vector<int32_t> updated;
  std::vector<int64_t> missing;  // parallel to updated
  std::vector<int32_t> looking_ahead;
  // -> window of its last push, accepted or refused.
  std::map<int64_t, int64_t> recent_micro_steps;
};

template <typename V, FieldsOf<rule::PushScalars> T>
void VisitFields(V& visit, T& push) {
  visit("mult", push.mult);
  visit("keep1", push.keep1);
  visit("gain1", push.gain1);
  visit("keep2", push.keep2);
  visit("gain2", push.gain2);
  visit("weight", push.weight);
  visit("first", push.first);
}

template <typename V, FieldsOf<rule::LookAhead> T>
void VisitFields(V& visit, T& look_ahead) {
  visit("ahead", look_ahead.ahead);
  visit("l2", look_ahead.l2);
}

template <typename V, FieldsOf<rule::BufferFold> T>
void VisitFields(V& visit, T& fold) {
  visit("mean", fold.mean);
  visit("keep1", fold.keep1);
  visit("gain1", fold.gain1);
  visit("keep2", fold.keep2);
  visit("gain2", fold.gain2);
  visit("grad_l2", fold.grad_l2);
}

template <typename V, FieldsOf<rule::Correction> T>
void VisitFields(V& visit, T& correction) {
  visit("inv_weight", correction.inv_weight);
  visit("noise_gain", correction.noise_gain);
  visit("noise_share", correction.noise_share);
}

template <typename V, FieldsOf<rule::UpdateScalars> T>
void VisitFields(V& visit, T& update) {
  visit("lr", update.lr);
  visit("l2", update.l2);
  visit("decay", update.decay);
  visit("mix_keep", update.mix_keep);
  visit("mix_gain", update.mix_gain);
  visit("inv_mass2", update.inv_mass2);
  visit("correction", update.correction);
  visit("epsilon", update.epsilon);
  visit("inv_mass1", update.inv_mass1);
  visit("weight_decay", update.weight_decay);
  visit("rate", update.rate);
  visit("clip_norm", update.clip_norm);
  visit("norm_factor", update.norm_factor);
}

template <typename V, FieldsOf<ItemRecord> T>
void VisitFields(V& visit, T& item) {
  visit("session_id", item.session_id);
  visit("sequence", item.sequence);
  visit("version", item.version);
  visit("encoding", item.encoding);
  visit("micro_steps", item.micro_steps);
  visit("weight", item.weight);
  visit("scale", item.scale);
  visit("loss", item.loss);
  visit("folded_pushes", item.folded_pushes);
  visit("groups", item.groups);
}

template <typename V, FieldsOf<HeldRecord> T>
void VisitFields(V& visit, T& held) {
  visit("worker", held.worker);
  visit("facts", held.facts);
  visit("group_square_sums", held.group_square_sums);
}

template <typename V, FieldsOf<GroupRecord> T>
void VisitFields(V& visit, T& group) {
  visit("k", group.k);
  visit("cycle", group.cycle);
  visit("pushes", group.pushes);
  visit("payloads", group.payloads);
  visit("look_ahead", group.look_ahead);
  visit("buffer_fold", group.buffer_fold);
  visit("update", group.update);
}

template <typename V, FieldsOf<BatchRecord> T>
void VisitFields(V& visit, T& batch) {
  visit("version", batch.version);
  visit("folded_before", batch.folded_before);
  visit("folded_pushes", batch.folded_pushes);
  visit("items", batch.items);
  visit("held", batch.held);
  visit("groups", batch.groups);
  visit("updated", batch.updated);
  visit("missing", batch.missing);
  visit("looking_ahead", batch.looking_ahead);
  visit("recent_micro_steps", batch.recent_micro_steps);
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_BATCH_RECORD_H_
