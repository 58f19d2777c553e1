// LocalFile: files of this machine, read whole or replaced whole.
//
// Errors.    FileError, with the path and the system's reason

#ifndef ACCRUE_CLIENT_CTL_LOCAL_FILE_H_
#define ACCRUE_CLIENT_CTL_LOCAL_FILE_H_

#include <cstddef>
#include <cstdint>
#include <istream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace accrue::ctl {

// A text file, or, for "-", what `standard_input` has. At most 64 MiB.
absl::StatusOr<std::string> ReadTextFile(const std::string& path,
                                         std::istream& standard_input);

// Memory that shows a file.
class MappedBytes {
 public:
  MappedBytes() = default;
  MappedBytes(std::byte* data, size_t size_bytes)
      : data_(data), size_bytes_(size_bytes) {}
  MappedBytes(MappedBytes&& other) noexcept;
  MappedBytes& operator=(MappedBytes&& other) noexcept;
  ~MappedBytes();

  absl::Span<std::byte> bytes() const { return {data_, size_bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

// A file to read. It must not shrink meanwhile.
absl::StatusOr<MappedBytes> MapFile(const std::string& path);

// A file to write: a nameless one that takes the place of `path`, whole and
// durable, at Commit(), and goes away without one, however the program ends.
// (On file systems that have no nameless files it has a name beside `path`
// meanwhile, which a program that is killed leaves there.)
class FileReplacement {
 public:
  // All space is allotted here, so that a full disk is found now. A symbolic
  // link stays, what it leads to is replaced. FileError also if there is
  // anything but an ordinary file: a folder, a device, a pipe.
  static absl::StatusOr<FileReplacement> Create(const std::string& path,
                                                int64_t size_bytes);
  FileReplacement(FileReplacement&& other) noexcept;
  FileReplacement& operator=(FileReplacement&&) = delete;
  ~FileReplacement();

  absl::Span<std::byte> bytes() const { return mapped_.bytes(); }
  absl::Status Commit();

 private:
  explicit FileReplacement(std::string path)
      : path_(std::move(path)), fd_(-1) {}
  absl::Status Open();
  absl::Status Allot(int64_t size_bytes);
  // Gives a nameless file its temporary name.
  absl::Status Link();

  std::string path_;            // no symbolic link
  std::string temporary_path_;  // empty: it has no name
  int fd_;
  MappedBytes mapped_;
};

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_LOCAL_FILE_H_
