// Limits on what a client may name and count, over the API: what is beyond one
// is refused with what was expected, and leaves nothing behind.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int64_t kElems = 10;

v1::ModelSpec Spec(const std::string& name) {
  return Wire::Spec(name, kElems, /*k=*/1);
}

class CreationLimitsTest : public testing::Test {
 protected:
  CreationLimitsTest()
      : daemon_(Daemon::Start({"--max_models=2", "--max_sessions=2"})),
        wire_(daemon_->tcp()) {
    wire_.Make(Spec("first"));
  }

  void ExpectPushes(const std::string& model, const std::string& session,
                    int64_t sequence) {
    const std::vector<float> gradient(kElems, 1);
    const Ending ending = wire_.Push(
        wire_.Header(model, session, sequence, gradient), FloatBytes(gradient));
    EXPECT_TRUE(ending.status.ok()) << ending.status.error_message();
  }

  const std::unique_ptr<Daemon> daemon_;
  Wire wire_;
};

void AddTensor(v1::ModelSpec& spec, const std::string& name,
               const std::vector<int64_t>& shape) {
  v1::TensorSpec& tensor = *spec.add_tensors();
  tensor.set_name(name);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
}

struct Spoiled {
  const char* what;
  std::function<void(v1::ModelSpec&)> spoil;
  std::string said;
};

// Of one tensor more, of this shape.
std::function<void(v1::ModelSpec&)> WithShape(std::vector<int64_t> shape) {
  return [shape = std::move(shape)](v1::ModelSpec& spec) {
    AddTensor(spec, "more", shape);
  };
}

std::vector<Spoiled> SpoiledNames() {
  std::vector<Spoiled> rows;
  const std::string model_said =
      "name: want 1 to 128 bytes of [A-Za-z0-9._-], no leading dot";
  for (const std::string& name :
       {std::string(), std::string(129, 'm'), std::string(100'000, 'm'),
        std::string(".m"), std::string("../m"), std::string("a/b"),
        std::string("a b"), std::string("a\nb"), std::string("a\0b", 3),
        std::string("\u00e4")}) {
    // A message has room for the beginning of what was sent.
    rows.push_back({"model's name",
                    [name](v1::ModelSpec& spec) { spec.set_name(name); },
                    name.size() > 1000 ? "model \"mmm" : model_said});
  }
  const std::string said = "name: want 1 to 255 bytes of [A-Za-z0-9._/-]";
  for (const std::string& name :
       {std::string(), std::string(256, 'n'), std::string("a b"),
        std::string("a\nb"), std::string("\u00e4")}) {
    rows.push_back(
        {"tensor's name",
         [name](v1::ModelSpec& spec) { AddTensor(spec, name, {1}); },
         absl::StrCat("tensor \"", name.substr(0, 255), "\": ", said)});
    rows.push_back(
        {"group's name",
         [name](v1::ModelSpec& spec) {
           spec.mutable_groups(0)->set_name(name);
         },
         absl::StrCat("group \"", name.substr(0, 255), "\": ", said)});
  }
  return rows;
}

std::vector<Spoiled> SpoiledShapes() {
  constexpr int64_t kMost = int64_t{1} << 40;
  const std::string more = absl::StrCat("more than ", kMost, " elements");
  return {
      {"rank", WithShape(std::vector<int64_t>(9, 1)),
       "spec.tensors[1].shape: 9, at most 8"},
      {"no elements", WithShape({4, 0}), "extent 0, want at least 1"},
      {"negative extent", WithShape({-4, -4}), "extent -4, want at least 1"},
      {"elements", WithShape({kMost + 1}), "tensor \"more\": " + more},
      {"a product that overflows", WithShape({int64_t{1} << 32, 1, 1LL << 32}),
       "tensor \"more\": " + more},
      {"a product that overflows to little", WithShape({1LL << 62, 4, 2}),
       "tensor \"more\": " + more},
      {"a sum", WithShape({kMost}), more + " over all tensors"},
      {"a push that no budget admits", WithShape({kMost - kElems}),
       "but --ingest_memory admits"},
  };
}

std::vector<Spoiled> SpoiledCounts() {
  return {
      {"no tensors", [](auto& spec) { spec.clear_tensors(); },
       "tensors: want at least one"},
      {"no groups", [](auto& spec) { spec.clear_groups(); },
       "groups: want at least one"},
      {"tensors",
       [](auto& spec) {
         for (int i = 0; i < 100'000; ++i) AddTensor(spec, "t", {});
       },
       "spec.tensors: 100001, at most 100000"},
      {"groups",
       [](auto& spec) {
         for (int i = 0; i < 10'000; ++i) spec.add_groups();
       },
       "spec.groups: 10001, at most 10000"},
      {"two tensors of one name", [](auto& spec) { AddTensor(spec, "w", {1}); },
       "tensor \"w\": named twice"},
  };
}

TEST_F(CreationLimitsTest, SpecsBeyondThemAreRefusedAndLeaveNothing) {
  for (const auto& rows : {SpoiledNames(), SpoiledShapes(), SpoiledCounts()}) {
    for (const auto& [what, spoil, said] : rows) {
      SCOPED_TRACE(absl::StrCat(what, ": ", said));
      v1::ModelSpec spec = Spec("second");
      spoil(spec);
      const Ending ending = wire_.Create(spec);
      ExpectRefused(ending, StatusCode::INVALID_ARGUMENT,
                    Detail::REASON_INVALID_SPEC);
      EXPECT_THAT(ending.status.error_message(), HasSubstr(said));
      EXPECT_THAT(wire_.Models(), SizeIs(1));
    }
    wire_.Make(Spec("second"));
    ExpectPushes("second", wire_.Open("second", "w"), 1);
    EXPECT_TRUE(wire_.Delete("second").status.ok());
  }
}

TEST_F(CreationLimitsTest, WhatIsJustWithinThemIsTaken) {
  v1::ModelSpec spec = Spec(std::string(128, 'm'));
  spec.mutable_groups(0)->set_name(std::string(255, 'g'));
  AddTensor(spec, std::string(255, 't'), std::vector<int64_t>(8, 1));
  const Ending ending = wire_.Create(spec);
  EXPECT_TRUE(ending.status.ok()) << ending.status.error_message();
}

TEST_F(CreationLimitsTest, ModelsAreAsManyAsTheFlagSays) {
  wire_.Make(Spec("second"));
  const Ending ending = wire_.Create(Spec("third"));
  ExpectRefused(ending, StatusCode::RESOURCE_EXHAUSTED, Detail::REASON_LIMIT);
  EXPECT_EQ(ending.detail.subject(), "--max_models");
  EXPECT_THAT(ending.status.error_message(),
              HasSubstr("2 models, as many as --max_models allows"));
  EXPECT_THAT(wire_.Models(), SizeIs(2));
  // One that is there is none more.
  EXPECT_TRUE(wire_.Create(Spec("second")).status.ok());
  EXPECT_TRUE(wire_.Delete("first").status.ok());
  wire_.Make(Spec("third"));
  ExpectPushes("third", wire_.Open("third", "w"), 1);
}

TEST_F(CreationLimitsTest, SessionsAreAsManyAsTheFlagSays) {
  const std::string one = wire_.Open("first", "one");
  const std::string two = wire_.Open("first", "two");
  const Ending ending = wire_.TryOpen("first", "three", "");
  ExpectRefused(ending, StatusCode::RESOURCE_EXHAUSTED, Detail::REASON_LIMIT);
  EXPECT_EQ(ending.detail.subject(), "--max_sessions");
  EXPECT_THAT(ending.status.error_message(),
              HasSubstr("\"first\" has 2 sessions, as many as"));
  EXPECT_THAT(wire_.Sessions("first"), SizeIs(2));
  ExpectPushes("first", one, 1);
  // One that takes the other's place is none more.
  ExpectPushes("first", wire_.Open("first", "two"), 1);
  BoundedContext context;
  v1::CloseSessionRequest request;
  request.set_model("first");
  request.set_session_id(one);
  v1::CloseSessionResponse response;
  EXPECT_TRUE(wire_.workers().CloseSession(&context, request, &response).ok());
  ExpectPushes("first", wire_.Open("first", "three"), 1);
}

TEST_F(CreationLimitsTest, AWorkersNameIsOf255BytesAtMost) {
  const std::string session = wire_.Open("first", std::string(255, 'w'));
  for (const size_t size : {0, 256, 100'000}) {
    const Ending ending = wire_.TryOpen("first", std::string(size, 'w'), "");
    ExpectRefused(ending, StatusCode::INVALID_ARGUMENT,
                  Detail::REASON_UNSPECIFIED);
    EXPECT_THAT(
        ending.status.error_message(),
        HasSubstr(absl::StrCat("a name of ", size, " bytes, want 1 to 255")));
  }
  EXPECT_THAT(wire_.Sessions("first"), SizeIs(1));
  ExpectPushes("first", session, 1);
}

TEST_F(CreationLimitsTest, AJournalNeedsADataDirectory) {
  v1::ModelSpec spec = Spec("second");
  spec.set_durability(v1::DURABILITY_JOURNAL);
  const Ending ending = wire_.Create(spec);
  ExpectRefused(ending, StatusCode::FAILED_PRECONDITION,
                Detail::REASON_NO_DATA_DIRECTORY);
  EXPECT_EQ(ending.detail.subject(), "--data_dir");
  EXPECT_THAT(ending.status.error_message(),
              HasSubstr("model \"second\": a journal needs a data directory"));
  EXPECT_THAT(wire_.Models(), SizeIs(1));
  wire_.Make(Spec("second"));
}

}  // namespace
}  // namespace accrue
