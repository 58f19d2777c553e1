#include "server/service/convert.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "server/base/error.h"

namespace accrue {
namespace {

using testing::HasSubstr;

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

// Every field differs from its default.
v1::ModelSpec FullSpec() {
  return Parse<v1::ModelSpec>(R"pb(
    name: "mnist"
    tensors {
      name: "w"
      shape: [ 3, 4 ]
      group: "slow"
    }
    tensors { name: "b" group: "fast" }
    groups {
      name: "slow"
      k: 4
      update_every: 8
      adaptive_k { min_k: 2 max_k: 16 hysteresis: 0.5 }
      hyperparameters {
        learning_rate: 0.5
        beta1: 0.8
        beta2: 0.99
        epsilon: 1e-6
        weight_decay: 0.01
        clip_norm: 2
        clip_push_norm: 3
        schedule {
          kind: KIND_STEP
          warmup_updates: 10
          total_updates: 20
          step_updates: 30
          gamma: 0.5
          final_factor: 0.25
        }
      }
    }
    groups {
      name: "fast"
      k: 2
      hyperparameters { learning_rate: 0 }
    }
    optimizer {
      optimizer: OPTIMIZER_ADAMW
      decay: DECAY_SLIDING
      buffering: BUFFERING_EMBEDDED
      second_moment: SECOND_MOMENT_ADAMA
      epsilon_place: EPSILON_PLACE_INSIDE
      learning_rate_scaling: LEARNING_RATE_SCALING_SQRT
      clip_scope: CLIP_SCOPE_MODEL
      nesterov: true
      slide_beta2: false
    }
    max_staleness: -1
    stale_policy: STALE_POLICY_DAMPEN
    max_pushes_per_worker: 3
    cycle_timeout { seconds: 1 nanos: 500000000 }
    min_pushes: 2
    nominal_weight: 32
    max_publications: 7
    durability: DURABILITY_JOURNAL
  )pb");
}

// The least that can be said.
v1::ModelSpec ShortSpec(v1::Optimizer optimizer) {
  auto spec = Parse<v1::ModelSpec>(R"pb(
    name: "short"
    tensors { name: "w" }
    groups {
      name: "all"
      k: 1
      hyperparameters { learning_rate: 0.1 }
    }
    optimizer {
      decay: DECAY_PER_CYCLE
      buffering: BUFFERING_EMBEDDED
      second_moment: SECOND_MOMENT_ARTICLE
      epsilon_place: EPSILON_PLACE_OUTSIDE
      learning_rate_scaling: LEARNING_RATE_SCALING_CONSERVATIVE
      clip_scope: CLIP_SCOPE_GROUP
    }
    stale_policy: STALE_POLICY_REJECT
    durability: DURABILITY_MEMORY
  )pb");
  spec.mutable_optimizer()->set_optimizer(optimizer);
  return spec;
}

TEST(ConvertTest, EveryFieldOfASpecArrives) {
  const auto spec = FromApi(FullSpec());
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name, "mnist");
  ASSERT_EQ(spec->tensors.size(), 2U);
  EXPECT_EQ(spec->tensors[0], (TensorSpec{"w", {3, 4}, "slow"}));
  EXPECT_EQ(spec->tensors[1], (TensorSpec{"b", {}, "fast"}));
  ASSERT_EQ(spec->groups.size(), 2U);
  const rule::Hyperparameters hyper{
      .learning_rate = 0.5,
      .beta1 = 0.8,
      .beta2 = 0.99,
      .epsilon = 1e-6,
      .weight_decay = 0.01,
      .clip_norm = 2,
      .clip_push_norm = 3,
      .schedule = {.kind = rule::Schedule::Kind::kStep,
                   .warmup_updates = 10,
                   .total_updates = 20,
                   .step_updates = 30,
                   .gamma = 0.5,
                   .final_factor = 0.25}};
  EXPECT_EQ(spec->groups[0],
            (GroupSpec{"slow", 4, 8, hyper, rule::AdaptiveK{2, 16, 0.5}}));
  EXPECT_EQ(spec->groups[1].update_every, 0);
  EXPECT_EQ(spec->groups[1].hyper.learning_rate, 0);
  EXPECT_EQ(
      spec->optimizer,
      (OptimizerSpec{rule::Optimizer::kAdamW, rule::Decay::kSliding,
                     rule::Buffering::kEmbedded, rule::SecondMoment::kAdama,
                     rule::EpsilonPlace::kInside, rule::LrScaling::kSqrt,
                     rule::ClipScope::kModel, true, false}));
  EXPECT_EQ(spec->max_staleness, -1);
  EXPECT_EQ(spec->stale_policy, StalePolicy::kDampen);
  EXPECT_EQ(spec->durability, Durability::kJournal);
  EXPECT_EQ(spec->max_pushes_per_worker, 3);
  EXPECT_EQ(spec->cycle_timeout, absl::Milliseconds(1500));
  EXPECT_EQ(spec->min_pushes, 2);
  EXPECT_EQ(spec->nominal_weight, 32);
  EXPECT_EQ(spec->max_publications, 7);
}

TEST(ConvertTest, DefaultsAreThoseOfTheComments) {
  const auto adamw = FromApi(ShortSpec(v1::OPTIMIZER_ADAMW));
  ASSERT_TRUE(adamw.ok()) << adamw.status();
  const rule::Hyperparameters& hyper = adamw->groups[0].hyper;
  EXPECT_EQ(hyper.beta1, 0.9);
  EXPECT_EQ(hyper.beta2, 0.999);
  EXPECT_EQ(hyper.epsilon, 1e-8);
  EXPECT_EQ(hyper.weight_decay, 0);
  EXPECT_EQ(hyper.clip_norm, 0);
  EXPECT_EQ(hyper.clip_push_norm, 0);
  EXPECT_EQ(hyper.schedule, rule::Schedule());
  EXPECT_TRUE(adamw->optimizer.slide_beta2);
  EXPECT_EQ(adamw->cycle_timeout, absl::InfiniteDuration());
  EXPECT_EQ(adamw->min_pushes, 1);
  EXPECT_EQ(adamw->nominal_weight, 1);
  EXPECT_EQ(adamw->max_publications, 4);

  const auto sgd = FromApi(ShortSpec(v1::OPTIMIZER_SGD));
  ASSERT_TRUE(sgd.ok()) << sgd.status();
  EXPECT_EQ(sgd->groups[0].hyper.beta1, 0);  // no momentum
  EXPECT_EQ(sgd->groups[0].hyper.dampening, 0);

  const auto signum = FromApi(ShortSpec(v1::OPTIMIZER_SIGNUM));
  ASSERT_TRUE(signum.ok()) << signum.status();
  EXPECT_EQ(signum->groups[0].hyper.beta1, 0);
  EXPECT_EQ(signum->groups[0].hyper.dampening, 0);

  const auto lion = FromApi(ShortSpec(v1::OPTIMIZER_LION));
  ASSERT_TRUE(lion.ok()) << lion.status();
  EXPECT_EQ(lion->groups[0].hyper.beta1, 0.9);
  EXPECT_EQ(lion->groups[0].hyper.beta2, 0.99);
}

TEST(ConvertTest, ADescribedSpecCreatesTheSameModel) {
  for (const v1::ModelSpec& api :
       {FullSpec(), ShortSpec(v1::OPTIMIZER_SGD), ShortSpec(v1::OPTIMIZER_ADAM),
        ShortSpec(v1::OPTIMIZER_SIGNUM), ShortSpec(v1::OPTIMIZER_LION),
        ShortSpec(v1::OPTIMIZER_LAMB)}) {
    auto spec = FromApi(api);
    ASSERT_TRUE(spec.ok()) << spec.status();
    FillDefaults(*spec);
    auto again = FromApi(ToApi(*spec));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, *spec) << ToApi(*spec).DebugString();
  }
}

// Visits every enum field of a message and of those in it, set or not.
template <typename Visit>
void ForEachEnum(google::protobuf::Message& message, const Visit& visit) {
  const auto* reflection = message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const auto* field = message.GetDescriptor()->field(i);
    if (field->enum_type() != nullptr) visit(message, *field);
    if (field->message_type() == nullptr) continue;
    if (field->is_repeated()) {
      for (int j = 0; j < reflection->FieldSize(message, field); ++j) {
        ForEachEnum(*reflection->MutableRepeatedMessage(&message, field, j),
                    visit);
      }
    } else if (reflection->HasField(message, field)) {
      ForEachEnum(*reflection->MutableMessage(&message, field), visit);
    }
  }
}

TEST(ConvertTest, EveryUnspecifiedOrUnknownEnumIsRefusedByName) {
  v1::ModelSpec spec = FullSpec();
  int fields = 0;
  ForEachEnum(spec, [&](google::protobuf::Message& message,
                        const google::protobuf::FieldDescriptor& field) {
    ++fields;
    const auto* reflection = message.GetReflection();
    const int valid = reflection->GetEnumValue(message, &field);
    for (const int wrong : {0, 99}) {
      reflection->SetEnumValue(&message, &field, wrong);
      const absl::Status status = FromApi(spec).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(GetErrorInfo(status).reason, Reason::kInvalidSpec);
      EXPECT_THAT(std::string(status.message()), HasSubstr(field.name()));
      EXPECT_THAT(std::string(status.message()), HasSubstr("want one of"));
    }
    reflection->SetEnumValue(&message, &field, valid);
  });
  EXPECT_EQ(fields, 10);
  EXPECT_TRUE(FromApi(spec).ok());
}

TEST(ConvertTest, WhatOnlyTheApiCanTellIsCheckedHere) {
  v1::ModelSpec spec = FullSpec();
  spec.mutable_groups(1)->mutable_hyperparameters()->clear_learning_rate();
  EXPECT_THAT(std::string(FromApi(spec).status().message()),
              HasSubstr("spec.groups[1].hyperparameters.learning_rate"));
  spec = FullSpec();
  spec.mutable_groups(0)->set_update_every(0);
  EXPECT_THAT(std::string(FromApi(spec).status().message()),
              HasSubstr("spec.groups[0].update_every: 0"));
  spec = FullSpec();
  spec.mutable_cycle_timeout()->set_nanos(-5);
  EXPECT_THAT(std::string(FromApi(spec).status().message()),
              HasSubstr("spec.cycle_timeout"));
}

TEST(ConvertTest, MoreThanThereMayBeAreCountedNotRead) {
  const SpecLimits limits = {.max_tensors = 2, .max_groups = 2};
  // What is wrong with each of them is not looked at.
  v1::ModelSpec spec = FullSpec();
  while (spec.tensors_size() < 3) spec.add_tensors();
  EXPECT_EQ(FromApi(spec, limits).status().message(),
            "spec.tensors: 3, at most 2");
  EXPECT_EQ(GetErrorInfo(FromApi(spec, limits).status()).reason,
            Reason::kInvalidSpec);
  spec = FullSpec();
  while (spec.groups_size() < 3) spec.add_groups();
  EXPECT_EQ(FromApi(spec, limits).status().message(),
            "spec.groups: 3, at most 2");
  spec = FullSpec();
  while (spec.tensors(0).shape_size() < 9)
    spec.mutable_tensors(0)->add_shape(1);
  EXPECT_EQ(FromApi(spec, limits).status().message(),
            "spec.tensors[0].shape: 9, at most 8");

  v1::UpdateHyperparametersRequest updates;
  for (int i = 0; i < 3; ++i) {
    updates.add_updates()->mutable_hyperparameters()->mutable_schedule();
  }
  EXPECT_EQ(FromApi(updates, /*group_count=*/1).status().message(),
            "updates: 3, at most 2");
  v1::InitializeModelHeader header;
  while (header.initializers_size() <= SpecLimits().max_tensors) {
    header.add_initializers();
  }
  EXPECT_EQ(FromApi(header).status().message(),
            "initializers: 100001, want one a tensor, at most 100000");
}

TEST(ConvertTest, AnUpdateReplacesOnlyWhatIsSet) {
  const auto updates =
      FromApi(Parse<v1::UpdateHyperparametersRequest>(R"pb(
                updates {
                  group: "slow"
                  hyperparameters { learning_rate: 0.25 beta1: 0 }
                }
                updates { hyperparameters { schedule { kind: KIND_CONSTANT } } }
              )pb"),
              /*group_count=*/2);
  ASSERT_TRUE(updates.ok()) << updates.status();
  ASSERT_EQ(updates->size(), 2U);
  rule::Hyperparameters hyper = FromApi(FullSpec())->groups[0].hyper;
  rule::Hyperparameters expected = hyper;
  EXPECT_EQ((*updates)[0].group, "slow");
  (*updates)[0].change(hyper);
  expected.learning_rate = 0.25;
  expected.beta1 = 0;
  EXPECT_EQ(hyper, expected);
  EXPECT_EQ((*updates)[1].group, "");
  (*updates)[1].change(hyper);
  expected.schedule = rule::Schedule();
  EXPECT_EQ(hyper, expected);
}

TEST(ConvertTest, AnUpdateWithAnUnspecifiedScheduleIsRefused) {
  const absl::Status status =
      FromApi(Parse<v1::UpdateHyperparametersRequest>(
                  "updates { hyperparameters { schedule {} } }"),
              /*group_count=*/1)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("updates[0].hyperparameters.schedule.kind"));
}

TEST(ConvertTest, APushHeaderArrives) {
  const auto header = FromApi(Parse<v1::PushHeader>(R"pb(
    model: "mnist"
    session_id: "s"
    sequence: 3
    version { lineage: "l" number: 9 }
    encoding: ENCODING_BF16
    payload_bytes: 8
    micro_steps: 2
    weight: 1.5
    scale: 1024
    loss: 0.5
    checksum: 77
  )pb"));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->model, "mnist");
  EXPECT_EQ(header->session_id, "s");
  EXPECT_EQ(header->sequence, 3);
  EXPECT_EQ(header->version, (Version{"l", 9}));
  EXPECT_EQ(header->encoding, kernels::Encoding::kBf16);
  EXPECT_EQ(header->payload_bytes, 8);
  EXPECT_EQ(header->micro_steps, 2);
  EXPECT_EQ(header->weight, 1.5);
  EXPECT_EQ(header->scale, 1024);
  EXPECT_EQ(header->loss, 0.5);
  EXPECT_EQ(header->checksum, 77U);
}

TEST(ConvertTest, WhatAPushHeaderLeavesOutHasItsDefault) {
  const auto header = FromApi(
      Parse<v1::PushHeader>("version { lineage: 'l' } encoding: ENCODING_F32"));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->micro_steps, 1);
  EXPECT_EQ(header->scale, 1);
  EXPECT_FALSE(header->weight.has_value());
  EXPECT_FALSE(header->loss.has_value());
  EXPECT_FALSE(header->checksum.has_value());
}

TEST(ConvertTest, APushHeaderNeedsVersionAndEncoding) {
  EXPECT_THAT(
      std::string(FromApi(Parse<v1::PushHeader>("encoding: ENCODING_F32"))
                      .status()
                      .message()),
      HasSubstr("version: unset"));
  EXPECT_THAT(
      std::string(
          FromApi(Parse<v1::PushHeader>("version {}")).status().message()),
      HasSubstr("encoding: ENCODING_UNSPECIFIED, want one of"));
}

TEST(ConvertTest, InitializersArrive) {
  const auto header = FromApi(Parse<v1::InitializeModelHeader>(R"pb(
    model: "mnist"
    seed: 5
    initializers { tensor: "a" constant: 0.5 }
    initializers {
      tensor: "b"
      uniform { low: -1 high: 2 }
    }
    initializers {
      tensor: "c"
      normal { mean: 3 stddev: 4 }
    }
  )pb"));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_FALSE(header->encoding.has_value());
  EXPECT_EQ(header->seed, 5);
  ASSERT_EQ(header->initializers.size(), 3U);
  EXPECT_EQ(header->initializers[0].a, 0.5);
  EXPECT_EQ(header->initializers[1].kind, Initializer::Kind::kUniform);
  EXPECT_EQ(header->initializers[1].a, -1);
  EXPECT_EQ(header->initializers[1].b, 2);
  EXPECT_EQ(header->initializers[2].kind, Initializer::Kind::kNormal);
  EXPECT_EQ(header->initializers[2].b, 4);
  EXPECT_THAT(std::string(FromApi(Parse<v1::InitializeModelHeader>(
                                      "initializers { tensor: 'x' }"))
                              .status()
                              .message()),
              HasSubstr("tensor \"x\": no kind"));
}

TEST(ConvertTest, DurationsKeepTheirNanosecondsAndSign) {
  for (const absl::Duration duration :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Seconds(-3),
        absl::Seconds(2) + absl::Nanoseconds(999'999'999),
        -absl::Milliseconds(1500), absl::Hours(24 * 365)}) {
    const auto back = FromApi(ToApi(duration), "field");
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, duration);
  }
}

TEST(ConvertTest, ASessionShowsOnlyTheBeginningOfItsId) {
  SessionDescription session;
  session.worker = "w";
  session.id = "00112233445566778899aabbccddeeff";
  session.last_active = absl::FromUnixMillis(1'500);
  const v1::Session api = ToApi(session);
  EXPECT_EQ(api.id_prefix(), "00112233");
  EXPECT_EQ(api.last_active_time().seconds(), 1);
  EXPECT_EQ(api.last_active_time().nanos(), 500'000'000);
}

}  // namespace
}  // namespace accrue
