// IDX: the file format of the MNIST family of datasets, gzipped or not.
//
//   2 bytes 0, 1 byte type (8: unsigned bytes), 1 byte number of dimensions,
//   the extents as big-endian 32-bit integers, then the values, row-major
//
// Errors.    NOT_FOUND: no such file. DATA_LOSS: not this format, shorter or
//            longer than it says, or damaged. INVALID_ARGUMENT: values that are
//            not unsigned bytes.

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_IDX_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_IDX_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace accrue::fashion_mnist {

struct IdxArray {
  std::vector<int64_t> shape;
  std::vector<uint8_t> values;
};

absl::StatusOr<IdxArray> ReadIdx(const std::string& path);

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_IDX_H_
