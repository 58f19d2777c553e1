#include "server/durability/checkpoint_files.h"

#include <string_view>
#include <utility>
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "server/base/fail_point.h"
#include "server/base/status_macros.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/enum_names.h"
#include "server/durability/safetensors.h"
#include "server/kernels/payload_hash.h"

namespace accrue {
namespace {

WritableFile::Bytes BytesOf(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string StoredName(StateArray array, const std::string& tensor) {
  if (array == StateArray::kParameters) {
    // The only name that the format has kept for itself.
    return tensor == kSafetensorsMetadataKey ? absl::StrCat(tensor, "/")
                                             : tensor;
  }
  const std::string_view name =
      EnumNames<StateArray>[static_cast<size_t>(array)];
  return absl::StrCat(absl::string_view(name.data(), name.size()), "/", tensor);
}

}  // namespace

std::string ArrayFileHeader(const ModelSpec& spec,
                            absl::Span<const StateArray> arrays) {
  std::vector<NamedShape> tensors;
  for (const StateArray array : arrays) {
    for (const TensorSpec& tensor : spec.tensors) {
      tensors.push_back({StoredName(array, tensor.name), tensor.shape});
    }
  }
  // "format" is what some of PyTorch's loaders insist on.
  return SafetensorsHeader(tensors, {{"format", "pt"}, {"model", spec.name}});
}

CheckpointFiles::CheckpointFiles(FileSystem* files, std::string directory)
    : files_(files),
      directory_(std::move(directory)),
      temporary_(absl::StrCat(directory_, "/", TemporaryName())) {}

absl::StatusOr<std::unique_ptr<CheckpointFiles>> CheckpointFiles::Create(
    FileSystem* files, std::string directory) {
  std::unique_ptr<CheckpointFiles> made(
      new CheckpointFiles(files, std::move(directory)));
  ACCRUE_RETURN_IF_ERROR(files->CreateDirectory(made->temporary_));
  return made;
}

CheckpointFiles::~CheckpointFiles() {
  file_.reset();
  // What cannot be removed now is a leftover of the next start.
  if (!committed_) files_->RemoveDirectory(temporary_).IgnoreError();
}

absl::Status CheckpointFiles::Open(const std::string& name) {
  ACCRUE_ASSIGN_OR_RETURN(file_,
                          files_->Create(absl::StrCat(temporary_, "/", name)));
  return absl::OkStatus();
}

absl::Status CheckpointFiles::BeginFile(const std::string& name,
                                        const std::string& header) {
  ACCRUE_RETURN_IF_ERROR(Open(name));
  ArrayFile& file = array_files_.emplace_back();
  file.name = name;
  file.header_bytes = static_cast<int64_t>(header.size());
  file.size_bytes = file.header_bytes;
  file.header_hash = XXH3_64bits(header.data(), header.size());
  return file_->Append({BytesOf(header)});
}

void CheckpointFiles::BeginArray(StateArray array) {
  array_files_.back().arrays.emplace_back().array = array;
}

absl::Status CheckpointFiles::AppendPiece(absl::Span<const Bytes> runs) {
  ArrayFile& file = array_files_.back();
  kernels::PayloadHash hash;
  for (const Bytes& run : runs) {
    hash.Update(run.data(), static_cast<int64_t>(run.size()));
    file.size_bytes += static_cast<int64_t>(run.size());
  }
  file.arrays.back().piece_hashes.push_back(hash.Digest());
  return file_->Append(runs);
}

absl::Status CheckpointFiles::BeginHeld() { return Open(kHeldFile); }

absl::Status CheckpointFiles::AppendHeld(const ByteChain& payload) {
  kernels::PayloadHash hash;
  std::vector<Bytes> pieces;
  for (const ByteChain::Span& span : payload.spans()) {
    hash.Update(span.data, span.size);
    pieces.emplace_back(span.data, static_cast<size_t>(span.size));
  }
  held_hashes_.push_back(hash.Digest());
  return file_->Append(pieces);
}

absl::Status CheckpointFiles::EndFile() {
  ACCRUE_RETURN_IF_ERROR(file_->Sync());
  file_.reset();
  return absl::OkStatus();
}

absl::Status CheckpointFiles::WriteManifestFile(const Manifest& manifest) {
  ACCRUE_ASSIGN_OR_RETURN(const std::string text, WriteManifest(manifest));
  // What could not be read back is refused now, while the model still lives.
  ACCRUE_RETURN_IF_ERROR(ParseManifest(text).status());
  ACCRUE_RETURN_IF_ERROR(Open(kManifestFile));
  ACCRUE_RETURN_IF_ERROR(file_->Append({BytesOf(text)}));
  ACCRUE_RETURN_IF_ERROR(file_->Sync());
  file_.reset();
  return files_->SyncDirectory(temporary_);
}

absl::Status CheckpointFiles::MoveIntoPlace(const std::string& name) {
  const std::string path = absl::StrCat(directory_, "/", name);
  ACCRUE_RETURN_IF_ERROR(files_->Rename(temporary_, path));
  AtFailPoint(FailPoint::kCheckpointRenamed);
  absl::Status synced = files_->SyncDirectory(directory_);
  // Nobody may take for durable what perhaps is not.
  if (!synced.ok()) files_->Rename(path, temporary_).IgnoreError();
  return synced;
}

absl::Status CheckpointFiles::Link(const std::string& path,
                                   const Manifest& from) {
  std::vector<std::string> names;
  for (const ArrayFile& file : from.files) names.push_back(file.name);
  if (!from.held_hashes.empty()) names.emplace_back(kHeldFile);
  for (const std::string& name : names) {
    ACCRUE_RETURN_IF_ERROR(files_->Link(absl::StrCat(path, "/", name),
                                        absl::StrCat(temporary_, "/", name)));
  }
  array_files_ = from.files;
  held_hashes_ = from.held_hashes;
  return absl::OkStatus();
}

absl::Status CheckpointFiles::Commit(Manifest& manifest) {
  manifest.files = std::move(array_files_);
  manifest.held_hashes = std::move(held_hashes_);
  AtFailPoint(FailPoint::kCheckpointHalfWritten);
  ACCRUE_RETURN_IF_ERROR(WriteManifestFile(manifest));
  AtFailPoint(FailPoint::kCheckpointWritten);
  ACCRUE_RETURN_IF_ERROR(MoveIntoPlace(CheckpointName(manifest.lsn)));
  committed_ = true;
  AtFailPoint(FailPoint::kCheckpointFinished);
  return absl::OkStatus();
}

}  // namespace accrue
