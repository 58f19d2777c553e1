#include "server/service/convert.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/service/api_enum.h"

namespace accrue {
namespace {

// What an operator sees of a session's id: enough to tell sessions apart, not
// enough to take one over.
constexpr size_t kIdPrefix = 8;

constexpr EnumRow<v1::Encoding, kernels::Encoding> kEncodings[] = {
    {v1::ENCODING_F32, kernels::Encoding::kF32},
    {v1::ENCODING_BF16, kernels::Encoding::kBf16},
    {v1::ENCODING_F16, kernels::Encoding::kF16},
    {v1::ENCODING_INT8, kernels::Encoding::kInt8},
    {v1::ENCODING_TOPK, kernels::Encoding::kTopK},
};
constexpr EnumRow<v1::Model::State, ModelState> kStates[] = {
    {v1::Model::STATE_UNINITIALIZED, ModelState::kUninitialized},
    {v1::Model::STATE_READY, ModelState::kReady},
    {v1::Model::STATE_POISONED, ModelState::kPoisoned},
};

absl::Status Invalid(absl::string_view message) {
  return absl::InvalidArgumentError(message);
}

// A path in it may be any bytes, but a field that is not UTF-8 makes a whole
// message unreadable.
std::string Ascii(absl::string_view text) {
  std::string ascii;
  for (const char c : text) {
    if (absl::ascii_isascii(static_cast<unsigned char>(c))) {
      ascii.push_back(c);
    } else {
      absl::StrAppend(
          &ascii, "\\x",
          absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    }
  }
  return ascii;
}

absl::StatusOr<Initializer> InitializerFromApi(const v1::Initializer& api) {
  Initializer initializer;
  initializer.tensor = api.tensor();
  switch (api.kind_case()) {
    case v1::Initializer::kConstant:
      initializer.kind = Initializer::Kind::kConstant;
      initializer.a = api.constant();
      return initializer;
    case v1::Initializer::kUniform:
      initializer.kind = Initializer::Kind::kUniform;
      initializer.a = api.uniform().low();
      initializer.b = api.uniform().high();
      return initializer;
    case v1::Initializer::kNormal:
      initializer.kind = Initializer::Kind::kNormal;
      initializer.a = api.normal().mean();
      initializer.b = api.normal().stddev();
      return initializer;
    case v1::Initializer::KIND_NOT_SET:
      break;
  }
  return Invalid(absl::StrCat("initializer of tensor \"", api.tensor(),
                              "\": no kind, want constant, uniform or normal"));
}

v1::Noise ToApi(const NoiseReading& reading, int64_t k) {
  v1::Noise api;
  const rule::NoiseEstimate& estimate = reading.estimate;
  api.set_variance(estimate.variance);
  api.set_mean_squared(estimate.mean_squared);
  api.set_variation(reading.variation.value);
  api.set_variation_at_least(reading.variation.at_least);
  api.set_power_left(rule::PowerLeft(estimate, k));
  api.set_noise_left(estimate.noise_left);
  api.set_updates(reading.updates);
  return api;
}

v1::KChange ToApi(const rule::KChange& change, const ModelSpec& spec) {
  v1::KChange api;
  api.set_group(spec.groups[static_cast<size_t>(change.group)].name);
  api.set_from_k(change.from);
  api.set_to_k(change.to);
  api.set_variation(change.variation.value);
  api.set_variation_at_least(change.variation.at_least);
  api.set_updates(change.updates);
  return api;
}

v1::GroupPosition ToApi(const GroupDescription& group) {
  v1::GroupPosition api;
  api.set_group(group.name);
  api.set_updates(group.updates);
  api.set_position(group.position);
  api.set_k(group.k);
  api.set_update_every(group.update_every);
  api.set_learning_rate(group.learning_rate);
  api.set_clip_norm_seen(group.clip_norm_seen);
  if (group.noise) *api.mutable_noise() = ToApi(*group.noise, group.k);
  return api;
}

v1::Traffic ToApi(const Traffic& traffic) {
  v1::Traffic api;
  api.set_push_request_bytes(traffic.push_request_bytes);
  api.set_push_response_bytes(traffic.push_response_bytes);
  api.set_pull_request_bytes(traffic.pull_request_bytes);
  api.set_pull_response_bytes(traffic.pull_response_bytes);
  return api;
}

v1::MemoryReport MemoryToApi(const ModelDescription& model,
                             int64_t ceiling_bytes) {
  v1::MemoryReport api;
  for (const MemoryLedger::Row& row : model.memory) {
    if (row.peak_bytes == 0) continue;
    v1::MemoryItem& item = *api.add_items();
    const absl::string_view tag = MemoryTagName(row.tag);
    item.set_tag(tag.data(), tag.size());
    item.set_live_bytes(row.live_bytes);
    item.set_peak_bytes(row.peak_bytes);
  }
  api.set_accumulation_buffer_bytes(model.accumulation_buffer_bytes);
  api.set_published_bytes(model.published_bytes);
  api.set_publications(model.publications);
  api.set_ceiling_bytes(ceiling_bytes);
  return api;
}

google::protobuf::Timestamp TimeToApi(int64_t unix_nanos) {
  google::protobuf::Timestamp api;
  api.set_seconds(unix_nanos / 1'000'000'000);
  api.set_nanos(static_cast<int32_t>(unix_nanos % 1'000'000'000));
  return api;
}

}  // namespace

absl::StatusOr<kernels::Encoding> FromApi(v1::Encoding api) {
  for (const auto& row : kEncodings) {
    if (row.api == api) return row.ours;
  }
  return Invalid(
      absl::StrCat("encoding: ", ApiEnumName(api),
                   ", want one of ENCODING_F32, ENCODING_BF16, ENCODING_F16, "
                   "ENCODING_INT8, ENCODING_TOPK"));
}

absl::StatusOr<kernels::Encoding> ParameterEncoding(v1::Encoding api) {
  const auto encoding = FromApi(api);
  if (encoding.ok() && kernels::IsPlain(*encoding)) return encoding;
  return Invalid(absl::StrCat("encoding: ", ApiEnumName(api),
                              ", want one of ENCODING_F32, ENCODING_BF16, "
                              "ENCODING_F16 for parameters"));
}

v1::Encoding ToApi(kernels::Encoding encoding) {
  return ToApi(kEncodings, encoding);
}

absl::StatusOr<absl::Duration> FromApi(const google::protobuf::Duration& api,
                                       const std::string& field) {
  const bool signs_differ = (api.seconds() < 0 && api.nanos() > 0) ||
                            (api.seconds() > 0 && api.nanos() < 0);
  if (api.nanos() <= -1'000'000'000 || api.nanos() >= 1'000'000'000 ||
      signs_differ) {
    return Invalid(absl::StrCat(field, ": ", api.seconds(), " s and ",
                                api.nanos(), " ns are no duration"));
  }
  return absl::Seconds(api.seconds()) + absl::Nanoseconds(api.nanos());
}

google::protobuf::Duration ToApi(absl::Duration duration) {
  google::protobuf::Duration api;
  absl::Duration rest;
  api.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  api.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return api;
}

Version FromApi(const v1::Version& api) {
  return {.lineage = api.lineage(), .number = api.number()};
}

v1::Version ToApi(const Version& version) {
  v1::Version api;
  api.set_lineage(version.lineage);
  api.set_number(version.number);
  return api;
}

absl::StatusOr<PushHeader> FromApi(const v1::PushHeader& api) {
  PushHeader header;
  header.model = api.model();
  header.session_id = api.session_id();
  header.sequence = api.sequence();
  if (!api.has_version()) {
    return Invalid(
        "version: unset, want the version that the gradient was computed from");
  }
  header.version = FromApi(api.version());
  ACCRUE_ASSIGN_OR_RETURN(header.encoding, FromApi(api.encoding()));
  header.payload_bytes = api.payload_bytes();
  if (api.has_micro_steps()) header.micro_steps = api.micro_steps();
  if (api.has_weight()) header.weight = api.weight();
  if (api.has_scale()) header.scale = api.scale();
  if (api.has_loss()) header.loss = api.loss();
  if (api.has_checksum()) header.checksum = api.checksum();
  return header;
}

absl::StatusOr<InitializeHeader> FromApi(const v1::InitializeModelHeader& api) {
  InitializeHeader header;
  header.model = api.model();
  if (api.encoding() != v1::ENCODING_UNSPECIFIED) {
    ACCRUE_ASSIGN_OR_RETURN(header.encoding, ParameterEncoding(api.encoding()));
  }
  header.payload_bytes = api.payload_bytes();
  if (api.initializers_size() > SpecLimits().max_tensors) {
    return Invalid(absl::StrCat("initializers: ", api.initializers_size(),
                                ", want one a tensor, at most ",
                                SpecLimits().max_tensors));
  }
  for (const v1::Initializer& initializer : api.initializers()) {
    ACCRUE_ASSIGN_OR_RETURN(Initializer converted,
                            InitializerFromApi(initializer));
    header.initializers.push_back(std::move(converted));
  }
  if (!api.safetensors_file().empty() &&
      (header.encoding.has_value() || !header.initializers.empty())) {
    return Invalid("both a safetensors_file and values or initializers");
  }
  header.seed = api.seed();
  header.restore = api.restore();
  return header;
}

v1::PushResponse ToApi(const PushOutcome& outcome) {
  v1::PushResponse api;
  api.set_folded_pushes(outcome.folded_pushes);
  *api.mutable_version() = ToApi(outcome.version);
  api.set_published(outcome.published);
  api.set_duplicate(outcome.duplicate);
  for (const GroupProgress& group : outcome.groups) {
    v1::PushedGroup& pushed = *api.add_groups();
    pushed.set_updates(group.updates);
    pushed.set_position(group.position);
    pushed.set_k(group.k);
  }
  return api;
}

v1::OpenSessionResponse ToApi(const OpenedSession& session) {
  v1::OpenSessionResponse api;
  api.set_session_id(session.id);
  api.set_last_sequence(session.last_sequence);
  if (session.last_outcome) {
    *api.mutable_last_response() = ToApi(*session.last_outcome);
  }
  if (session.version) *api.mutable_version() = ToApi(*session.version);
  return api;
}

v1::EndCycleResponse ToApi(const EndedCycle& ended) {
  v1::EndCycleResponse api;
  *api.mutable_version() = ToApi(ended.version);
  for (const std::string& group : ended.closed_groups) {
    api.add_closed_groups(group);
  }
  for (const int64_t missing : ended.missing_pushes) {
    api.add_missing_pushes(missing);
  }
  return api;
}

v1::Session ToApi(const SessionDescription& session) {
  v1::Session api;
  api.set_worker(session.worker);
  api.set_id_prefix(session.id.substr(0, kIdPrefix));
  api.set_last_sequence(session.last_sequence);
  api.set_pushes_this_version(session.pushes_this_version);
  *api.mutable_last_active_time() =
      TimeToApi(absl::ToUnixNanos(session.last_active));
  return api;
}

v1::Checkpoint ToApi(const CheckpointInfo& checkpoint) {
  v1::Checkpoint api;
  api.set_name(checkpoint.name);
  if (checkpoint.version) *api.mutable_version() = ToApi(*checkpoint.version);
  api.set_folded_pushes(checkpoint.folded_pushes);
  *api.mutable_create_time() = TimeToApi(checkpoint.made_at_unix_nanos);
  api.set_size_bytes(checkpoint.size_bytes);
  return api;
}

v1::Model ToApi(const ModelDescription& model, int64_t ceiling_bytes) {
  v1::Model api;
  *api.mutable_spec() = ToApi(model.spec);
  api.set_state(ToApi(kStates, model.state));
  if (model.version) *api.mutable_version() = ToApi(*model.version);
  api.set_folded_pushes(model.folded_pushes);
  for (const GroupDescription& group : model.groups) {
    *api.add_groups() = ToApi(group);
  }
  *api.mutable_memory() = MemoryToApi(model, ceiling_bytes);
  for (const std::string& worker : model.missing_workers) {
    api.add_missing_workers(worker);
  }
  for (const std::string& worker : model.pushed_workers) {
    api.add_pushed_workers(worker);
  }
  api.set_short_cycles(model.short_cycles);
  if (model.last_loss) api.set_last_loss(*model.last_loss);
  api.set_parameter_count(model.parameter_count);
  api.set_payload_bytes(model.parameter_count *
                        kernels::EncodedBytes(kernels::Encoding::kF32));
  api.set_poison_reason(model.poison_reason);
  api.set_received_bytes(model.received_bytes);
  api.set_sent_bytes(model.sent_bytes);
  *api.mutable_traffic() = ToApi(model.traffic);
  for (const rule::KChange& change : model.k_changes) {
    *api.add_k_changes() = ToApi(change, model.spec);
  }
  api.set_micro_steps(model.micro_steps);
  for (const std::string& device : model.devices) api.add_devices(device);
  api.set_lost_pushes(model.lost_pushes);
  api.set_restored_folded_pushes(model.restored_folded_pushes);
  return api;
}

v1::Model UnavailableModel(const std::string& name, const absl::Status& why) {
  v1::Model api;
  api.mutable_spec()->set_name(name);
  api.set_state(absl::IsDataLoss(why) ? v1::Model::STATE_DAMAGED
                                      : v1::Model::STATE_LEFT_OUT);
  api.set_unavailable_reason(Ascii(why.message()));
  return api;
}

v1::WatchResponse ToApi(const Publication::Facts& facts,
                        const ModelSpec& spec) {
  v1::WatchResponse api;
  *api.mutable_version() = ToApi(facts.version);
  for (const int32_t group : facts.changed_groups) {
    api.add_changed_groups(spec.groups[static_cast<size_t>(group)].name);
  }
  api.set_changed_bytes(facts.changed_bytes);
  api.set_folded_pushes(facts.folded_pushes);
  if (facts.loss) api.set_loss(*facts.loss);
  api.set_missing_pushes(facts.missing_pushes);
  return api;
}

}  // namespace accrue
