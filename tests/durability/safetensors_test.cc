#include "server/durability/safetensors.h"

#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

// A file with this header text and so many bytes of data.
std::string File(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + std::string(data_bytes, '\0');
}

absl::StatusOr<SafetensorsIndex> Parsed(const std::string& file) {
  return ParseSafetensors(file, static_cast<int64_t>(file.size()));
}

std::string Tensor(const char* name, const char* dtype, const char* shape,
                   const char* offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":", dtype, ",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

TEST(SafetensorsTest, WhatWasWrittenIsRead) {
  const std::string header =
      SafetensorsHeader({{"layer/1.weight", {2, 3}}, {"scalar", {}}},
                        {{"format", "pt"}, {"q\"\n", "\xc3\xa4\\"}});
  EXPECT_EQ(header.size(), kSafetensorsAlignment);
  const auto index = Parsed(header + std::string(28, '\0'));
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->texts.at("q\"\n"), "\xc3\xa4\\");
  const StoredTensor& weight = index->tensors.at("layer/1.weight");
  EXPECT_EQ(weight.dtype, "F32");
  EXPECT_EQ(weight.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(weight.elems, 6);
  EXPECT_EQ(weight.offset, kSafetensorsAlignment);
  EXPECT_EQ(weight.size_bytes, 24);
  EXPECT_TRUE(index->tensors.at("scalar").shape.empty());
  EXPECT_EQ(index->tensors.at("scalar").offset, kSafetensorsAlignment + 24);
}

TEST(SafetensorsTest, AHeaderOfAnyLengthIsPaddedToTheSameGrid) {
  for (size_t length : {1, 3900, 4000, 4050, 8190}) {
    const std::string header =
        SafetensorsHeader({{std::string(length, 'x'), {1}}}, {});
    EXPECT_EQ(header.size() % kSafetensorsAlignment, 0);
    EXPECT_TRUE(Parsed(header + "\x1\x2\x3\x4").ok());
  }
}

TEST(SafetensorsTest, TensorsMayBeEmptyAndStandInAnyOrder) {
  const auto index = Parsed(
      File(absl::StrCat("{", Tensor("b", "\"I64\"", "[1]", "[2,10]"), ",",
                        Tensor("e", "\"F32\"", "[0,5]", "[2,2]"), ",",
                        Tensor("a", "\"BF16\"", "[1]", "[0,2]"), "}  "),
           10));
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->tensors.at("e").elems, 0);
  EXPECT_TRUE(Parsed(File("{}", 0)).ok());
}

TEST(SafetensorsTest, NothingThatAFileSaysIsTrusted) {
  const auto one = [](const char* dtype, const char* shape,
                      const char* offsets) {
    return absl::StrCat("{", Tensor("t", dtype, shape, offsets), "}");
  };
  const auto two = [](const char* first, const char* second) {
    return absl::StrCat("{", Tensor("a", "\"F32\"", "[1]", first), ",",
                        Tensor("b", "\"F32\"", "[1]", second), "}");
  };
  const struct {
    std::string file;
    const char* message;
  } cases[] = {
      {"", "less than 8 bytes"},
      {std::string(8, '\xff'), "a header of 18446744073709551615 bytes"},
      {std::string("\x10\0\0\0\0\0\0\0{}", 10), "a header of 16 bytes"},
      {std::string("\0\xe1\xf5\x05\0\0\0\0{}", 10), "a header of 100000000"},
      {File("", 0), "no JSON object"},
      {File("[]", 0), "no JSON object"},
      {File(" {}", 0), "no JSON object"},
      {File("{\"t\":", 0), "no JSON, at byte"},
      {File("{\"t\":{\"a\":{\"b\":{}}}}", 0), "more than 3 levels"},
      {File("{\"t\":1}", 0), "has no dtype"},
      {File(one("7", "[1]", "[0,4]"), 4), "has no dtype"},
      {File(one("\"F33\"", "[1]", "[0,4]"), 4), "unknown dtype \"F33\""},
      {File(one("\"F32\"", "1", "[0,4]"), 4), "has not a shape"},
      {File(one("\"F32\"", "[-1]", "[0,4]"), 4), "has not a shape"},
      {File(one("\"F32\"", "[1.5]", "[0,4]"), 4), "has not a shape"},
      {File(one("\"F32\"", "[1]", "[0]"), 4), "two data_offsets"},
      {File(one("\"F32\"", "[1]", "[0,18446744073709551615]"), 4),
       "two data_offsets"},
      {File(one("\"F32\"", "[1]", "[0,4],\"x\":1"), 4), "data_offsets alone"},
      {File(one("\"F32\"", "[1]", "[0,4]"), 3), "lies at [0, 4) of 3"},
      {File(one("\"F32\"", "[1]", "[4,0]"), 4), "lies at [4, 0)"},
      {File(one("\"F32\"", "[2]", "[0,4]"), 4), "has not 4 bytes"},
      {File(one("\"F32\"", "[4611686018427387905]", "[0,4]"), 4),
       "has not 4 bytes"},
      {File(one("\"F32\"", "[4294967296,4294967296,0]", "[0,0]"), 0),
       "has not 0 bytes"},
      {File(one("\"F32\"", "[1]", "[4,8]"), 8), "does not begin where"},
      {File(one("\"F32\"", "[1]", "[0,4]"), 5), "1 bytes behind the last"},
      {File(two("[0,4]", "[0,4]"), 4), "does not begin where"},
      {File(two("[0,4]", "[3,7]"), 7), "does not begin where"},
      {File(two("[0,4]", "[5,9]"), 9), "does not begin where"},
      {File(absl::StrCat("{", Tensor("a", "\"F32\"", "[1]", "[0,4]"), ",",
                         Tensor("a", "\"F32\"", "[1]", "[0,4]"), "}"),
            4),
       "\"a\" comes twice"},
      {File("{\"__metadata__\":[]}", 0), "__metadata__ is no object"},
      {File("{\"__metadata__\":{\"a\":1}}", 0), "\"a\" is no text"},
  };
  for (const auto& c : cases) {
    const auto index = Parsed(c.file);
    ASSERT_FALSE(index.ok()) << c.file;
    EXPECT_EQ(index.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(index.status().message()), HasSubstr(c.message));
  }
}

TEST(SafetensorsTest, EveryTruncationIsRefused) {
  const std::string file =
      File(absl::StrCat("{", Tensor("a", "\"F32\"", "[2]", "[0,8]"), "}"), 8);
  ASSERT_TRUE(Parsed(file).ok());
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(Parsed(file.substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace accrue
