// CheckpointFiles: a checkpoint while it is written. It has a temporary name
// until it is whole and durable: whenever the machine stops, it is there as a
// whole, or not at all.
//
//   auto files = CheckpointFiles::Create(...);
//   files->BeginFile(kStateFile, header);          // [arrays' files]
//   files->BeginArray(StateArray::kMomentum);
//   files->AppendPiece(runs);                      // each piece, in order
//   files->EndFile();
//   files->BeginHeld();  files->AppendHeld(payload);  files->EndFile();
//   files->Commit(manifest);
//
// Errors.    the disk's: nothing more can be done with it but destroy it.
// Threading. compatible. Functions, the destructor too, block for as long as
//            the disk does.
#ifndef ACCRUE_SERVER_DURABILITY_CHECKPOINT_FILES_H_
#define ACCRUE_SERVER_DURABILITY_CHECKPOINT_FILES_H_

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
  // Removes what was not committed.
  ~CheckpointFiles();

  using Bytes = WritableFile::Bytes;

  absl::Status BeginFile(const std::string& name, const std::string& header);
  void BeginArray(StateArray array);
  absl::Status AppendPiece(absl::Span<const Bytes> runs);

  absl::Status BeginHeld();
  absl::Status AppendHeld(const ByteChain& payload);

  absl::Status EndFile();

  // Instead of all that: the files of another checkpoint, `path`, whose
  // manifest is `from`.
  absl::Status Link(const std::string& path, const Manifest& from);

  // Completes `manifest`, which says all but what the files are, and gives the
  // checkpoint its name. ALREADY_EXISTS: another one has it.
  absl::Status Commit(Manifest& manifest);

 private:
  CheckpointFiles(FileSystem* files, std::string directory);

  absl::Status Open(const std::string& name);
  absl::Status WriteManifestFile(const Manifest& manifest);
  absl::Status MoveIntoPlace(const std::string& name);

  FileSystem* const files_;
  const std::string directory_;
  const std::string temporary_;  // path
  bool committed_ = false;
  std::unique_ptr<WritableFile> file_;  // that is written now
  std::vector<ArrayFile> array_files_;
  std::vector<uint64_t> held_hashes_;
};

// The header of a model's file of `arrays`; that of kParameters has the
// spec's own names.
std::string ArrayFileHeader(const ModelSpec& spec,
                            absl::Span<const StateArray> arrays);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHECKPOINT_FILES_H_
