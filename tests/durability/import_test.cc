#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/error.h"
#include "server/durability/import_path.h"
#include "server/durability/import_source.h"
#include "server/kernels/convert.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

namespace fs = std::filesystem;
using kernels::Encoding;
using ::testing::HasSubstr;

// A tensor in a file.
struct Written {
  std::string name;
  std::vector<int64_t> shape;
  Encoding encoding;
  std::vector<float> values;
};

std::string FileOf(const std::vector<Written>& tensors) {
  static constexpr const char* kTypes[] = {"F32", "BF16", "F16"};
  std::string header = "{", data;
  for (const Written& tensor : tensors) {
    const size_t begin = data.size();
    std::vector<std::byte> encoded(
        tensor.values.size() *
        static_cast<size_t>(kernels::EncodedBytes(tensor.encoding)));
    kernels::Encode(tensor.values.data(),
                    static_cast<int64_t>(tensor.values.size()), tensor.encoding,
                    encoded.data());
    data.append(reinterpret_cast<const char*>(encoded.data()), encoded.size());
    absl::StrAppend(&header, header.size() > 1 ? "," : "", "\"", tensor.name,
                    "\":{\"dtype\":\"",
                    kTypes[static_cast<size_t>(tensor.encoding)],
                    "\",\"shape\":[", absl::StrJoin(tensor.shape, ","),
                    "],\"data_offsets\":[", begin, ",", data.size(), "]}");
  }
  header += "}";
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + data;
}

std::vector<float> Values(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  // Exact in eight bits of mantissa.
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i % 251) - 100;
  }
  return values;
}

ModelSpec Spec(const std::vector<Written>& tensors) {
  ModelSpec spec;
  spec.name = "m";
  for (const Written& tensor : tensors) {
    spec.tensors.push_back({tensor.name, tensor.shape, "all"});
  }
  spec.groups.resize(1);
  spec.groups[0].name = "all";
  return spec;
}

class ImportTest : public ::testing::Test {
 protected:
  ImportTest() { fs::create_directories(place_ / "import/sub"); }

  void Put(const std::string& name, const std::string& bytes) {
    std::ofstream(place_ / name, std::ios::binary) << bytes;
  }
  absl::StatusOr<std::unique_ptr<ImportSource>> Open(const std::string& path,
                                                     const ModelSpec& spec) {
    return ImportSource::Open(*PosixFileSystem(), place_ / "import", path,
                              spec);
  }
  std::string Message(const std::vector<Written>& tensors,
                      const ModelSpec& spec) {
    Put("import/f", FileOf(tensors));
    const auto source = Open("f", spec);
    EXPECT_EQ(source.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetErrorInfo(source.status()).reason, Reason::kWrongShape);
    return std::string(source.status().message());
  }

  const TemporaryDirectory place_;
};

TEST_F(ImportTest, ParametersOfEveryTypeAreReadInTheSpecsOrder) {
  // The first ends within the second piece.
  const int64_t large = kStatePieceElems + 5;
  const std::vector<Written> tensors = {
      {"a", {large}, Encoding::kBf16, Values(large)},
      {"b", {}, Encoding::kF32, {0.1F}},
      {"c/d", {3, 100001}, Encoding::kF16, Values(3 * 100001)},
      {"e", {1, 2}, Encoding::kF32, {-0.0F, 1e-45F}}};
  Put("import/sub/f.safetensors",
      FileOf({tensors[2], tensors[0], tensors[3], tensors[1]}));
  const auto source = Open("sub/f.safetensors", Spec(tensors));
  ASSERT_TRUE(source.ok()) << source.status();
  std::vector<float> expected;
  for (const Written& tensor : tensors) {
    expected.insert(expected.end(), tensor.values.begin(), tensor.values.end());
  }
  EXPECT_TRUE((*source)->Has(StateArray::kParameters));
  EXPECT_FALSE((*source)->Has(StateArray::kMomentum));
  for (size_t begin = 0; begin < expected.size(); begin += kStatePieceElems) {
    std::vector<float> piece(
        std::min<size_t>(kStatePieceElems, expected.size() - begin));
    const absl::Status read = (*source)->Read(
        StateArray::kParameters, static_cast<int64_t>(begin) / kStatePieceElems,
        absl::MakeSpan(piece));
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_EQ(std::memcmp(piece.data(), expected.data() + begin,
                          piece.size() * sizeof(float)),
              0);
  }
}

TEST_F(ImportTest, ADifferenceFromTheSpecIsNamed) {
  const Written a = {"a", {2}, Encoding::kF32, {1, 2}};
  const Written b = {"b", {1, 2}, Encoding::kF32, {1, 2}};
  EXPECT_EQ(Message({a}, Spec({a, b})), "import: 1 tensors are missing: \"b\"");
  EXPECT_EQ(Message({a, b}, Spec({a})),
            "import: 1 tensors are not the model's: \"b\"");
  Written wrong = a;
  wrong.shape = {2, 1};
  EXPECT_EQ(Message({wrong}, Spec({a})),
            "import: tensor \"a\" is F32 [2, 1], want F32, BF16 or F16 [2]");
  std::vector<Written> many;
  for (char name = 'a'; name <= 'g'; ++name) {
    many.push_back({std::string(1, name), {1}, Encoding::kF32, {0}});
  }
  EXPECT_EQ(Message({}, Spec(many)),
            "import: 7 tensors are missing: \"a\", \"b\", \"c\", \"d\", \"e\", "
            "...");
  std::string of_doubles = FileOf({a, {"c", {2}, Encoding::kF32, {0, 0}}});
  of_doubles.replace(of_doubles.find("F32"), 3, "I32");
  Put("import/f", of_doubles);
  EXPECT_THAT(std::string(Open("f", Spec({a})).status().message()),
              HasSubstr("tensor \"a\" is I32 [2]"));
}

TEST_F(ImportTest, WhatIsNoSafetensorsFileIsRefused) {
  const Written a = {"a", {2}, Encoding::kF32, {1, 2}};
  Put("import/f", "hello, world");
  EXPECT_THAT(std::string(Open("f", Spec({a})).status().message()),
              HasSubstr("file \"f\": no safetensors file: a header of"));
}

TEST_F(ImportTest, ValuesThatAreNotFiniteAreRefused) {
  Written a = {"a", {3}, Encoding::kF16, {1, 2, INFINITY}};
  Put("import/f", FileOf({a}));
  const auto source = Open("f", Spec({a}));
  ASSERT_TRUE(source.ok()) << source.status();
  std::vector<float> piece(3);
  const absl::Status read =
      (*source)->Read(StateArray::kParameters, 0, absl::MakeSpan(piece));
  EXPECT_EQ(GetErrorInfo(read).reason, Reason::kNonFinite);
  EXPECT_EQ(read.message(), "import: tensor \"a\": value 2 is not finite");
}

TEST_F(ImportTest, NoPathLeadsOutOfTheDirectory) {
  Put("secret", "x");
  Put("import/good", "x");
  fs::create_directories(place_ / "import2");
  Put("import2/f", "x");
  fs::create_symlink(place_ / "secret", place_ / "import/link");
  fs::create_directory_symlink("..", place_ / "import/up");
  fs::create_directory_symlink("../../import2", place_ / "import/sub/beside");
  fs::create_symlink("loop", place_ / "import/loop");
  fs::create_symlink("../good", place_ / "import/sub/inside");
  ASSERT_EQ(mkfifo((place_ / "import/pipe").c_str(), 0600), 0);
  const std::string root = place_ / "import";
  for (const std::string& path : std::vector<std::string>{
           "", ".", "..", "../secret", "sub/../../secret", "sub/../good",
           "/etc/passwd", place_ / "import/good", "link", "up/secret",
           "sub/beside/f", "loop", "pipe", "sub", "missing",
           std::string("good\0", 5), std::string(5000, 'a')}) {
    const auto resolved = ResolveBeneath(root, path);
    const bool contradicts = path.empty() || path[0] == '/' ||
                             path.find("..") != std::string::npos ||
                             path.find('\0') != std::string::npos;
    EXPECT_EQ(resolved.status().code(), contradicts
                                            ? absl::StatusCode::kInvalidArgument
                                            : absl::StatusCode::kNotFound)
        << path;
  }
  for (const char* path : {"good", "./good", "sub/inside"}) {
    const auto resolved = ResolveBeneath(root, path);
    ASSERT_TRUE(resolved.ok()) << resolved.status();
    EXPECT_EQ(*resolved, fs::canonical(place_ / "import/good"));
  }
  EXPECT_FALSE(ResolveBeneath(place_ / "nowhere", "good").ok());
}

}  // namespace
}  // namespace accrue
