#include "client/ctl/spec_file.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "accrue/per_layer_k.h"
#include "client/ctl/failure.h"
#include "client/ctl/yaml_fields.h"

namespace accrue::ctl {

using client::AdaptiveK;
using client::GroupSpec;
using client::Hyperparameters;
using client::Initializer;
using client::ModelSpec;
using client::OptimizerSpec;
using client::PerLayerK;
using client::Schedule;
using client::TensorSpec;

namespace {

// The API's enumerators are few and dense, and begin with 1.
constexpr int kMaxEnumerator = 16;

template <typename Enum>
absl::Status ReadEnum(const YAML::Node& node, Enum* value) {
  std::vector<std::string> names;
  for (int number = 1; number < kMaxEnumerator; ++number) {
    const absl::string_view name = client::Name(static_cast<Enum>(number));
    if (!client::ParseName<Enum>(name).has_value()) break;
    names.emplace_back(name.data(), name.size());
  }
  const std::string expected =
      absl::StrCat("one of ", absl::StrJoin(names, ", "));
  if (!node.IsScalar()) {
    return ErrorAt(node, absl::StrCat("expected ", expected));
  }
  const auto parsed = client::ParseName<Enum>(node.Scalar());
  if (!parsed.has_value()) {
    return ErrorAt(node, absl::StrCat("expected ", expected, ", got \"",
                                      node.Scalar(), "\""));
  }
  *value = *parsed;
  return absl::OkStatus();
}

absl::Status Require(const YAML::Node& node, absl::string_view what,
                     const std::vector<absl::string_view>& keys) {
  for (absl::string_view key : keys) {
    if (!FindKey(node, key).has_value()) {
      return ErrorAt(node, absl::StrCat(what, " needs \"", key, "\""));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadSchedule(const YAML::Node& node, Schedule* schedule) {
  ACCRUE_RETURN_IF_ERROR(
      ReadFields(node, "a schedule",
                 {{"kind", Into(&schedule->kind, ReadEnum)},
                  {"warmup_updates", Into(&schedule->warmup_updates)},
                  {"total_updates", Into(&schedule->total_updates)},
                  {"step_updates", Into(&schedule->step_updates)},
                  {"gamma", Into(&schedule->gamma)},
                  {"final_factor", Into(&schedule->final_factor)}}));
  return Require(node, "a schedule", {"kind"});
}

absl::Status ReadHyperparameters(const YAML::Node& node,
                                 Hyperparameters* hyperparameters) {
  ACCRUE_RETURN_IF_ERROR(ReadFields(
      node, "hyperparameters",
      {{"learning_rate", Into(&hyperparameters->learning_rate)},
       {"beta1", Into(&hyperparameters->beta1)},
       {"beta2", Into(&hyperparameters->beta2)},
       {"epsilon", Into(&hyperparameters->epsilon)},
       {"dampening", Into(&hyperparameters->dampening)},
       {"weight_decay", Into(&hyperparameters->weight_decay)},
       {"clip_norm", Into(&hyperparameters->clip_norm)},
       {"clip_push_norm", Into(&hyperparameters->clip_push_norm)},
       {"schedule", Into(&hyperparameters->schedule, ReadSchedule)}}));
  return Require(node, "hyperparameters", {"learning_rate"});
}

absl::Status ReadAdaptiveK(const YAML::Node& node, AdaptiveK* adaptive) {
  ACCRUE_RETURN_IF_ERROR(
      ReadFields(node, "adaptive_k",
                 {{"min_k", Into(&adaptive->min_k)},
                  {"max_k", Into(&adaptive->max_k)},
                  {"hysteresis", Into(&adaptive->hysteresis)}}));
  return Require(node, "adaptive_k", {"min_k", "max_k"});
}

absl::Status ReadGroup(const YAML::Node& node, GroupSpec* group) {
  ACCRUE_RETURN_IF_ERROR(
      ReadFields(node, "a group",
                 {{"name", Into(&group->name)},
                  {"k", Into(&group->k)},
                  {"update_every", Into(&group->update_every)},
                  {"adaptive_k", Into(&group->adaptive_k, ReadAdaptiveK)},
                  {"hyperparameters",
                   Into(&group->hyperparameters, ReadHyperparameters)}}));
  return Require(node, "a group", {"name", "hyperparameters"});
}

absl::Status ReadDepth(const YAML::Node& node, PerLayerK::Depth* depth) {
  ACCRUE_RETURN_IF_ERROR(ReadFields(
      node, "a depth",
      {{"tensors", Into(&depth->tensors)}, {"depth", Into(&depth->depth)}}));
  return Require(node, "a depth", {"tensors", "depth"});
}

absl::Status ReadPerLayerK(const YAML::Node& node, PerLayerK* per_layer) {
  ACCRUE_RETURN_IF_ERROR(
      ReadFields(node, "per_layer_k",
                 {{"k_min", Into(&per_layer->k_min)},
                  {"max_k", Into(&per_layer->max_k)},
                  {"depths", IntoList(&per_layer->depths, ReadDepth)}}));
  return Require(node, "per_layer_k", {"k_min", "max_k", "depths"});
}

absl::Status ReadTensor(const YAML::Node& node, TensorSpec* tensor) {
  ACCRUE_RETURN_IF_ERROR(ReadFields(node, "a tensor",
                                    {{"name", Into(&tensor->name)},
                                     {"shape", Into(&tensor->shape)},
                                     {"group", Into(&tensor->group)}}));
  return Require(node, "a tensor", {"name", "shape"});
}

absl::Status ReadOptimizer(const YAML::Node& node, OptimizerSpec* optimizer) {
  return ReadFields(
      node, "optimizer",
      {{"optimizer", Into(&optimizer->optimizer, ReadEnum)},
       {"decay", Into(&optimizer->decay, ReadEnum)},
       {"buffering", Into(&optimizer->buffering, ReadEnum)},
       {"second_moment", Into(&optimizer->second_moment, ReadEnum)},
       {"epsilon_place", Into(&optimizer->epsilon_place, ReadEnum)},
       {"learning_rate_scaling",
        Into(&optimizer->learning_rate_scaling, ReadEnum)},
       {"clip_scope", Into(&optimizer->clip_scope, ReadEnum)},
       {"nesterov", Into(&optimizer->nesterov)},
       {"slide_beta2", Into(&optimizer->slide_beta2)}});
}

absl::Status ReadUniform(const YAML::Node& node, InitialValues* values) {
  Initializer::Uniform uniform;
  ACCRUE_RETURN_IF_ERROR(
      ReadFields(node, "uniform",
                 {{"low", Into(&uniform.low)}, {"high", Into(&uniform.high)}}));
  *values = uniform;
  return Require(node, "uniform", {"low", "high"});
}

absl::Status ReadNormal(const YAML::Node& node, InitialValues* values) {
  Initializer::Normal normal;
  ACCRUE_RETURN_IF_ERROR(ReadFields(
      node, "normal",
      {{"mean", Into(&normal.mean)}, {"stddev", Into(&normal.stddev)}}));
  *values = normal;
  return Require(node, "normal", {"stddev"});
}

absl::Status ReadConstant(const YAML::Node& node, InitialValues* values) {
  return Read(node, &values->emplace<Initializer::Constant>().value);
}

absl::Status ReadKaiming(const YAML::Node& node, InitialValues* values) {
  *values = Kaiming{};
  return ReadFields(node, "kaiming", {});
}

absl::Status ReadTensorRule(const YAML::Node& node, TensorRule* rule) {
  ACCRUE_RETURN_IF_ERROR(
      ReadFields(node, "an initializer",
                 {{"tensor", Into(&rule->tensor)},
                  {"constant", Into(&rule->values, ReadConstant)},
                  {"uniform", Into(&rule->values, ReadUniform)},
                  {"normal", Into(&rule->values, ReadNormal)},
                  {"kaiming", Into(&rule->values, ReadKaiming)}}));
  ACCRUE_RETURN_IF_ERROR(Require(node, "an initializer", {"tensor"}));
  if (node.size() != 2) {
    return ErrorAt(node,
                   "an initializer needs one of constant, uniform, normal, "
                   "kaiming");
  }
  return absl::OkStatus();
}

// Splits the groups of the document `node`, whose k, if it names one, would go
// unheard.
absl::Status ApplyPerLayerK(const YAML::Node& node, const PerLayerK& per_layer,
                            ModelSpec* spec) {
  for (const YAML::Node& group : node["groups"]) {
    const YAML::Node k = group["k"];
    if (!k.IsDefined()) continue;
    return ErrorAt(k, absl::StrCat("group \"", group["name"].Scalar(),
                                   "\" has a k, and per_layer_k gives it "
                                   "others: leave one of them out"));
  }
  auto split = client::SplitByDepth(*spec, per_layer);
  if (!split.ok()) {
    return ErrorAt(node["per_layer_k"], split.status().message());
  }
  *spec = *std::move(split);
  return absl::OkStatus();
}

absl::Status ReadSpecFile(const YAML::Node& node, SpecFile* file) {
  ModelSpec& spec = file->spec;
  std::optional<PerLayerK> per_layer;
  ACCRUE_RETURN_IF_ERROR(ReadFields(
      node, "the spec",
      {{"name", Into(&spec.name)},
       {"optimizer", Into(&spec.optimizer, ReadOptimizer)},
       {"groups", IntoList(&spec.groups, ReadGroup)},
       {"tensors", IntoList(&spec.tensors, ReadTensor)},
       {"max_staleness", Into(&spec.max_staleness)},
       {"stale_policy", Into(&spec.stale_policy, ReadEnum)},
       {"durability", Into(&spec.durability, ReadEnum)},
       {"max_pushes_per_worker", Into(&spec.max_pushes_per_worker)},
       {"cycle_timeout", Into(&spec.cycle_timeout)},
       {"min_pushes", Into(&spec.min_pushes)},
       {"nominal_weight", Into(&spec.nominal_weight)},
       {"max_publications", Into(&spec.max_publications)},
       {"initializers", IntoList(&file->initializers, ReadTensorRule)},
       {"per_layer_k", Into(&per_layer, ReadPerLayerK)},
       {"seed", Into(&file->seed)}}));
  ACCRUE_RETURN_IF_ERROR(
      Require(node, "the spec", {"name", "tensors", "groups"}));
  return per_layer.has_value() ? ApplyPerLayerK(node, *per_layer, &spec)
                               : absl::OkStatus();
}

absl::Status Prefixed(const absl::Status& status, absl::string_view source) {
  return status.ok() ? status
                     : UsageError(absl::StrCat(source, ": ", status.message()));
}

}  // namespace

absl::StatusOr<SpecFile> ParseSpecFile(const std::string& text,
                                       absl::string_view source) {
  const absl::StatusOr<YAML::Node> document = ParseYaml(text);
  if (!document.ok()) return Prefixed(document.status(), source);
  SpecFile file;
  ACCRUE_RETURN_IF_ERROR(Prefixed(ReadSpecFile(*document, &file), source));
  return file;
}

absl::StatusOr<Schedule> ParseSchedule(const std::string& text) {
  const absl::StatusOr<YAML::Node> document = ParseYaml(text);
  if (!document.ok()) return Prefixed(document.status(), "schedule");
  Schedule schedule;
  ACCRUE_RETURN_IF_ERROR(
      Prefixed(ReadSchedule(*document, &schedule), "schedule"));
  return schedule;
}

}  // namespace accrue::ctl
