// Safetensors: a file of named arrays that PyTorch, NumPy and others load.
//
//   8 bytes   N, little-endian
//   N bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3],
//                             "data_offsets": [begin, end]}, ...,
//                    "__metadata__": {"key": "value"}}, padded with blanks
//   the rest  the arrays, little-endian, row-major, without gaps
//
// Units.     bytes; offsets count from the end of the header

#ifndef ACCRUE_CLIENT_CTL_SAFETENSORS_H_
#define ACCRUE_CLIENT_CTL_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "accrue/spec.h"

namespace accrue::ctl {

// The header's key for metadata: no tensor can have this name.
inline constexpr char kSafetensorsMetadataKey[] = "__metadata__";

using SafetensorsMetadata = std::vector<std::pair<std::string, std::string>>;

// The file's beginning, up to the first array: the length and the header of
// these tensors, in this order, all in one encoding. At least `size_bytes`
// long, and a multiple of 8, so that arrays are aligned.
std::string SafetensorsHeader(const std::vector<client::TensorSpec>& tensors,
                              client::Encoding encoding,
                              const SafetensorsMetadata& metadata,
                              size_t size_bytes = 0);

struct StoredTensor {
  std::string dtype;  // "F32", "BF16", ...
  std::vector<int64_t> shape;
  absl::Span<const std::byte> bytes;
};

struct StoredTensors {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Reads a whole file's bytes, which must outlive the result. FileError: what is
// wrong with it; nothing it says is trusted.
absl::StatusOr<StoredTensors> ParseSafetensors(
    absl::Span<const std::byte> file);

// "F32", "BF16", "F16".
absl::string_view SafetensorsType(client::Encoding encoding);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_SAFETENSORS_H_
