// VisitFields of a model's spec, as those of fields.h. Visitors know
// absl::Duration too.
#ifndef ACCRUE_SERVER_DURABILITY_SPEC_FIELDS_H_
#define ACCRUE_SERVER_DURABILITY_SPEC_FIELDS_H_

#include "server/durability/fields.h"
#include "server/model/spec.h"
#include "server/rule/adaptive_k.h"

namespace accrue {

template <typename V, FieldsOf<rule::AdaptiveK> T>
void VisitFields(V& visit, T& adaptive) {
  visit("min_k", adaptive.min_k);
  visit("max_k", adaptive.max_k);
  visit("hysteresis", adaptive.hysteresis);
}

template <typename V, FieldsOf<TensorSpec> T>
void VisitFields(V& visit, T& tensor) {
  visit("name", tensor.name);
  visit("shape", tensor.shape);
  visit("group", tensor.group);
}

template <typename V, FieldsOf<GroupSpec> T>
void VisitFields(V& visit, T& group) {
  visit("name", group.name);
  visit("k", group.k);
  visit("update_every", group.update_every);
  visit("hyper", group.hyper);
  visit("adaptive_k", group.adaptive_k);
}

template <typename V, FieldsOf<OptimizerSpec> T>
void VisitFields(V& visit, T& optimizer) {
  visit("optimizer", optimizer.optimizer);
  visit("decay", optimizer.decay);
  visit("buffering", optimizer.buffering);
  visit("second_moment", optimizer.second_moment);
  visit("epsilon_place", optimizer.epsilon_place);
  visit("lr_scaling", optimizer.lr_scaling);
  visit("clip_scope", optimizer.clip_scope);
  visit("nesterov", optimizer.nesterov);
  visit("slide_beta2", optimizer.slide_beta2);
}

template <typename V, FieldsOf<ModelSpec> T>
void VisitFields(V& visit, T& spec) {
  visit("name", spec.name);
  visit("tensors", spec.tensors);
  visit("groups", spec.groups);
  visit("optimizer", spec.optimizer);
  visit("max_staleness", spec.max_staleness);
  visit("stale_policy", spec.stale_policy);
  visit("max_pushes_per_worker", spec.max_pushes_per_worker);
  visit("cycle_timeout", spec.cycle_timeout);
  visit("min_pushes", spec.min_pushes);
  visit("nominal_weight", spec.nominal_weight);
  visit("max_publications", spec.max_publications);
  visit("durability", spec.durability);
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_SPEC_FIELDS_H_
