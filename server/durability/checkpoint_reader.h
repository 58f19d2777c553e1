// CheckpointReader: a checkpoint on disk, as the state that a model begins
// with. Every byte is checked against the manifest's hashes before it is used.
//
// Errors.    DATA_LOSS kDamaged: which file, and which of its bytes, are not
//            what was written; or one is not there. FAILED_PRECONDITION: of
//            another format. Else the disk's.
// Threading. safe. Functions block for as long as the disk does.
#ifndef ACCRUE_SERVER_DURABILITY_CHECKPOINT_READER_H_
#define ACCRUE_SERVER_DURABILITY_CHECKPOINT_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/durability/file.h"
#include "server/durability/manifest.h"
#include "server/model/training_state.h"

namespace accrue {

class CheckpointReader : public StateSource {
 public:
  // `path`: the checkpoint's directory. Looks at the manifest, at the sizes of
  // all files, and at their headers.
  static absl::StatusOr<std::unique_ptr<CheckpointReader>> Open(
      FileSystem& files, const std::string& path);

  const std::string& path() const { return path_; }
  const Manifest& manifest() const { return manifest_; }
  int64_t elems() const { return elems_; }

  const TrainingState& state() const override { return manifest_.state; }
  bool Has(StateArray array) const override { return arrays_.contains(array); }
  absl::Status Read(StateArray array, int64_t piece,
                    absl::Span<float> out) const override;
  absl::StatusOr<ByteChain> ReadHeld(int64_t index) const override;

  // Reads everything.
  absl::Status Verify() const;

 private:
  struct Place {
    const ReadableFile* file = nullptr;
    const ArrayFile* stored = nullptr;
    const StoredArray* array = nullptr;
    int64_t offset = 0;  // bytes
  };

  CheckpointReader(std::string path, Manifest manifest);
  absl::Status OpenFiles(FileSystem& files);
  absl::StatusOr<const ReadableFile*> OpenFile(FileSystem& files,
                                               const std::string& name,
                                               int64_t size_bytes);
  absl::Status CheckHeader(const ReadableFile& file,
                           const ArrayFile& stored) const;
  // Fills `out` and hashes it.
  absl::StatusOr<uint64_t> ReadRange(const ReadableFile& file,
                                     const std::string& name, int64_t offset,
                                     absl::Span<std::byte> out) const;
  absl::Status Damaged(const std::string& name, absl::string_view what) const;
  absl::Status DamagedRange(const std::string& name, int64_t offset,
                            int64_t size_bytes) const;

  const std::string path_;
  const Manifest manifest_;
  int64_t elems_ = 0;
  std::vector<std::unique_ptr<ReadableFile>> open_;
  std::map<StateArray, Place> arrays_;
  const ReadableFile* held_ = nullptr;
  std::vector<int64_t> held_offsets_;
};

// Empty if the specs are equal; else where they first differ:
// "/groups/0/k".
std::string SpecDifference(const ModelSpec& a, const ModelSpec& b);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHECKPOINT_READER_H_
