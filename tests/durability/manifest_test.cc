#include "server/durability/manifest.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/durability/json_fields.h"
#include "server/durability/state_check.h"
#include "tests/durability/sample_model.h"
#include "tests/durability/samples.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

// Of a gathering model of ten elements, two pushes held.
Manifest SampleManifest() {
  const SampleModel model(GatheringSpec());
  Manifest manifest;
  manifest.instance = kSampleInstance;
  manifest.lsn = 3;
  manifest.made_at_unix_nanos = 1;
  manifest.spec = model.spec();
  manifest.state = model.Captured().state;
  manifest.files = {
      {kParametersFile, 4096 + 40, 4096, 7, {{StateArray::kParameters, {8}}}},
      {kStateFile,
       4096 + 80,
       4096,
       9,
       {{StateArray::kMomentum, {10}}, {StateArray::kVariance, {11}}}}};
  manifest.held_hashes = {12, 13};
  return manifest;
}

absl::StatusOr<Manifest> ReadBack(const Manifest& manifest) {
  const auto text = WriteManifest(manifest);
  EXPECT_TRUE(text.ok()) << text.status();
  return ParseManifest(*text);
}

TEST(ManifestTest, WhatWasWrittenIsReadBack) {
  const auto read = ReadBack(SampleManifest());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ToJson(*read), ToJson(SampleManifest()));
}

TEST(ManifestTest, ItIsJsonToOthers) {
  const Json json = Json::parse(*WriteManifest(SampleManifest()), nullptr,
                                /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["spec"]["optimizer"]["optimizer"], "lamb");
  EXPECT_EQ(json["files"][1]["arrays"][1]["piece_hashes"][0],
            "000000000000000b");
}

TEST(ManifestTest, WhatDoesNotFitTogetherIsRefused) {
  struct Case {
    std::function<void(Manifest&)> change;
    const char* message;
  };
  using M = Manifest;
  const Case cases[] = {
      {[](M& m) { m.instance = "x"; }, "instance"},
      {[](M& m) { m.lsn = -1; }, "lsn"},
      {[](M& m) { m.spec.tensors[0].shape = {-1}; }, "extent -1"},
      {[](M& m) { m.spec.name = "../up"; }, "name: want"},
      {[](M& m) { m.files[0].name = "../secret"; }, "unknown file"},
      {[](M& m) { m.files[1].name = kParametersFile; }, "wrong file"},
      {[](M& m) { m.files[1].arrays[1].array = StateArray::kMomentum; },
       "or twice"},
      {[](M& m) { m.files[1].arrays[0].piece_hashes.push_back(1); },
       "2 pieces of an array, want 1"},
      {[](M& m) { m.files[1].arrays[0].piece_hashes.clear(); }, "0 pieces"},
      {[](M& m) { m.files[1].size_bytes += 1; }, "sizes of state"},
      {[](M& m) { m.files[1].size_bytes = INT64_MIN; }, "sizes of state"},
      {[](M& m) { m.files[1].header_bytes = 0; }, "sizes of state"},
      {[](M& m) { m.files[1].arrays.clear(); }, "sizes of state"},
      {[](M& m) { m.files.erase(m.files.begin()); }, "without parameters"},
      {[](M& m) { m.held_hashes.pop_back(); }, "1 hashes of payloads"},
  };
  for (const Case& c : cases) {
    Manifest manifest = SampleManifest();
    c.change(manifest);
    const absl::Status status = ReadBack(manifest).status();
    EXPECT_EQ(GetErrorInfo(status).reason, Reason::kDamaged) << c.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST(ManifestTest, AStateThatDoesNotFitItsSpecIsRefused) {
  struct Case {
    std::function<void(TrainingState&)> change;
    const char* message;
  };
  using S = TrainingState;
  const Case cases[] = {
      {[](S& s) { s.groups.pop_back(); }, "1 groups: want 2"},
      {[](S& s) { s.version->lineage = "x"; }, "version: want"},
      {[](S& s) { s.version->number = -1; }, "version: want"},
      {[](S& s) { s.groups[1].k = 0; }, "group \"bias\": k, update_every"},
      {[](S& s) { s.groups[0].hyper.beta1 = 2; }, "beta1"},
      {[](S& s) { s.groups[0].cycle.active.beta2 = NAN; }, "beta2"},
      {[](S& s) { s.groups[1].cycle.position = 4; },
       "group \"bias\": position 4: want 0 to 3"},
      {[](S& s) { s.groups[1].cycle.position = -1; }, "position -1"},
      {[](S& s) { s.groups[0].cycle.mass1 = INFINITY; }, "mass1"},
      {[](S& s) { s.groups[0].cycle.since_update = 0; }, "since_update"},
      {[](S& s) { s.groups[0].cycle.since_update = 2; }, "since_update"},
      {[](S& s) { s.groups[0].cycle.micro_steps = 0; }, "fit position 1"},
      {[](S& s) { s.groups[0].cycle.position = 0; }, "fit position 0"},
      {[](S& s) { s.groups[0].cycle.updates = INT64_MAX; }, "updates"},
      {[](S& s) { s.groups[0].k = 4; }, "they are not adaptive"},
      {[](S& s) { s.groups[0].looks_ahead = true; }, "looks ahead: want"},
      {[](S& s) { s.groups[0].version = 0; }, "version 0"},
      {[](S& s) { s.version.reset(); }, "version"},
      {[](S& s) { s.window_pushes = 2; }, "folded_pushes"},
      {[](S& s) { s.received_bytes = INT64_MAX; }, "folded_pushes"},
      {[](S& s) { s.sessions[1].last_outcome.reset(); }, "outcome"},
      {[](S& s) { s.sessions[1].last_outcome->groups.pop_back(); }, "outcomes"},
      {[](S& s) { s.sessions[1].last_sequence = INT64_MAX; }, "sequences"},
      {[](S& s) { s.held[1].facts.micro_steps = 2; }, "same micro_steps"},
      {[](S& s) { s.groups[0].gather_begin = 2; }, "held: 0 of an open"},
      {[](S& s) { s.groups[1].gather_begin = 1; }, "held: 1 of an open"},
      {[](S& s) { s.held[1].facts.gain_factor = 2; }, "held: facts"},
      {[](S& s) { s.groups[0].cycle.weight_sum = -1; }, "weight_sum"},
      {[](S& s) { s.groups[0].cycle.noise.cycle.power = NAN; }, "noise"},
      {[](S& s) { s.groups[0].version = 5; }, "version 5: want 0 to 4"},
      {[](S& s) { s.groups[0].gather_begin = 3; }, "gather_begin 3"},
      {[](S& s) { s.sessions[1].worker = "aaa"; }, "names, ascending"},
      {[](S& s) { s.sessions[1].worker = "ann"; }, "names, ascending"},
      {[](S& s) { s.sessions[0].worker = ""; }, "names, ascending"},
      {[](S& s) { s.sessions[1].id = s.sessions[0].id; }, "each once"},
      {[](S& s) { s.fenced_sessions[1] = s.sessions[0].id; }, "fenced"},
      {[](S& s) { s.fenced_sessions[1] = "x"; }, "fenced"},
      {[](S& s) { s.sessions[0].id = "G" + s.sessions[0].id.substr(1); },
       "ids of 32"},
      {[](S& s) { s.sessions[0].last_sequence = -1; }, "sequences"},
      {[](S& s) { s.pushes_this_version["bob"] = -1; }, "counts of workers"},
      {[](S& s) { s.held[0].payload_bytes = 39; }, "payload_bytes 39"},
      {[](S& s) { s.held[0].payload_bytes = -40; }, "payload_bytes -40"},
      {[](S& s) { s.held[1].facts.weight = 0; }, "held: facts"},
      {[](S& s) { s.held[1].facts.scale = 0; }, "held: facts"},
      {[](S& s) { s.held[1].group_square_sums = {1}; }, "group_square_sums"},
      {[](S& s) { s.folded_pushes = 0; }, "folded_pushes"},
      {[](S& s) { s.micro_steps = 0; }, "folded_pushes"},
      {[](S& s) { s.recent_micro_steps[-1] = 1; }, "recent_micro_steps"},
      {[](S& s) { s.k_changes[0].group = 2; }, "k_changes"},
  };
  for (const Case& c : cases) {
    Manifest manifest = SampleManifest();
    c.change(manifest.state);
    EXPECT_THAT(std::string(ReadBack(manifest).status().message()),
                HasSubstr(c.message));
  }
}

// Its end would be the mean of nothing.
TEST(ManifestTest, AnOpenCycleThatGathersHoldsItsPushes) {
  Manifest manifest = SampleManifest();
  manifest.held_hashes.clear();
  manifest.state.held.clear();
  for (GroupState& group : manifest.state.groups) group.gather_begin = 0;
  EXPECT_THAT(std::string(ReadBack(manifest).status().message()),
              HasSubstr("held: 0 of an open cycle"));
}

TEST(ManifestTest, WhatAnUpdateDividesByIsThere) {
  TrainingState state = SampleState();
  ASSERT_EQ(CheckState(state, SampleSpec()), absl::OkStatus());
  state.groups[0].cycle.mass2 = 0;
  EXPECT_THAT(std::string(CheckState(state, SampleSpec()).message()),
              HasSubstr("mass1, mass2: want those"));

  ModelSpec classic = GatheringSpec();
  classic.optimizer.buffering = rule::Buffering::kClassic;
  state = SampleState();
  for (GroupState& group : state.groups) group.cycle.weight_sum = 1.5;
  ASSERT_EQ(CheckState(state, classic), absl::OkStatus());
  state.groups[1].cycle.weight_sum = 0;
  EXPECT_THAT(std::string(CheckState(state, classic).message()),
              HasSubstr("weight_sum: want that"));
}

TEST(ManifestTest, WhatIsHalfWayIsStored) {
  ModelSpec spec = GatheringSpec();
  spec.optimizer = {.optimizer = rule::Optimizer::kSgd, .nesterov = true};
  for (GroupSpec& group : spec.groups) group.hyper.clip_norm = 0;
  TrainingState state = SampleState();
  for (GroupState& group : state.groups) {
    for (rule::Hyperparameters* hyper : {&group.hyper, &group.cycle.active}) {
      hyper->clip_norm = 0;
    }
  }
  EXPECT_THAT(std::string(CheckState(state, spec).message()),
              HasSubstr("looks ahead: want just where"));
  for (GroupState& group : state.groups) group.looks_ahead = true;
  EXPECT_EQ(CheckState(state, spec), absl::OkStatus());

  Manifest manifest = SampleManifest();
  manifest.spec = spec;
  manifest.state = state;
  manifest.held_hashes.clear();
  EXPECT_THAT(std::string(ReadBack(manifest).status().message()),
              HasSubstr("looks ahead, but the array is missing"));
}

TEST(ManifestTest, WhatWorkersSayMayBeNoNumber) {
  Manifest manifest = SampleManifest();
  manifest.state.loss_sum = NAN;
  manifest.state.last_loss = INFINITY;
  manifest.state.groups[0].clip_norm = INFINITY;
  const auto read = ReadBack(manifest);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(std::isnan(read->state.loss_sum));
}

TEST(ManifestTest, AModelThatHoldsNoPushesHasNone) {
  Manifest manifest = SampleManifest();
  manifest.spec = SampleSpec();
  EXPECT_THAT(std::string(ReadBack(manifest).status().message()),
              HasSubstr("held: want none"));
}

TEST(ManifestTest, AnotherFormatIsNotDamage) {
  Manifest manifest = SampleManifest();
  manifest.format = 2;
  EXPECT_EQ(ReadBack(manifest).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ManifestTest, EveryFlippedBitAndEveryTruncationIsFound) {
  const std::string text = *WriteManifest(SampleManifest());
  for (size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      ASSERT_FALSE(ParseManifest(flipped).ok()) << i;
    }
    ASSERT_FALSE(ParseManifest(absl::string_view(text).substr(0, i)).ok());
  }
  EXPECT_FALSE(ParseManifest(text + "\n").ok());
}

}  // namespace
}  // namespace accrue
