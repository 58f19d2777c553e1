#include "client/ctl/safetensors.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdio.h>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace accrue::ctl {
namespace {

using client::Encoding;
using ::testing::HasSubstr;

const std::vector<client::TensorSpec>& Tensors() {
  static const auto& tensors = *new std::vector<client::TensorSpec>{
      {.name = "layer/1.weight", .shape = {2, 3}},
      {.name = "scalar", .shape = {}}};
  return tensors;
}

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A file of these tensors with values 0, 1, 2, ...
std::string FloatFile() {
  std::string file = SafetensorsHeader(Tensors(), Encoding::kF32,
                                       {{"format", "pt"}, {"lineage", "00ff"}});
  for (int i = 0; i < 7; ++i) {
    const auto value = static_cast<float>(i);
    file.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return file;
}

// A file with this header text and so many bytes of data.
std::string File(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + std::string(data_bytes, '\0');
}

TEST(SafetensorsTest, WhatWasWrittenIsRead) {
  const std::string file = FloatFile();
  const auto stored = ParseSafetensors(Bytes(file));
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->metadata.at("lineage"), "00ff");
  ASSERT_EQ(stored->tensors.size(), 2);
  const StoredTensor& weight = stored->tensors.at("layer/1.weight");
  EXPECT_EQ(weight.dtype, "F32");
  EXPECT_EQ(weight.shape, (std::vector<int64_t>{2, 3}));
  ASSERT_EQ(weight.bytes.size(), 24);
  float last;
  std::memcpy(&last, weight.bytes.data() + 20, sizeof(last));
  EXPECT_EQ(last, 5);
  EXPECT_TRUE(stored->tensors.at("scalar").shape.empty());
  EXPECT_EQ(stored->tensors.at("scalar").bytes.size(), 4);
}

TEST(SafetensorsTest, ArraysAreAlignedAndHeadersCanBePadded) {
  for (const Encoding encoding :
       {Encoding::kF32, Encoding::kBf16, Encoding::kF16}) {
    const std::string header = SafetensorsHeader(Tensors(), encoding, {});
    EXPECT_EQ(header.size() % 8, 0);
    const std::string padded =
        SafetensorsHeader(Tensors(), encoding, {}, header.size() + 16);
    EXPECT_EQ(padded.size(), header.size() + 16);
    const auto data_bytes =
        static_cast<size_t>(7 * client::ElementBytes(encoding));
    const std::string file = padded + std::string(data_bytes, '\0');
    EXPECT_TRUE(ParseSafetensors(Bytes(file)).ok());
  }
}

TEST(SafetensorsTest, NothingThatAFileSaysIsTrusted) {
  const auto tensor = [](const char* dtype, const char* shape,
                         const char* offsets) {
    return absl::StrCat(R"({"t":{"dtype":)", dtype, R"(,"shape":)", shape,
                        R"(,"data_offsets":)", offsets, "}}");
  };
  const struct {
    std::string file;
    const char* message;
  } cases[] = {
      {"", "shorter than 8 bytes"},
      {std::string(8, '\xff'), "a header of 18446744073709551615 bytes"},
      {std::string("\x10\0\0\0\0\0\0\0{}", 10), "a header of 16 bytes"},
      {File("[]", 0), "no JSON object"},
      {File("{\"t\":", 0), "no JSON object"},
      {File("{\"t\":1}", 0), "lacks dtype, shape or data_offsets"},
      {File(tensor("7", "[1]", "[0,4]"), 4), "lacks dtype"},
      {File(tensor("\"F32\"", "1", "[0,4]"), 4), "lacks dtype"},
      {File(tensor("\"F32\"", "[-1]", "[0,4]"), 4), "lacks dtype"},
      {File(tensor("\"F32\"", "[1.5]", "[0,4]"), 4), "lacks dtype"},
      {File(tensor("\"F32\"", "[1]", "[0]"), 4), "lacks dtype"},
      {File(tensor("\"F32\"", "[1]", "[0,18446744073709551615]"), 4),
       "lacks dtype"},
      {File(tensor("\"F32\"", "[1]", "[0,4]"), 3), "lies at [0, 4) of 3"},
      {File(tensor("\"F32\"", "[1]", "[4,0]"), 4), "lies at [4, 0)"},
      {File(tensor("\"F32\"", "[2]", "[0,4]"), 4), "has not 4 bytes"},
      {File(tensor("\"F33\"", "[1]", "[0,4]"), 4), "has not 4 bytes"},
      {File(tensor("\"F32\"", "[4611686018427387905]", "[0,4]"), 4),
       "has not 4 bytes"},
      {File("{\"__metadata__\":[]}", 0), "__metadata__ is no object"},
      {File("{\"__metadata__\":{\"a\":1}}", 0), "\"a\" is no text"},
  };
  for (const auto& c : cases) {
    const auto stored = ParseSafetensors(Bytes(c.file));
    ASSERT_FALSE(stored.ok()) << c.file;
    EXPECT_THAT(std::string(stored.status().message()), HasSubstr(c.message));
  }
}

TEST(SafetensorsTest, ThePythonPackageReadsIt) {
  const char* found = std::getenv("ACCRUE_PYTHON");
  const std::string python = found == nullptr ? "ACCRUE_PYTHON" : found;
  if (!std::ifstream(python)) {
    GTEST_SKIP() << python << " is not there: deploy/dependencies/install.sh "
                 << "--with-tests makes it";
  }
  const std::string path = testing::TempDir() + "/safetensors_test.safetensors";
  std::ofstream(path, std::ios::binary) << FloatFile();
  const std::string command =
      absl::StrCat(python,
                   " -c 'import sys, safetensors, safetensors.numpy\n"
                   "arrays = safetensors.numpy.load_file(sys.argv[1])\n"
                   "with safetensors.safe_open(sys.argv[1], \"np\") as f:\n"
                   "    print(f.metadata()[\"lineage\"])\n"
                   "w = arrays[\"layer/1.weight\"]\n"
                   "print(w.dtype, w.shape, w[1, 2], arrays[\"scalar\"])' ",
                   path);
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  char output[256] = {};
  const size_t size = fread(output, 1, sizeof(output) - 1, pipe);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(std::string(output, size), "00ff\nfloat32 (2, 3) 5.0 6.0\n");
  std::remove(path.c_str());
}

}  // namespace
}  // namespace accrue::ctl
