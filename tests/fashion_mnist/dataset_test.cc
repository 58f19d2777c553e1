#include "client/examples/fashion_mnist/dataset.h"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <zlib.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue::fashion_mnist {
namespace {

using ::testing::HasSubstr;

class DatasetTest : public testing::Test {
 protected:
  DatasetTest() {
    std::string pattern = testing::TempDir() + "/dataset_XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~DatasetTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& header,
             const std::string& values) {
    gzFile file = gzopen((folder_ + "/" + name).c_str(), "wb");
    const std::string bytes = header + values;
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
  }

  // Two images, one black and one white.
  void WriteTestPart(const std::string& labels) {
    Write("t10k-images-idx3-ubyte.gz",
          std::string("\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c", 16),
          std::string(784, '\0') + std::string(784, '\xff'));
    Write(
        "t10k-labels-idx1-ubyte.gz",
        std::string("\0\0\x08\x01\0\0\0", 7) + static_cast<char>(labels.size()),
        labels);
  }

  std::string folder_;
};

TEST_F(DatasetTest, AMissingDatasetIsNamedWithItsPackage) {
  const auto examples = LoadExamples(folder_, Part::kTrain);
  EXPECT_TRUE(absl::IsNotFound(examples.status()));
  EXPECT_THAT(std::string(examples.status().message()),
              HasSubstr("dataset-fashion-mnist"));
}

TEST_F(DatasetTest, ExamplesAreGatheredInTheOrderAskedFor) {
  WriteTestPart("\x03\x09");
  const auto examples = LoadExamples(folder_, Part::kTest);
  ASSERT_TRUE(examples.ok()) << examples.status();
  EXPECT_EQ(examples->count(), 2);
  Batch batch;
  Gather(*examples, {1, 0, 1}, &batch);
  EXPECT_EQ(batch.labels, (std::vector<uint8_t>{9, 3, 9}));
  ASSERT_EQ(batch.inputs.cols(), 3);
  ASSERT_EQ(batch.inputs.rows(), kPixels);
  // (1 - 0.286)/0.353 and -0.286/0.353.
  EXPECT_NEAR(batch.inputs(0, 0), 2.0227, 1e-4);
  EXPECT_NEAR(batch.inputs(783, 1), -0.8102, 1e-4);
}

TEST_F(DatasetTest, OtherShapesAndLabelsAreDataLoss) {
  WriteTestPart("\x03");
  EXPECT_TRUE(absl::IsDataLoss(LoadExamples(folder_, Part::kTest).status()));
  WriteTestPart("\x03\x0a");
  EXPECT_TRUE(absl::IsDataLoss(LoadExamples(folder_, Part::kTest).status()));
}

}  // namespace
}  // namespace accrue::fashion_mnist
