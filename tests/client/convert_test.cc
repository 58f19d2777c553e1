#include "client/cpp/src/convert.h"

#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "accrue/spec.h"
#include "accrue/v1/model.pb.h"

namespace accrue::client::internal {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Sets every field of a message, each to another value, so that a field that a
// conversion forgets or confuses is seen.
void Fill(Message* message, int* next) {
  const auto& descriptor = *message->GetDescriptor();
  const auto& reflection = *message->GetReflection();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    const int value = ++*next;
    const bool repeated = field->is_repeated();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT64:
        repeated ? reflection.AddInt64(message, field, value)
                 : reflection.SetInt64(message, field, value);
        break;
      case FieldDescriptor::CPPTYPE_INT32:
        reflection.SetInt32(message, field, value);
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        reflection.SetDouble(message, field, value);
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        reflection.SetBool(message, field, true);
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        repeated ? reflection.AddString(message, field, std::to_string(value))
                 : reflection.SetString(message, field, std::to_string(value));
        break;
      case FieldDescriptor::CPPTYPE_ENUM: {
        // The last one, which is no default.
        const auto& type = *field->enum_type();
        const int number = type.value(type.value_count() - 1)->number();
        repeated ? reflection.AddEnumValue(message, field, number)
                 : reflection.SetEnumValue(message, field, number);
        break;
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        Fill(repeated ? reflection.AddMessage(message, field)
                      : reflection.MutableMessage(message, field),
             next);
        break;
      default:
        FAIL() << "a type that no message had: " << field->full_name();
    }
  }
}

TEST(ConvertTest, ASpecSurvivesBothWays) {
  v1::ModelSpec proto;
  int next = 0;
  Fill(&proto, &next);
  const v1::ModelSpec back = ToProto(FromProto(proto));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(proto, back))
      << proto.DebugString() << back.DebugString();
}

TEST(ConvertTest, WhatIsUnsetStaysUnset) {
  // The enumerators of a real spec are always set.
  ModelSpec spec = {
      .name = "m", .tensors = {{.name = "t"}}, .groups = {{.name = "g"}}};
  const v1::ModelSpec proto = ToProto(spec);
  EXPECT_FALSE(proto.has_cycle_timeout());
  EXPECT_FALSE(proto.has_max_publications());
  EXPECT_FALSE(proto.groups(0).has_update_every());
  EXPECT_FALSE(proto.groups(0).hyperparameters().has_learning_rate());
  EXPECT_FALSE(proto.groups(0).hyperparameters().has_schedule());
  EXPECT_FALSE(proto.optimizer().has_slide_beta2());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(
      proto, ToProto(FromProto(proto))));
}

TEST(ConvertTest, SgdsDampeningIsAlwaysSaid) {
  ModelSpec spec = {
      .groups = {{.name = "g"},
                 {.name = "h", .hyperparameters = {.dampening = 0.5}}}};
  EXPECT_FALSE(ToProto(spec).groups(0).hyperparameters().has_dampening());
  for (const Optimizer optimizer : {Optimizer::kSgd, Optimizer::kSignum}) {
    spec.optimizer.optimizer = optimizer;
    const v1::ModelSpec proto = ToProto(spec);
    EXPECT_TRUE(proto.groups(0).hyperparameters().has_dampening());
    EXPECT_EQ(proto.groups(0).hyperparameters().dampening(), 0);
    EXPECT_EQ(proto.groups(1).hyperparameters().dampening(), 0.5);
  }
  // A change of something else does not touch it.
  EXPECT_FALSE(ToProto(Hyperparameters{.beta1 = 0.9}).has_dampening());
}

TEST(ConvertTest, ADescriptionHasEverythingThatWasSent) {
  v1::Model proto;
  int next = 0;
  Fill(&proto, &next);
  const ModelDescription value = FromProto(proto);
  EXPECT_EQ(value.spec.name, proto.spec().name());
  EXPECT_EQ(value.state, ModelDescription::State::kLeftOut);
  EXPECT_EQ(value.version->lineage, proto.version().lineage());
  EXPECT_EQ(value.version->number, proto.version().number());
  EXPECT_EQ(value.folded_pushes, proto.folded_pushes());
  ASSERT_EQ(value.groups.size(), 1);
  EXPECT_EQ(value.groups[0].group, proto.groups(0).group());
  EXPECT_EQ(value.groups[0].updates, proto.groups(0).updates());
  EXPECT_EQ(value.groups[0].position, proto.groups(0).position());
  EXPECT_EQ(value.groups[0].k, proto.groups(0).k());
  EXPECT_EQ(value.groups[0].update_every, proto.groups(0).update_every());
  EXPECT_EQ(value.groups[0].learning_rate, proto.groups(0).learning_rate());
  EXPECT_EQ(value.groups[0].clip_norm_seen, proto.groups(0).clip_norm_seen());
  ASSERT_EQ(value.memory.items.size(), 1);
  EXPECT_EQ(value.memory.items[0].tag, proto.memory().items(0).tag());
  EXPECT_EQ(value.memory.items[0].live_bytes,
            proto.memory().items(0).live_bytes());
  EXPECT_EQ(value.memory.items[0].peak_bytes,
            proto.memory().items(0).peak_bytes());
  EXPECT_EQ(value.memory.accumulation_buffer_bytes,
            proto.memory().accumulation_buffer_bytes());
  EXPECT_EQ(value.memory.published_bytes, proto.memory().published_bytes());
  EXPECT_EQ(value.memory.publications, proto.memory().publications());
  EXPECT_EQ(value.memory.ceiling_bytes, proto.memory().ceiling_bytes());
  EXPECT_EQ(value.missing_workers[0], proto.missing_workers(0));
  EXPECT_EQ(value.pushed_workers[0], proto.pushed_workers(0));
  EXPECT_EQ(value.short_cycles, proto.short_cycles());
  EXPECT_EQ(value.last_loss, proto.last_loss());
  EXPECT_EQ(value.parameter_count, proto.parameter_count());
  EXPECT_EQ(value.payload_bytes, proto.payload_bytes());
  EXPECT_EQ(value.poison_reason, proto.poison_reason());
  EXPECT_EQ(value.unavailable_reason, proto.unavailable_reason());
  EXPECT_EQ(value.received_bytes, proto.received_bytes());
  EXPECT_EQ(value.sent_bytes, proto.sent_bytes());
  EXPECT_EQ(value.traffic.push_request_bytes,
            proto.traffic().push_request_bytes());
  EXPECT_EQ(value.traffic.push_response_bytes,
            proto.traffic().push_response_bytes());
  EXPECT_EQ(value.traffic.pull_request_bytes,
            proto.traffic().pull_request_bytes());
  EXPECT_EQ(value.traffic.pull_response_bytes,
            proto.traffic().pull_response_bytes());
  EXPECT_EQ(value.micro_steps, proto.micro_steps());
  EXPECT_EQ(value.devices[0], proto.devices(0));
}

TEST(ConvertTest, ServerInfoAndNoticesAndSessionsToo) {
  v1::GetServerInfoResponse server;
  int next = 0;
  Fill(&server, &next);
  const ServerInfo info = FromProto(server);
  EXPECT_EQ(info.version, server.version());
  EXPECT_EQ(info.devices[0], server.devices(0));
  EXPECT_EQ(info.device_infos[0].name, server.device_infos(0).name());
  EXPECT_EQ(info.device_infos[0].product, server.device_infos(0).product());
  EXPECT_EQ(info.device_infos[0].total_bytes,
            server.device_infos(0).total_bytes());
  EXPECT_EQ(info.device_infos[0].free_bytes,
            server.device_infos(0).free_bytes());
  EXPECT_EQ(info.device_infos[0].fault, server.device_infos(0).fault());
  EXPECT_EQ(info.encodings[0], Encoding::kTopK);
  EXPECT_EQ(info.push_encodings[0], Encoding::kTopK);
  EXPECT_EQ(info.max_chunk_bytes, server.max_chunk_bytes());
  EXPECT_EQ(info.ingest_memory_bytes, server.ingest_memory_bytes());
  EXPECT_EQ(info.max_push_streams, server.max_push_streams());
  EXPECT_EQ(info.max_sessions, server.max_sessions());
  EXPECT_EQ(info.push_idle_timeout,
            absl::Seconds(server.push_idle_timeout().seconds()) +
                absl::Nanoseconds(server.push_idle_timeout().nanos()));
  EXPECT_TRUE(info.draining);
  EXPECT_EQ(info.memory_ceiling_bytes, server.memory_ceiling_bytes());
  EXPECT_EQ(info.ingest_reserved_bytes, server.ingest_reserved_bytes());

  v1::WatchResponse watch;
  Fill(&watch, &next);
  const Notice notice = FromProto(watch);
  EXPECT_EQ(notice.version.number, watch.version().number());
  EXPECT_EQ(notice.changed_groups[0], watch.changed_groups(0));
  EXPECT_EQ(notice.changed_bytes, watch.changed_bytes());
  EXPECT_EQ(notice.folded_pushes, watch.folded_pushes());
  EXPECT_EQ(notice.loss, watch.loss());
  EXPECT_EQ(notice.missing_pushes, watch.missing_pushes());

  v1::Session session;
  Fill(&session, &next);
  const SessionDescription described = FromProto(session);
  EXPECT_EQ(described.worker, session.worker());
  EXPECT_EQ(described.id_prefix, session.id_prefix());
  EXPECT_EQ(described.last_sequence, session.last_sequence());
  EXPECT_EQ(described.pushes_this_version, session.pushes_this_version());
}

TEST(ConvertTest, DurationsAreSplitAsTheWireWants) {
  for (const absl::Duration duration :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Seconds(1.5),
        absl::Hours(24), -absl::Seconds(1.5)}) {
    const google::protobuf::Duration proto = ToProto(duration);
    EXPECT_EQ(absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos()),
              duration);
    EXPECT_LT(std::abs(proto.nanos()), 1'000'000'000);
  }
}

TEST(SpecTest, EveryEnumeratorHasANameThatIsParsedBack) {
  EXPECT_EQ(Name(Optimizer::kAdamW), "adamw");
  EXPECT_EQ(Name(Optimizer::kSignum), "signum");
  EXPECT_EQ(Name(Optimizer::kLion), "lion");
  EXPECT_EQ(Name(Optimizer::kLamb), "lamb");
  EXPECT_EQ(Name(Decay::kPerCycle), "per_cycle");
  EXPECT_EQ(Name(Buffering::kEmbedded), "embedded");
  EXPECT_EQ(Name(Buffering::kGather), "gather");
  EXPECT_EQ(Name(SecondMoment::kAdamA), "adama");
  EXPECT_EQ(Name(SecondMoment::kCorrected), "corrected");
  EXPECT_EQ(Name(EpsilonPlace::kInside), "inside");
  EXPECT_EQ(Name(LearningRateScaling::kSqrt), "sqrt");
  EXPECT_EQ(Name(ClipScope::kModel), "model");
  EXPECT_EQ(Name(StalePolicy::kDampen), "dampen");
  EXPECT_EQ(Name(Encoding::kBf16), "bf16");
  EXPECT_EQ(Name(Schedule::Kind::kInverseSquareRoot), "inverse_square_root");
  EXPECT_EQ(Name(ModelDescription::State::kReady), "ready");
  EXPECT_EQ(Name(ModelDescription::State::kDamaged), "damaged");
  EXPECT_EQ(Name(ModelDescription::State::kLeftOut), "left_out");
  EXPECT_EQ(Name(Optimizer{99}), "unknown");
  EXPECT_EQ(ParseName<Optimizer>("sgd"), Optimizer::kSgd);
  EXPECT_EQ(ParseName<Decay>("sliding_exact"), Decay::kSlidingExact);
  EXPECT_EQ(ParseName<Schedule::Kind>("cosine"), Schedule::Kind::kCosine);
  EXPECT_EQ(ParseName<Optimizer>("SGD"), std::nullopt);
  EXPECT_EQ(ParseName<Optimizer>("unspecified"), std::nullopt);
}

TEST(SpecTest, ElementsAreCounted) {
  ModelSpec spec;
  EXPECT_EQ(ElementCount(spec), 0);
  spec.tensors = {{.name = "scalar"}, {.name = "w", .shape = {784, 10}}};
  EXPECT_EQ(ElementCount(spec), 7841);
}

TEST(ErrorTest, EveryReasonHasTheWiresName) {
  EXPECT_EQ(ReasonName(Reason::kNonFinite), "NON_FINITE");
  EXPECT_EQ(ReasonName(Reason::kUnspecified), "UNSPECIFIED");
  EXPECT_EQ(ReasonName(Reason{999}), "UNKNOWN");
  EXPECT_EQ(GetReason(absl::OkStatus()), Reason::kUnspecified);
  EXPECT_EQ(GetErrorDetail(absl::InternalError("x")), std::nullopt);
}

}  // namespace
}  // namespace accrue::client::internal
