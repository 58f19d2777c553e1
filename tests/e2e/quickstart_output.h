// What deploy/quickstart.sh and fashion_mnist print, read back.
//
// Errors.    reported as failures of the test that runs

#ifndef ACCRUE_TESTS_E2E_QUICKSTART_OUTPUT_H_
#define ACCRUE_TESTS_E2E_QUICKSTART_OUTPUT_H_

#include <cstdint>
#include <string>
#include <vector>

namespace accrue {

// Parameters of the perceptron that is trained, 784-256-128-10.
inline constexpr int64_t kPerceptronParameters =
    784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10;

// Where the Debian package dataset-fashion-mnist puts it.
inline constexpr char kDatasetFolder[] = "/usr/share/datasets/fashion-mnist";

struct TrainingResult {
  double training_seconds = -1;
  double test_accuracy = 0;
  int64_t versions = 0;
  int64_t pushes = 0;
  int64_t accumulation_buffer_bytes = -1;
  int64_t published_bytes = 0;
};

// The last two lines, of which there is exactly one each.
TrainingResult ReadResult(const std::string& out);

// The lines of live progress, each of which must be of its form to the last
// character: the versions that they name.
std::vector<int64_t> ReadProgress(const std::string& out, int64_t epochs);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_QUICKSTART_OUTPUT_H_
