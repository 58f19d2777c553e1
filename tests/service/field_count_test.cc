#include "server/service/field_count.h"

#include <random>
#include <string>

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "accrue/v1/model_service.pb.h"
#include "server/base/error.h"

namespace accrue {
namespace {

// What two of everything at most makes of a CreateModelRequest.
std::string Check(const std::string& bytes) {
  const absl::Status status =
      CheckFieldCounts(bytes, *v1::CreateModelRequest::descriptor(), 2);
  if (status.ok()) return "OK";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

std::string Spec(int tensors, int groups) {
  v1::CreateModelRequest request;
  v1::ModelSpec& spec = *request.mutable_spec();
  spec.set_name("m");
  for (int i = 0; i < tensors; ++i) {
    v1::TensorSpec& tensor = *spec.add_tensors();
    tensor.set_name(absl::StrCat("t", i));
    for (const int64_t extent : {2, 3, 5, 7}) tensor.add_shape(extent);
  }
  for (int i = 0; i < groups; ++i) {
    spec.add_groups()->mutable_hyperparameters()->set_learning_rate(0.5);
  }
  return request.SerializeAsString();
}

// A field within a spec, or within its optimizer, below.
std::string InSpec(const std::string& field) {
  return absl::StrCat("\x0a", std::string(1, static_cast<char>(field.size())),
                      field);
}
const char kUnknownString[] = "\xfa\x01\x01x";  // field 31
const char kUnknownNumber[] = "\xf8\x01\x01";

TEST(FieldCountTest, EntriesAreCountedWhereverTheyLie) {
  EXPECT_EQ(Check(""), "OK");
  EXPECT_EQ(Check(Spec(2, 2)), "OK");
  EXPECT_EQ(Check(Spec(3, 2)), "spec.tensors: 3, at most 2");
  EXPECT_EQ(Check(Spec(2, 4)), "spec.groups: 4, at most 2");
  // Parsing makes one spec of two.
  EXPECT_EQ(Check(Spec(1, 1) + Spec(1, 1)), "OK");
  EXPECT_EQ(Check(Spec(2, 1) + Spec(1, 1)), "spec.tensors: 3, at most 2");
}

TEST(FieldCountTest, FieldsThatNoMessageHasCount) {
  const std::string unknown = kUnknownString;
  EXPECT_EQ(Check(unknown + Spec(2, 2) + kUnknownNumber), "OK");
  EXPECT_EQ(Check(unknown + kUnknownNumber + InSpec(unknown)),
            "unknown fields: 3, at most 2");
  // Those too that have the number of one, but not its type.
  const std::string number_for_name = InSpec(std::string("\x08\x01", 2));
  EXPECT_EQ(Check(number_for_name + number_for_name), "OK");
  EXPECT_EQ(Check(number_for_name + number_for_name + number_for_name),
            "unknown fields: 3, at most 2");
}

TEST(FieldCountTest, AGroupIsNoFieldOfOurs) {
  EXPECT_EQ(Check("\xfb\x01\xfc\x01"), "a group, want fields of proto3");
  EXPECT_EQ(Check(InSpec("\xfb\x01\xfc\x01")),
            "a group, want fields of proto3");
}

TEST(FieldCountTest, WhatHasNoEndIsLeftToTheParser) {
  const std::string whole = Spec(2, 2) + kUnknownString;
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(Check(whole.substr(0, size)), "OK") << size;
  }
  EXPECT_EQ(Check("\x0a\xff\xff\xff\xff\x0f"), "OK");
}

// Whatever is let pass and parsed has no more than that.
TEST(FieldCountTest, NoBytesHaveMoreThanWasCounted) {
  constexpr unsigned kSeed = 11;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  std::mt19937 random(kSeed);
  const google::protobuf::LogSilencer quiet;
  const std::string sound = Spec(2, 2);
  int parsed = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string bytes = sound;
    for (int changes = 0; changes < 3; ++changes) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    v1::CreateModelRequest request;
    if (Check(bytes) != "OK" || !request.ParseFromString(bytes)) continue;
    ++parsed;
    EXPECT_LE(request.spec().tensors_size(), 2);
    EXPECT_LE(request.spec().groups_size(), 2);
  }
  EXPECT_GT(parsed, 0);
}

}  // namespace
}  // namespace accrue
