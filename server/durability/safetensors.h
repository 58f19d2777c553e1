// Safetensors: a file of named arrays that PyTorch, NumPy and others load.
//
//   8 bytes   N, little-endian
//   N bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3],
//                             "data_offsets": [begin, end]}, ...,
//                    "__metadata__": {"key": "value"}}, padded with blanks
//   the rest  the arrays, little-endian, row-major, without gaps
//
// Units.     bytes. In the file offsets count from the end of the header; here
//            from the file's beginning.
// Errors.    INVALID_ARGUMENT: what of the file is not as it must be. Nothing
//            that it says is trusted, and what is read of it before that is
//            known is bounded.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_SAFETENSORS_H_
#define ACCRUE_SERVER_DURABILITY_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/durability/file.h"

namespace accrue {

// The header's key for metadata: no tensor can have this name.
inline constexpr char kSafetensorsMetadataKey[] = "__metadata__";

// Where our own files' arrays begin: at a multiple of it.
inline constexpr int64_t kSafetensorsAlignment = 4096;

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};

// The file's beginning, up to the first array: the header of these tensors of
// floats, in this order.
std::string SafetensorsHeader(const std::vector<NamedShape>& tensors,
                              const std::map<std::string, std::string>& texts);

struct StoredTensor {
  std::string dtype;  // "F32", "BF16", ...
  std::vector<int64_t> shape;
  int64_t elems = 0;  // their product
  int64_t offset = 0;
  int64_t size_bytes = 0;
};

struct SafetensorsIndex {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> texts;
};

// Of a file whose first bytes are `beginning`, the whole header at least.
absl::StatusOr<SafetensorsIndex> ParseSafetensors(absl::string_view beginning,
                                                  int64_t file_bytes);

// Reads the header; or the disk's error.
absl::StatusOr<SafetensorsIndex> ReadSafetensors(const ReadableFile& file);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_SAFETENSORS_H_
