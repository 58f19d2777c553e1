#include "server/durability/checkpoint_files.h"

#include <algorithm>
#include <iterator>
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
  held_file_.reset();
  // What cannot be removed now is a leftover of the next start.
  if (removable_) files_->RemoveDirectory(temporary_).IgnoreError();
}

absl::StatusOr<std::unique_ptr<WritableFile>> CheckpointFiles::Open(
    const std::string& name) const {
  return files_->Create(absl::StrCat(temporary_, "/", name));
}

absl::StatusOr<std::unique_ptr<CheckpointFiles::Arrays>>
CheckpointFiles::BeginArrays(const std::string& name,
                             const std::string& header) {
  auto arrays = std::make_unique<Arrays>();
  arrays->checkpoint_ = this;
  ACCRUE_ASSIGN_OR_RETURN(arrays->file_, Open(name));
  ArrayFile& facts = arrays->facts_;
  facts.name = name;
  facts.header_bytes = static_cast<int64_t>(header.size());
  facts.size_bytes = facts.header_bytes;
  facts.header_hash = XXH3_64bits(header.data(), header.size());
  ACCRUE_RETURN_IF_ERROR(arrays->file_->Append({BytesOf(header)}));
  return arrays;
}

void CheckpointFiles::Arrays::BeginArray(StateArray array) {
  facts_.arrays.emplace_back().array = array;
}

absl::Status CheckpointFiles::Arrays::AppendPiece(absl::Span<const Bytes> runs,
                                                  uint64_t hash) {
  for (const Bytes& run : runs) facts_.size_bytes += std::ssize(run);
  facts_.arrays.back().piece_hashes.push_back(hash);
  return file_->Append(runs);
}

absl::Status CheckpointFiles::Arrays::End() {
  ACCRUE_RETURN_IF_ERROR(file_->Sync());
  file_.reset();
  checkpoint_->array_files_.push_back(std::move(facts_));
  return absl::OkStatus();
}

absl::Status CheckpointFiles::BeginHeld() {
  ACCRUE_ASSIGN_OR_RETURN(held_file_, Open(kHeldFile));
  return absl::OkStatus();
}

absl::Status CheckpointFiles::AppendHeld(const ByteChain& payload) {
  kernels::PayloadHash hash;
  std::vector<Bytes> pieces;
  for (const ByteChain::Span& span : payload.spans()) {
    hash.Update(span.data, span.size);
    pieces.emplace_back(span.data, static_cast<size_t>(span.size));
  }
  held_hashes_.push_back(hash.Digest());
  return held_file_->Append(pieces);
}

absl::Status CheckpointFiles::EndHeld() {
  ACCRUE_RETURN_IF_ERROR(held_file_->Sync());
  held_file_.reset();
  return absl::OkStatus();
}

absl::Status CheckpointFiles::WriteManifestFile(const Manifest& manifest) {
  ACCRUE_ASSIGN_OR_RETURN(const std::string text, WriteManifest(manifest));
  // What could not be read back is refused now, while the model still lives.
  ACCRUE_RETURN_IF_ERROR(ParseManifest(text).status());
  ACCRUE_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file,
                          Open(kManifestFile));
  ACCRUE_RETURN_IF_ERROR(file->Append({BytesOf(text)}));
  ACCRUE_RETURN_IF_ERROR(file->Sync());
  return files_->SyncDirectory(temporary_);
}

absl::Status CheckpointFiles::MoveIntoPlace(const std::string& name) {
  const std::string path = absl::StrCat(directory_, "/", name);
  ACCRUE_RETURN_IF_ERROR(files_->Rename(temporary_, path));
  removable_ = false;
  AtFailPoint(FailPoint::kCheckpointRenamed);
  absl::Status synced = files_->SyncDirectory(directory_);
  if (synced.ok()) return synced;
  // Nobody may take for durable what perhaps is not. Nor may the disk keep the
  // name, and not all of the files.
  removable_ = files_->Rename(path, temporary_).ok() &&
               files_->SyncDirectory(directory_).ok();
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
  // They may have ended in any order.
  std::sort(
      array_files_.begin(), array_files_.end(),
      [](const ArrayFile& a, const ArrayFile& b) { return a.name < b.name; });
  manifest.files = std::move(array_files_);
  manifest.held_hashes = std::move(held_hashes_);
  AtFailPoint(FailPoint::kCheckpointHalfWritten);
  ACCRUE_RETURN_IF_ERROR(WriteManifestFile(manifest));
  AtFailPoint(FailPoint::kCheckpointWritten);
  ACCRUE_RETURN_IF_ERROR(MoveIntoPlace(CheckpointName(manifest.lsn)));
  AtFailPoint(FailPoint::kCheckpointFinished);
  return absl::OkStatus();
}

}  // namespace accrue
