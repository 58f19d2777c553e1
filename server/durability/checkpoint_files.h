// CheckpointFiles: a checkpoint while it is written. It has a temporary name
// until it is whole and durable: whenever the machine stops, it is there as a
// whole, or not at all.
//
//   auto files = CheckpointFiles::Create(...);
//   auto arrays = files->BeginArrays(kStateFile, header);  // [files of arrays]
//   arrays->BeginArray(StateArray::kMomentum);
//   arrays->AppendPiece(runs, hash);                 // each piece, in order
//   arrays->End();
//   files->BeginHeld();  files->AppendHeld(payload);  files->EndHeld();
//   files->Commit(manifest);
//
// Files of arrays may be written side by side.
//
// Errors.    the disk's: nothing more can be done with it but destroy it.
// Threading. compatible. Functions, the destructor too, block for as long as
//            the disk does.
#ifndef ACCRUE_SERVER_DURABILITY_CHECKPOINT_FILES_H_
#define ACCRUE_SERVER_DURABILITY_CHECKPOINT_FILES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/byte_chain.h"
#include "server/durability/file.h"
#include "server/durability/manifest.h"

namespace accrue {

class CheckpointFiles {
 public:
  // Of the model whose checkpoints are in `directory`, which is there.
  static absl::StatusOr<std::unique_ptr<CheckpointFiles>> Create(
      FileSystem* files, std::string directory);
  // Removes what was not committed; unless a power cut might still make a
  // checkpoint of it, which then is whole. The next start does.
  ~CheckpointFiles();

  using Bytes = WritableFile::Bytes;

  class Arrays {
   public:
    void BeginArray(StateArray array);
    // `hash`: XXH3-64 of all runs, one behind the other.
    absl::Status AppendPiece(absl::Span<const Bytes> runs, uint64_t hash);
    absl::Status End();

   private:
    friend class CheckpointFiles;
    CheckpointFiles* checkpoint_ = nullptr;
    std::unique_ptr<WritableFile> file_;
    ArrayFile facts_;
  };
  absl::StatusOr<std::unique_ptr<Arrays>> BeginArrays(
      const std::string& name, const std::string& header);

  absl::Status BeginHeld();
  absl::Status AppendHeld(const ByteChain& payload);
  absl::Status EndHeld();

  // Instead of all that: the files of another checkpoint, `path`, whose
  // manifest is `from`.
  absl::Status Link(const std::string& path, const Manifest& from);

  // Completes `manifest`, which says all but what the files are, and gives the
  // checkpoint its name. ALREADY_EXISTS: another one has it.
  absl::Status Commit(Manifest& manifest);

 private:
  CheckpointFiles(FileSystem* files, std::string directory);

  absl::StatusOr<std::unique_ptr<WritableFile>> Open(
      const std::string& name) const;
  absl::Status WriteManifestFile(const Manifest& manifest);
  absl::Status MoveIntoPlace(const std::string& name);

  FileSystem* const files_;
  const std::string directory_;
  const std::string temporary_;  // path
  bool removable_ = true;        // what is at temporary_, if there is anything
  std::vector<ArrayFile> array_files_;  // that have ended
  std::unique_ptr<WritableFile> held_file_;
  std::vector<uint64_t> held_hashes_;
};

// The header of a model's file of `arrays`; that of kParameters has the
// spec's own names.
std::string ArrayFileHeader(const ModelSpec& spec,
                            absl::Span<const StateArray> arrays);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHECKPOINT_FILES_H_
