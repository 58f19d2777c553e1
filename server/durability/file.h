// FileSystem: the little of a POSIX file system that durability needs, behind
// an interface, so that tests can let disks fail and forget.
//
// Order.     what was appended is durable after Sync. A file's name (made,
//            renamed, linked, removed) is durable after SyncDirectory of the
//            directory that holds it. All calls may block for as long as the
//            disk does.
// Modes.     what is made, by this process's user alone is read and written.
// Errors.    what was asked, the path, and the system's words, in the message;
//            NOT_FOUND: no such file; ALREADY_EXISTS; RESOURCE_EXHAUSTED: no
//            space, or quota; FAILED_PRECONDITION: read-only, not permitted,
//            locked by another process; OUT_OF_RANGE: read beyond the end;
//            UNAVAILABLE: anything else, a failing disk above all.
// Threading. FileSystem: safe. Files: compatible; reads of one file may run at
//            the same time.
#ifndef ACCRUE_SERVER_DURABILITY_FILE_H_
#define ACCRUE_SERVER_DURABILITY_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace accrue {

class WritableFile {
 public:
  // Closes; what was not synced may or may not be kept.
  virtual ~WritableFile() = default;

  using Bytes = absl::Span<const std::byte>;
  // Writes all of `pieces`, in order, behind the file's end. On an error any
  // part of them may have been written.
  virtual absl::Status Append(absl::Span<const Bytes> pieces) = 0;
  // Overwrites bytes [offset, offset + bytes.size()), which exist.
  virtual absl::Status Overwrite(int64_t offset, Bytes bytes) = 0;
  // Once it has failed, nobody knows what is durable of what was written since
  // the last success, and another call will not tell.
  virtual absl::Status Sync() = 0;
  // Cuts the file's end off.
  virtual absl::Status Truncate(int64_t size_bytes) = 0;
  virtual int64_t size_bytes() const = 0;
};

class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  // Fills `out` with the bytes from `offset` on.
  virtual absl::Status Read(int64_t offset,
                            absl::Span<std::byte> out) const = 0;
  virtual int64_t size_bytes() const = 0;  // when it was opened
};

// What keeps other processes out of a directory, while it lives.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() = default;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // ALREADY_EXISTS: never opens what is there.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) = 0;
  // To go on writing behind its end.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Reopen(
      const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> Open(
      const std::string& path) = 0;

  virtual absl::Status CreateDirectory(const std::string& path) = 0;
  // Replaces a file, but no directory with anything in it.
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;
  // Another name for the same file.
  virtual absl::Status Link(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;  // a file
  // And all that is in it. OK if there is none.
  virtual absl::Status RemoveDirectory(const std::string& path) = 0;
  virtual absl::Status SyncDirectory(const std::string& path) = 0;

  // Names, sorted, without "." and "..".
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) const = 0;
  // FAILED_PRECONDITION: another process has it.
  virtual absl::StatusOr<std::unique_ptr<DirectoryLock>> Lock(
      const std::string& directory) = 0;

  // Another each time that the machine starts: what was not synced under
  // another may be older than it was. Empty: nobody knows.
  virtual std::string BootId() const = 0;
};

// The machine's.
FileSystem* PosixFileSystem();

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_FILE_H_
