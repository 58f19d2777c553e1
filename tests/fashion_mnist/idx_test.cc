#include "client/examples/fashion_mnist/idx.h"

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>
#include <zlib.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue::fashion_mnist {
namespace {

using ::testing::HasSubstr;

// 2 x 3 bytes of values 1 to 6.
const std::string& Good() {
  static const auto& good = *new std::string(
      "\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x01\x02\x03\x04\x05\x06", 18);
  return good;
}

class IdxTest : public testing::Test {
 protected:
  IdxTest()
      : path_(testing::TempDir() + "/idx_test_" +
              testing::UnitTest::GetInstance()->current_test_info()->name()) {}
  ~IdxTest() override { std::remove(path_.c_str()); }

  void WriteGzip(const std::string& bytes) {
    gzFile file = gzopen(path_.c_str(), "wb");
    ASSERT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())),
              static_cast<int>(bytes.size()));
    ASSERT_EQ(gzclose(file), Z_OK);
  }

  std::string ReadFile() {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  void WriteRaw(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }

  void ExpectError(absl::StatusCode code, const std::string& message) {
    const auto array = ReadIdx(path_);
    EXPECT_EQ(array.status().code(), code) << array.status();
    EXPECT_THAT(std::string(array.status().message()), HasSubstr(message));
    EXPECT_THAT(std::string(array.status().message()), HasSubstr(path_));
  }

  const std::string path_;
};

TEST_F(IdxTest, AGzippedFileIsRead) {
  WriteGzip(Good());
  const auto array = ReadIdx(path_);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(array->values, (std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
}

TEST_F(IdxTest, APlainFileIsReadAsWell) {
  WriteRaw(Good());
  const auto array = ReadIdx(path_);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->values.size(), 6);
}

TEST_F(IdxTest, AMissingFileIsNamed) {
  ExpectError(absl::StatusCode::kNotFound, "No such file");
}

TEST_F(IdxTest, ATruncatedArrayIsDataLoss) {
  for (size_t size = 0; size < Good().size(); ++size) {
    WriteGzip(Good().substr(0, size));
    EXPECT_TRUE(absl::IsDataLoss(ReadIdx(path_).status())) << size;
  }
  ExpectError(absl::StatusCode::kDataLoss, "ends after 5 of 6 bytes");
}

TEST_F(IdxTest, ATruncatedGzipFileIsDataLoss) {
  WriteGzip(Good());
  const std::string file = ReadFile();
  for (size_t size = 1; size < file.size(); ++size) {
    WriteRaw(file.substr(0, size));
    EXPECT_TRUE(absl::IsDataLoss(ReadIdx(path_).status())) << size;
  }
}

TEST_F(IdxTest, AFlippedBitIsDataLoss) {
  WriteGzip(Good());
  std::string file = ReadFile();
  // The first byte of the checksum that ends a gzip file.
  file[file.size() - 8] ^= 1;
  WriteRaw(file);
  EXPECT_TRUE(absl::IsDataLoss(ReadIdx(path_).status()));
}

TEST_F(IdxTest, AnotherMagicIsRefused) {
  std::string bytes = Good();
  bytes[0] = 'P';
  WriteGzip(bytes);
  ExpectError(absl::StatusCode::kDataLoss, "no IDX file");
}

TEST_F(IdxTest, AnotherTypeIsRefused) {
  std::string bytes = Good();
  bytes[2] = 0x0D;
  WriteGzip(bytes);
  ExpectError(absl::StatusCode::kInvalidArgument, "type 13, want 8");
}

TEST_F(IdxTest, BytesBehindTheArrayAreDataLoss) {
  WriteGzip(Good() + "x");
  ExpectError(absl::StatusCode::kDataLoss, "longer than its header says");
}

TEST_F(IdxTest, AHeaderThatAsksForTooMuchIsRefusedBeforeMemoryIsTaken) {
  WriteGzip(
      std::string("\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                  "\xff\xff",
                  16));
  ExpectError(absl::StatusCode::kDataLoss, "more than 4 GiB");
}

}  // namespace
}  // namespace accrue::fashion_mnist
