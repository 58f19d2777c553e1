// Fields: what is stored of each struct, once for every format.
//
// VisitFields(visitor, value) calls visitor(name, field) for each field, in the
// order in which a binary format has them. Visitors read or write; they know
// numbers, bools, strings, enums, optionals, vectors, maps, and visit structs
// by VisitFields. Names are those that the manifest shows.
#ifndef ACCRUE_SERVER_DURABILITY_FIELDS_H_
#define ACCRUE_SERVER_DURABILITY_FIELDS_H_

#include <concepts>
#include <type_traits>

#include "server/model/push.h"
#include "server/model/training_state.h"
#include "server/model/version.h"
#include "server/rule/adaptive_k.h"
#include "server/rule/correction.h"
#include "server/rule/cycle.h"
#include "server/rule/noise.h"
#include "server/rule/rule_spec.h"

namespace accrue {

// `T`, const where it is only written out.
template <typename Value, typename T>
concept FieldsOf = std::same_as<std::remove_const_t<Value>, T>;

template <typename V, FieldsOf<Version> T>
void VisitFields(V& visit, T& version) {
  visit("lineage", version.lineage);
  visit("number", version.number);
}

template <typename V, FieldsOf<rule::Schedule> T>
void VisitFields(V& visit, T& schedule) {
  visit("kind", schedule.kind);
  visit("warmup_updates", schedule.warmup_updates);
  visit("total_updates", schedule.total_updates);
  visit("step_updates", schedule.step_updates);
  visit("gamma", schedule.gamma);
  visit("final_factor", schedule.final_factor);
}

template <typename V, FieldsOf<rule::Hyperparameters> T>
void VisitFields(V& visit, T& hyper) {
  visit("learning_rate", hyper.learning_rate);
  visit("beta1", hyper.beta1);
  visit("beta2", hyper.beta2);
  visit("epsilon", hyper.epsilon);
  visit("dampening", hyper.dampening);
  visit("weight_decay", hyper.weight_decay);
  visit("clip_norm", hyper.clip_norm);
  visit("clip_push_norm", hyper.clip_push_norm);
  visit("schedule", hyper.schedule);
}

template <typename V, FieldsOf<rule::NoiseSums> T>
void VisitFields(V& visit, T& sums) {
  visit("mass", sums.mass);
  visit("squares", sums.squares);
  visit("power", sums.power);
  visit("step_share", sums.step_share);
}

template <typename V, FieldsOf<rule::NoiseState> T>
void VisitFields(V& visit, T& noise) {
  visit("moment", noise.moment);
  visit("cycle", noise.cycle);
  visit("before", noise.before);
}

template <typename V, FieldsOf<rule::CorrectionState> T>
void VisitFields(V& visit, T& correction) {
  visit("push_shares", correction.push_shares);
  visit("cycle_shares", correction.cycle_shares);
  visit("cycle_mass", correction.cycle_mass);
}

template <typename V, FieldsOf<rule::CycleState> T>
void VisitFields(V& visit, T& cycle) {
  visit("position", cycle.position);
  visit("updates", cycle.updates);
  visit("since_update", cycle.since_update);
  visit("micro_steps", cycle.micro_steps);
  visit("mass1", cycle.mass1);
  visit("mass2", cycle.mass2);
  visit("weight_sum", cycle.weight_sum);
  visit("noise", cycle.noise);
  visit("correction", cycle.correction);
  visit("active", cycle.active);
}

template <typename V, FieldsOf<rule::NoiseEstimate> T>
void VisitFields(V& visit, T& estimate) {
  visit("variance", estimate.variance);
  visit("mean_squared", estimate.mean_squared);
  visit("noise_left", estimate.noise_left);
}

template <typename V, FieldsOf<rule::Variation> T>
void VisitFields(V& visit, T& variation) {
  visit("value", variation.value);
  visit("at_least", variation.at_least);
}

template <typename V, FieldsOf<NoiseReading> T>
void VisitFields(V& visit, T& reading) {
  visit("estimate", reading.estimate);
  visit("variation", reading.variation);
  visit("updates", reading.updates);
}

template <typename V, FieldsOf<rule::KChange> T>
void VisitFields(V& visit, T& change) {
  visit("group", change.group);
  visit("from", change.from);
  visit("to", change.to);
  visit("variation", change.variation);
  visit("updates", change.updates);
}

template <typename V, FieldsOf<rule::PushFacts> T>
void VisitFields(V& visit, T& facts) {
  visit("micro_steps", facts.micro_steps);
  visit("weight", facts.weight);
  visit("gain_factor", facts.gain_factor);
  visit("scale", facts.scale);
  visit("norm", facts.norm);
}

template <typename V, FieldsOf<GroupProgress> T>
void VisitFields(V& visit, T& progress) {
  visit("updates", progress.updates);
  visit("position", progress.position);
  visit("k", progress.k);
}

template <typename V, FieldsOf<PushOutcome> T>
void VisitFields(V& visit, T& outcome) {
  visit("folded_pushes", outcome.folded_pushes);
  visit("version", outcome.version);
  visit("published", outcome.published);
  visit("groups", outcome.groups);
}

template <typename V, FieldsOf<HeldPushState> T>
void VisitFields(V& visit, T& held) {
  visit("worker", held.worker);
  visit("encoding", held.encoding);
  visit("payload_bytes", held.payload_bytes);
  visit("facts", held.facts);
  visit("group_square_sums", held.group_square_sums);
}

template <typename V, FieldsOf<GroupState> T>
void VisitFields(V& visit, T& group) {
  visit("hyper", group.hyper);
  visit("k", group.k);
  visit("update_every", group.update_every);
  visit("cycle", group.cycle);
  visit("version", group.version);
  visit("looks_ahead", group.looks_ahead);
  visit("gather_begin", group.gather_begin);
  visit("clip_norm", group.clip_norm);
  visit("noise", group.noise);
}

template <typename V, FieldsOf<SessionState> T>
void VisitFields(V& visit, T& session) {
  visit("worker", session.worker);
  visit("id", session.id);
  visit("last_sequence", session.last_sequence);
  visit("last_outcome", session.last_outcome);
  visit("last_hash", session.last_hash);
}

template <typename V, FieldsOf<TrainingState> T>
void VisitFields(V& visit, T& state) {
  visit("version", state.version);
  visit("is_beginning", state.is_beginning);
  visit("folded_pushes", state.folded_pushes);
  visit("published_folded_pushes", state.published_folded_pushes);
  visit("groups", state.groups);
  visit("sessions", state.sessions);
  visit("fenced_sessions", state.fenced_sessions);
  visit("pushes_this_version", state.pushes_this_version);
  visit("held", state.held);
  visit("window", state.window);
  visit("window_pushes", state.window_pushes);
  visit("loss_sum", state.loss_sum);
  visit("loss_count", state.loss_count);
  visit("last_loss", state.last_loss);
  visit("short_cycles", state.short_cycles);
  visit("received_bytes", state.received_bytes);
  visit("micro_steps", state.micro_steps);
  visit("recent_micro_steps", state.recent_micro_steps);
  visit("k_changes", state.k_changes);
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_FIELDS_H_
