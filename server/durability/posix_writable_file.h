// PosixWritableFile: a file of the system's, written at its end.
//
// What is appended in large amounts goes to the disk past the system's cache of
// files, where the file system can do that: nobody reads it before a restart,
// and its way through the cache costs a copy into pages that are often fresh
// (on the build machine 0.4 to 2.6 GB/s, and a core; past it 2.5 GB/s and next
// to nothing).
//
// Memory.    of what is not aligned to kDirectAlignment, a copy of a step's
//            size, from Append until Sync.
// Errors, Threading. WritableFile's.
#ifndef ACCRUE_SERVER_DURABILITY_POSIX_WRITABLE_FILE_H_
#define ACCRUE_SERVER_DURABILITY_POSIX_WRITABLE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/durability/file.h"
#include "server/durability/posix_descriptor.h"

namespace accrue {

class PosixWritableFile final : public WritableFile {
 public:
  // `path`: for errors.
  PosixWritableFile(Descriptor file, std::string path, int64_t size_bytes);
  ~PosixWritableFile() override;

  absl::Status Append(absl::Span<const Bytes> pieces) override;
  absl::Status Overwrite(int64_t offset, Bytes bytes) override;
  absl::Status Sync() override;
  absl::Status Truncate(int64_t size_bytes) override;
  int64_t size_bytes() const override { return size_; }

 private:
  class Rest;  // of an Append's pieces
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  // At the file's end. How many bytes were written, at least one.
  absl::StatusOr<int64_t> WriteCached(const Rest& rest, int64_t most_bytes);
  absl::StatusOr<int64_t> WriteDirect(const Rest& rest);
  // Whole sectors of `rest`, that begin at an aligned address; empty: there is
  // no memory for a copy.
  Bytes Aligned(const Rest& rest);
  void StartWriteOut();

  const Descriptor file_;
  const std::string path_;
  int64_t size_;
  bool can_direct_ = true;  // as far as is known
  std::unique_ptr<std::byte[], Free> copy_;
  int64_t handed_over_ = 0;  // bytes whose way to the disk was begun
  int64_t given_back_ = 0;   // bytes whose memory was
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_POSIX_WRITABLE_FILE_H_
