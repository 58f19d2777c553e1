#include "client/cpp/src/convert.h"

#include <variant>

namespace accrue::client::internal {
namespace {

template <typename Repeated>
std::vector<std::string> Strings(const Repeated& names) {
  return std::vector<std::string>(names.begin(), names.end());
}

// As spec.h documents it.
constexpr double kDefaultDampening = 0;

absl::Time ToTime(const google::protobuf::Timestamp& proto) {
  return absl::FromUnixSeconds(proto.seconds()) +
         absl::Nanoseconds(proto.nanos());
}

absl::Duration ToDuration(const google::protobuf::Duration& proto) {
  return absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

v1::Schedule ToProto(const Schedule& schedule) {
  v1::Schedule proto;
  proto.set_kind(static_cast<v1::Schedule::Kind>(schedule.kind));
  proto.set_warmup_updates(schedule.warmup_updates);
  proto.set_total_updates(schedule.total_updates);
  proto.set_step_updates(schedule.step_updates);
  proto.set_gamma(schedule.gamma);
  proto.set_final_factor(schedule.final_factor);
  return proto;
}

Schedule FromProto(const v1::Schedule& proto) {
  return Schedule{
      .kind = static_cast<Schedule::Kind>(proto.kind()),
      .warmup_updates = proto.warmup_updates(),
      .total_updates = proto.total_updates(),
      .step_updates = proto.step_updates(),
      .gamma = proto.gamma(),
      .final_factor = proto.final_factor(),
  };
}

// One optional field, either way.
#define ACCRUE_TO_PROTO(field) \
  if (value.field.has_value()) proto.set_##field(*value.field)
#define ACCRUE_FROM_PROTO(field) \
  if (proto.has_##field()) value.field = proto.field()

Hyperparameters FromProto(const v1::Hyperparameters& proto) {
  Hyperparameters value;
  ACCRUE_FROM_PROTO(learning_rate);
  ACCRUE_FROM_PROTO(beta1);
  ACCRUE_FROM_PROTO(beta2);
  ACCRUE_FROM_PROTO(epsilon);
  ACCRUE_FROM_PROTO(dampening);
  ACCRUE_FROM_PROTO(weight_decay);
  ACCRUE_FROM_PROTO(clip_norm);
  ACCRUE_FROM_PROTO(clip_push_norm);
  if (proto.has_schedule()) value.schedule = FromProto(proto.schedule());
  return value;
}

v1::AdaptiveK ToProto(const AdaptiveK& value) {
  v1::AdaptiveK proto;
  proto.set_min_k(value.min_k);
  proto.set_max_k(value.max_k);
  ACCRUE_TO_PROTO(hysteresis);
  return proto;
}

AdaptiveK FromProto(const v1::AdaptiveK& proto) {
  AdaptiveK value;
  value.min_k = proto.min_k();
  value.max_k = proto.max_k();
  ACCRUE_FROM_PROTO(hysteresis);
  return value;
}

v1::GroupSpec ToProto(const GroupSpec& value) {
  v1::GroupSpec proto;
  proto.set_name(value.name);
  proto.set_k(value.k);
  ACCRUE_TO_PROTO(update_every);
  *proto.mutable_hyperparameters() = internal::ToProto(value.hyperparameters);
  if (value.adaptive_k.has_value()) {
    *proto.mutable_adaptive_k() = ToProto(*value.adaptive_k);
  }
  return proto;
}

GroupSpec FromProto(const v1::GroupSpec& proto) {
  GroupSpec value;
  value.name = proto.name();
  value.k = proto.k();
  ACCRUE_FROM_PROTO(update_every);
  value.hyperparameters = FromProto(proto.hyperparameters());
  if (proto.has_adaptive_k()) value.adaptive_k = FromProto(proto.adaptive_k());
  return value;
}

v1::OptimizerSpec ToProto(const OptimizerSpec& value) {
  v1::OptimizerSpec proto;
  proto.set_optimizer(static_cast<v1::Optimizer>(value.optimizer));
  proto.set_decay(static_cast<v1::Decay>(value.decay));
  proto.set_buffering(static_cast<v1::Buffering>(value.buffering));
  proto.set_second_moment(static_cast<v1::SecondMoment>(value.second_moment));
  proto.set_epsilon_place(static_cast<v1::EpsilonPlace>(value.epsilon_place));
  proto.set_learning_rate_scaling(
      static_cast<v1::LearningRateScaling>(value.learning_rate_scaling));
  proto.set_clip_scope(static_cast<v1::ClipScope>(value.clip_scope));
  proto.set_nesterov(value.nesterov);
  ACCRUE_TO_PROTO(slide_beta2);
  return proto;
}

OptimizerSpec FromProto(const v1::OptimizerSpec& proto) {
  OptimizerSpec value;
  value.optimizer = static_cast<Optimizer>(proto.optimizer());
  value.decay = static_cast<Decay>(proto.decay());
  value.buffering = static_cast<Buffering>(proto.buffering());
  value.second_moment = static_cast<SecondMoment>(proto.second_moment());
  value.epsilon_place = static_cast<EpsilonPlace>(proto.epsilon_place());
  value.learning_rate_scaling =
      static_cast<LearningRateScaling>(proto.learning_rate_scaling());
  value.clip_scope = static_cast<ClipScope>(proto.clip_scope());
  value.nesterov = proto.nesterov();
  ACCRUE_FROM_PROTO(slide_beta2);
  return value;
}

Noise FromProto(const v1::Noise& proto) {
  return Noise{
      .variance = proto.variance(),
      .mean_squared = proto.mean_squared(),
      .variation = proto.variation(),
      .variation_at_least = proto.variation_at_least(),
      .power_left = proto.power_left(),
      .noise_left = proto.noise_left(),
      .updates = proto.updates(),
  };
}

KChange FromProto(const v1::KChange& proto) {
  return KChange{
      .group = proto.group(),
      .from_k = proto.from_k(),
      .to_k = proto.to_k(),
      .variation = proto.variation(),
      .variation_at_least = proto.variation_at_least(),
      .updates = proto.updates(),
  };
}

GroupPosition FromProto(const v1::GroupPosition& proto) {
  return GroupPosition{
      .group = proto.group(),
      .updates = proto.updates(),
      .position = proto.position(),
      .k = proto.k(),
      .update_every = proto.update_every(),
      .learning_rate = proto.learning_rate(),
      .clip_norm_seen = proto.clip_norm_seen(),
      .noise = proto.has_noise()
                   ? std::optional<Noise>(FromProto(proto.noise()))
                   : std::nullopt,
  };
}

MemoryReport FromProto(const v1::MemoryReport& proto) {
  MemoryReport value;
  for (const v1::MemoryItem& item : proto.items()) {
    value.items.push_back({.tag = item.tag(),
                           .live_bytes = item.live_bytes(),
                           .peak_bytes = item.peak_bytes()});
  }
  value.accumulation_buffer_bytes = proto.accumulation_buffer_bytes();
  value.published_bytes = proto.published_bytes();
  value.publications = proto.publications();
  value.ceiling_bytes = proto.ceiling_bytes();
  return value;
}

Traffic FromProto(const v1::Traffic& proto) {
  return Traffic{.push_request_bytes = proto.push_request_bytes(),
                 .push_response_bytes = proto.push_response_bytes(),
                 .pull_request_bytes = proto.pull_request_bytes(),
                 .pull_response_bytes = proto.pull_response_bytes()};
}

ModelDescription::State FromProto(v1::Model::State state) {
  switch (state) {
    case v1::Model::STATE_UNINITIALIZED:
      return ModelDescription::State::kUninitialized;
    case v1::Model::STATE_READY:
      return ModelDescription::State::kReady;
    case v1::Model::STATE_POISONED:
      return ModelDescription::State::kPoisoned;
    case v1::Model::STATE_DAMAGED:
      return ModelDescription::State::kDamaged;
    case v1::Model::STATE_LEFT_OUT:
      return ModelDescription::State::kLeftOut;
    default:
      return ModelDescription::State::kUnknown;
  }
}

}  // namespace

v1::Hyperparameters ToProto(const Hyperparameters& value) {
  v1::Hyperparameters proto;
  ACCRUE_TO_PROTO(learning_rate);
  ACCRUE_TO_PROTO(beta1);
  ACCRUE_TO_PROTO(beta2);
  ACCRUE_TO_PROTO(epsilon);
  ACCRUE_TO_PROTO(dampening);
  ACCRUE_TO_PROTO(weight_decay);
  ACCRUE_TO_PROTO(clip_norm);
  ACCRUE_TO_PROTO(clip_push_norm);
  if (value.schedule.has_value()) {
    *proto.mutable_schedule() = ToProto(*value.schedule);
  }
  return proto;
}

v1::ModelSpec ToProto(const ModelSpec& value) {
  v1::ModelSpec proto;
  proto.set_name(value.name);
  for (const TensorSpec& tensor : value.tensors) {
    v1::TensorSpec& added = *proto.add_tensors();
    added.set_name(tensor.name);
    added.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
    added.set_group(tensor.group);
  }
  for (const GroupSpec& group : value.groups) {
    v1::GroupSpec& added = *proto.add_groups();
    added = ToProto(group);
    // Conventions differ (0 in PyTorch, the momentum in the article), so the
    // wire says which is meant.
    const Optimizer optimizer = value.optimizer.optimizer;
    if (optimizer == Optimizer::kSgd || optimizer == Optimizer::kSignum) {
      added.mutable_hyperparameters()->set_dampening(
          group.hyperparameters.dampening.value_or(kDefaultDampening));
    }
  }
  *proto.mutable_optimizer() = ToProto(value.optimizer);
  proto.set_max_staleness(value.max_staleness);
  proto.set_stale_policy(static_cast<v1::StalePolicy>(value.stale_policy));
  proto.set_max_pushes_per_worker(value.max_pushes_per_worker);
  if (value.cycle_timeout.has_value()) {
    *proto.mutable_cycle_timeout() = ToProto(*value.cycle_timeout);
  }
  ACCRUE_TO_PROTO(min_pushes);
  ACCRUE_TO_PROTO(nominal_weight);
  ACCRUE_TO_PROTO(max_publications);
  proto.set_durability(static_cast<v1::Durability>(value.durability));
  return proto;
}

ModelSpec FromProto(const v1::ModelSpec& proto) {
  ModelSpec value;
  value.name = proto.name();
  for (const v1::TensorSpec& tensor : proto.tensors()) {
    value.tensors.push_back(
        {.name = tensor.name(),
         .shape = {tensor.shape().begin(), tensor.shape().end()},
         .group = tensor.group()});
  }
  for (const v1::GroupSpec& group : proto.groups()) {
    value.groups.push_back(FromProto(group));
  }
  value.optimizer = FromProto(proto.optimizer());
  value.max_staleness = proto.max_staleness();
  value.stale_policy = static_cast<StalePolicy>(proto.stale_policy());
  value.max_pushes_per_worker = proto.max_pushes_per_worker();
  if (proto.has_cycle_timeout()) {
    value.cycle_timeout = ToDuration(proto.cycle_timeout());
  }
  ACCRUE_FROM_PROTO(min_pushes);
  ACCRUE_FROM_PROTO(nominal_weight);
  ACCRUE_FROM_PROTO(max_publications);
  value.durability = static_cast<Durability>(proto.durability());
  return value;
}

v1::Initializer ToProto(const Initializer& initializer) {
  v1::Initializer proto;
  proto.set_tensor(initializer.tensor);
  if (const auto* constant =
          std::get_if<Initializer::Constant>(&initializer.kind)) {
    proto.set_constant(constant->value);
  } else if (const auto* uniform =
                 std::get_if<Initializer::Uniform>(&initializer.kind)) {
    proto.mutable_uniform()->set_low(uniform->low);
    proto.mutable_uniform()->set_high(uniform->high);
  } else if (const auto* normal =
                 std::get_if<Initializer::Normal>(&initializer.kind)) {
    proto.mutable_normal()->set_mean(normal->mean);
    proto.mutable_normal()->set_stddev(normal->stddev);
  }
  return proto;
}

v1::Version ToProto(const Version& version) {
  v1::Version proto;
  proto.set_lineage(version.lineage);
  proto.set_number(version.number);
  return proto;
}

v1::Encoding ToProto(Encoding encoding) {
  return static_cast<v1::Encoding>(encoding);
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  proto.set_nanos(static_cast<int32_t>(
      absl::IDivDuration(duration, absl::Nanoseconds(1), &duration)));
  return proto;
}

CheckpointDescription FromProto(const v1::Checkpoint& proto) {
  CheckpointDescription value;
  value.name = proto.name();
  if (proto.has_version()) value.version = FromProto(proto.version());
  value.folded_pushes = proto.folded_pushes();
  value.create_time = ToTime(proto.create_time());
  value.size_bytes = proto.size_bytes();
  return value;
}

ModelDescription FromProto(const v1::Model& proto) {
  ModelDescription value;
  value.spec = FromProto(proto.spec());
  value.state = FromProto(proto.state());
  if (proto.has_version()) value.version = FromProto(proto.version());
  value.folded_pushes = proto.folded_pushes();
  for (const v1::GroupPosition& group : proto.groups()) {
    value.groups.push_back(FromProto(group));
  }
  value.memory = FromProto(proto.memory());
  value.missing_workers = Strings(proto.missing_workers());
  value.pushed_workers = Strings(proto.pushed_workers());
  value.short_cycles = proto.short_cycles();
  ACCRUE_FROM_PROTO(last_loss);
  value.parameter_count = proto.parameter_count();
  value.payload_bytes = proto.payload_bytes();
  value.poison_reason = proto.poison_reason();
  value.unavailable_reason = proto.unavailable_reason();
  value.received_bytes = proto.received_bytes();
  value.sent_bytes = proto.sent_bytes();
  value.traffic = FromProto(proto.traffic());
  for (const v1::KChange& change : proto.k_changes()) {
    value.k_changes.push_back(FromProto(change));
  }
  value.micro_steps = proto.micro_steps();
  value.devices = Strings(proto.devices());
  value.lost_pushes = proto.lost_pushes();
  value.restored_folded_pushes = proto.restored_folded_pushes();
  if (proto.has_checkpoint()) value.checkpoint = FromProto(proto.checkpoint());
  return value;
}

SessionDescription FromProto(const v1::Session& proto) {
  return SessionDescription{
      .worker = proto.worker(),
      .id_prefix = proto.id_prefix(),
      .last_sequence = proto.last_sequence(),
      .pushes_this_version = proto.pushes_this_version(),
      .last_active_time = ToTime(proto.last_active_time()),
  };
}

ServerInfo FromProto(const v1::GetServerInfoResponse& proto) {
  ServerInfo value;
  value.version = proto.version();
  value.devices = Strings(proto.devices());
  for (const v1::DeviceInfo& device : proto.device_infos()) {
    value.device_infos.push_back({.name = device.name(),
                                  .product = device.product(),
                                  .total_bytes = device.total_bytes(),
                                  .free_bytes = device.free_bytes(),
                                  .fault = device.fault()});
  }
  for (const int encoding : proto.encodings()) {
    value.encodings.push_back(static_cast<Encoding>(encoding));
  }
  for (const int encoding : proto.push_encodings()) {
    value.push_encodings.push_back(static_cast<Encoding>(encoding));
  }
  value.max_chunk_bytes = proto.max_chunk_bytes();
  value.ingest_memory_bytes = proto.ingest_memory_bytes();
  value.max_push_streams = proto.max_push_streams();
  value.max_sessions = proto.max_sessions();
  value.push_idle_timeout = ToDuration(proto.push_idle_timeout());
  value.draining = proto.draining();
  value.memory_ceiling_bytes = proto.memory_ceiling_bytes();
  value.ingest_reserved_bytes = proto.ingest_reserved_bytes();
  return value;
}

Version FromProto(const v1::Version& proto) {
  return Version{.lineage = proto.lineage(), .number = proto.number()};
}

Notice FromProto(const v1::WatchResponse& proto) {
  Notice value;
  value.version = FromProto(proto.version());
  value.changed_groups = Strings(proto.changed_groups());
  value.changed_bytes = proto.changed_bytes();
  value.folded_pushes = proto.folded_pushes();
  ACCRUE_FROM_PROTO(loss);
  value.missing_pushes = proto.missing_pushes();
  return value;
}

PushResult FromProto(const v1::PushResponse& proto) {
  PushResult value;
  value.accepted = true;
  value.version = FromProto(proto.version());
  value.published = proto.published();
  value.duplicate = proto.duplicate();
  value.folded_pushes = proto.folded_pushes();
  for (const v1::PushedGroup& group : proto.groups()) {
    value.groups.push_back({.updates = group.updates(),
                            .position = group.position(),
                            .k = group.k()});
  }
  return value;
}

#undef ACCRUE_TO_PROTO
#undef ACCRUE_FROM_PROTO

}  // namespace accrue::client::internal
