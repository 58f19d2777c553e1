#include "client/ctl/description_json.h"

#include <optional>
#include <string>

#include "absl/time/time.h"

namespace accrue::ctl {
namespace {

template <typename Enum>
std::string NameText(Enum value) {
  const absl::string_view name = client::Name(value);
  return std::string(name.data(), name.size());
}

// Unset fields are left out.
template <typename T>
void Put(Json& object, const char* key, const std::optional<T>& value) {
  if (value.has_value()) object[key] = *value;
}

Json ToJson(const client::Schedule& schedule) {
  return {{"kind", NameText(schedule.kind)},
          {"warmup_updates", schedule.warmup_updates},
          {"total_updates", schedule.total_updates},
          {"step_updates", schedule.step_updates},
          {"gamma", schedule.gamma},
          {"final_factor", schedule.final_factor}};
}

Json ToJson(const client::Hyperparameters& hyperparameters) {
  Json json = Json::object();
  Put(json, "learning_rate", hyperparameters.learning_rate);
  Put(json, "beta1", hyperparameters.beta1);
  Put(json, "beta2", hyperparameters.beta2);
  Put(json, "epsilon", hyperparameters.epsilon);
  Put(json, "dampening", hyperparameters.dampening);
  Put(json, "weight_decay", hyperparameters.weight_decay);
  Put(json, "clip_norm", hyperparameters.clip_norm);
  Put(json, "clip_push_norm", hyperparameters.clip_push_norm);
  if (hyperparameters.schedule.has_value()) {
    json["schedule"] = ToJson(*hyperparameters.schedule);
  }
  return json;
}

Json ToJson(const client::OptimizerSpec& optimizer) {
  Json json = {
      {"optimizer", NameText(optimizer.optimizer)},
      {"decay", NameText(optimizer.decay)},
      {"buffering", NameText(optimizer.buffering)},
      {"second_moment", NameText(optimizer.second_moment)},
      {"epsilon_place", NameText(optimizer.epsilon_place)},
      {"learning_rate_scaling", NameText(optimizer.learning_rate_scaling)},
      {"clip_scope", NameText(optimizer.clip_scope)},
      {"nesterov", optimizer.nesterov}};
  Put(json, "slide_beta2", optimizer.slide_beta2);
  return json;
}

Json ToJson(const client::GroupSpec& group) {
  Json json = {{"name", group.name}, {"k", group.k}};
  Put(json, "update_every", group.update_every);
  json["hyperparameters"] = ToJson(group.hyperparameters);
  if (group.adaptive_k.has_value()) {
    Json& adaptive = json["adaptive_k"];
    adaptive["min_k"] = group.adaptive_k->min_k;
    adaptive["max_k"] = group.adaptive_k->max_k;
    Put(adaptive, "hysteresis", group.adaptive_k->hysteresis);
  }
  return json;
}

Json ToJson(const client::TensorSpec& tensor) {
  Json json = {{"name", tensor.name}, {"shape", tensor.shape}};
  if (!tensor.group.empty()) json["group"] = tensor.group;
  return json;
}

Json ToJson(const client::Noise& noise) {
  return {{"variance", noise.variance},
          {"mean_squared", noise.mean_squared},
          {"variation", noise.variation},
          {"variation_at_least", noise.variation_at_least},
          {"power_left", noise.power_left},
          {"noise_left", noise.noise_left},
          {"updates", noise.updates}};
}

Json ToJson(const client::KChange& change) {
  return {{"group", change.group},
          {"from_k", change.from_k},
          {"to_k", change.to_k},
          {"variation", change.variation},
          {"variation_at_least", change.variation_at_least},
          {"updates", change.updates}};
}

Json ToJson(const client::GroupPosition& group) {
  Json json = {{"group", group.group},
               {"updates", group.updates},
               {"position", group.position},
               {"k", group.k},
               {"update_every", group.update_every},
               {"learning_rate", group.learning_rate},
               {"clip_norm_seen", group.clip_norm_seen}};
  if (group.noise.has_value()) json["noise"] = ToJson(*group.noise);
  return json;
}

Json ToJson(const client::MemoryReport& memory) {
  Json items = Json::array();
  for (const client::MemoryItem& item : memory.items) {
    items.push_back({{"tag", item.tag},
                     {"live_bytes", item.live_bytes},
                     {"peak_bytes", item.peak_bytes}});
  }
  return {{"items", std::move(items)},
          {"accumulation_buffer_bytes", memory.accumulation_buffer_bytes},
          {"published_bytes", memory.published_bytes},
          {"publications", memory.publications},
          {"ceiling_bytes", memory.ceiling_bytes}};
}

template <typename T>
Json ToJsonList(const std::vector<T>& elements) {
  Json list = Json::array();
  for (const T& element : elements) list.push_back(ToJson(element));
  return list;
}

Json ToJson(const client::DeviceInfo& device) {
  return {{"name", device.name},
          {"product", device.product},
          {"total_bytes", device.total_bytes},
          {"free_bytes", device.free_bytes},
          {"fault", device.fault}};
}

}  // namespace

Json ToJson(const client::Version& version) {
  return {{"lineage", version.lineage}, {"number", version.number}};
}

Json ToJson(const client::ModelSpec& spec) {
  Json json = {{"name", spec.name},
               {"optimizer", ToJson(spec.optimizer)},
               {"groups", ToJsonList(spec.groups)},
               {"tensors", ToJsonList(spec.tensors)},
               {"max_staleness", spec.max_staleness},
               {"stale_policy", NameText(spec.stale_policy)},
               {"durability", NameText(spec.durability)},
               {"max_pushes_per_worker", spec.max_pushes_per_worker}};
  if (spec.cycle_timeout.has_value()) {
    json["cycle_timeout"] = absl::FormatDuration(*spec.cycle_timeout);
  }
  Put(json, "min_pushes", spec.min_pushes);
  Put(json, "nominal_weight", spec.nominal_weight);
  Put(json, "max_publications", spec.max_publications);
  return json;
}

Json ToJson(const client::CheckpointDescription& checkpoint) {
  Json json = {{"name", checkpoint.name}};
  if (checkpoint.version.has_value()) {
    json["version"] = ToJson(*checkpoint.version);
  }
  json["folded_pushes"] = checkpoint.folded_pushes;
  json["create_time"] = absl::FormatTime(
      absl::RFC3339_full, checkpoint.create_time, absl::UTCTimeZone());
  json["size_bytes"] = checkpoint.size_bytes;
  return json;
}

Json ToJson(const client::ModelDescription& description) {
  Json json = {{"name", description.spec.name},
               {"state", NameText(description.state)}};
  if (!description.unavailable_reason.empty()) {
    json["unavailable_reason"] = description.unavailable_reason;
    return json;  // no more is known of it
  }
  if (description.version.has_value()) {
    json["version"] = ToJson(*description.version);
  }
  json["folded_pushes"] = description.folded_pushes;
  json["short_cycles"] = description.short_cycles;
  Put(json, "last_loss", description.last_loss);
  json["parameter_count"] = description.parameter_count;
  json["payload_bytes"] = description.payload_bytes;
  json["received_bytes"] = description.received_bytes;
  json["sent_bytes"] = description.sent_bytes;
  const client::Traffic& traffic = description.traffic;
  json["traffic"] = {{"push_request_bytes", traffic.push_request_bytes},
                     {"push_response_bytes", traffic.push_response_bytes},
                     {"pull_request_bytes", traffic.pull_request_bytes},
                     {"pull_response_bytes", traffic.pull_response_bytes}};
  if (!description.poison_reason.empty()) {
    json["poison_reason"] = description.poison_reason;
  }
  json["pushed_workers"] = description.pushed_workers;
  json["missing_workers"] = description.missing_workers;
  json["groups"] = ToJsonList(description.groups);
  json["k_changes"] = ToJsonList(description.k_changes);
  json["micro_steps"] = description.micro_steps;
  json["devices"] = description.devices;
  json["lost_pushes"] = description.lost_pushes;
  json["restored_folded_pushes"] = description.restored_folded_pushes;
  if (description.checkpoint.has_value()) {
    json["checkpoint"] = ToJson(*description.checkpoint);
  }
  json["memory"] = ToJson(description.memory);
  json["spec"] = ToJson(description.spec);
  return json;
}

Json ToJson(const client::SessionDescription& session) {
  return {{"worker", session.worker},
          {"id_prefix", session.id_prefix},
          {"last_sequence", session.last_sequence},
          {"pushes_this_version", session.pushes_this_version},
          {"last_active_time",
           absl::FormatTime(absl::RFC3339_full, session.last_active_time,
                            absl::UTCTimeZone())}};
}

Json ToJson(const std::vector<client::SessionDescription>& sessions) {
  Json list = Json::array();
  for (const auto& session : sessions) list.push_back(ToJson(session));
  return list;
}

Json Names(const std::vector<client::Encoding>& encodings) {
  Json names = Json::array();
  for (const client::Encoding encoding : encodings) {
    names.push_back(NameText(encoding));
  }
  return names;
}

Json ToJson(const client::ServerInfo& info) {
  Json devices = Json::array();
  for (const client::DeviceInfo& device : info.device_infos) {
    devices.push_back(ToJson(device));
  }
  return {{"version", info.version},
          {"devices", info.devices},
          {"device_infos", devices},
          {"encodings", Names(info.encodings)},
          {"push_encodings", Names(info.push_encodings)},
          {"max_chunk_bytes", info.max_chunk_bytes},
          {"ingest_memory_bytes", info.ingest_memory_bytes},
          {"ingest_reserved_bytes", info.ingest_reserved_bytes},
          {"max_push_streams", info.max_push_streams},
          {"max_sessions", info.max_sessions},
          {"push_idle_timeout", absl::FormatDuration(info.push_idle_timeout)},
          {"draining", info.draining},
          {"memory_ceiling_bytes", info.memory_ceiling_bytes}};
}

Json ToJson(const client::Notice& notice) {
  Json json = {{"version", ToJson(notice.version)},
               {"folded_pushes", notice.folded_pushes}};
  Put(json, "loss", notice.loss);
  json["changed_bytes"] = notice.changed_bytes;
  json["changed_groups"] = notice.changed_groups;
  json["missing_pushes"] = notice.missing_pushes;
  return json;
}

}  // namespace accrue::ctl
