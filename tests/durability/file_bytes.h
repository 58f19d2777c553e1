// Whole files as strings, through a FileSystem.
#ifndef ACCRUE_TESTS_DURABILITY_FILE_BYTES_H_
#define ACCRUE_TESTS_DURABILITY_FILE_BYTES_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/status_macros.h"
#include "server/durability/file.h"

namespace accrue {

inline absl::Span<const std::byte> BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline absl::Status AppendText(WritableFile& file, std::string_view text) {
  return file.Append({BytesOf(text)});
}

inline absl::StatusOr<std::string> ReadWhole(FileSystem& files,
                                             const std::string& path) {
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file, files.Open(path));
  std::string bytes(static_cast<size_t>(file->size_bytes()), '\0');
  ACCRUE_RETURN_IF_ERROR(file->Read(
      0, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()}));
  return bytes;
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_FILE_BYTES_H_
