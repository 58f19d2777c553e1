#include "server/durability/checkpoint_reader.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/json_fields.h"
#include "server/kernels/payload_hash.h"
#include "server/model/kept_copy.h"

namespace accrue {
namespace {

static_assert(std::endian::native == std::endian::little,
              "arrays are stored as they lie in memory");

constexpr int64_t kFloatBytes = sizeof(float);

absl::Span<std::byte> BytesOf(absl::Span<float> floats) {
  return {reinterpret_cast<std::byte*>(floats.data()),
          floats.size() * kFloatBytes};
}

}  // namespace

CheckpointReader::CheckpointReader(std::string path, Manifest manifest)
    : path_(std::move(path)), manifest_(std::move(manifest)) {
  for (const TensorSpec& tensor : manifest_.spec.tensors) {
    elems_ += ElementCount(tensor);
  }
}

absl::StatusOr<std::unique_ptr<CheckpointReader>> CheckpointReader::Open(
    FileSystem& files, const std::string& path) {
  ACCRUE_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(files, path));
  std::unique_ptr<CheckpointReader> reader(
      new CheckpointReader(path, std::move(manifest)));
  ACCRUE_RETURN_IF_ERROR(reader->OpenFiles(files));
  return reader;
}

absl::Status CheckpointReader::OpenFiles(FileSystem& files) {
  for (const ArrayFile& stored : manifest_.files) {
    ACCRUE_ASSIGN_OR_RETURN(const ReadableFile* file,
                            OpenFile(files, stored.name, stored.size_bytes));
    ACCRUE_RETURN_IF_ERROR(CheckHeader(*file, stored));
    int64_t offset = stored.header_bytes;
    for (const StoredArray& array : stored.arrays) {
      arrays_[array.array] = {file, &stored, &array, offset};
      offset += elems_ * kFloatBytes;
    }
  }
  if (manifest_.state.held.empty()) return absl::OkStatus();
  int64_t offset = 0;
  for (const HeldPushState& held : manifest_.state.held) {
    held_offsets_.push_back(offset);
    offset += held.payload_bytes;
  }
  ACCRUE_ASSIGN_OR_RETURN(held_, OpenFile(files, kHeldFile, offset));
  return absl::OkStatus();
}

absl::StatusOr<const ReadableFile*> CheckpointReader::OpenFile(
    FileSystem& files, const std::string& name, int64_t size_bytes) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> file =
      files.Open(absl::StrCat(path_, "/", name));
  if (absl::IsNotFound(file.status())) return Damaged(name, "is not there");
  ACCRUE_RETURN_IF_ERROR(file.status());
  if ((*file)->size_bytes() != size_bytes) {
    return Damaged(
        name, absl::StrCat((*file)->size_bytes(), " bytes, want ", size_bytes));
  }
  open_.push_back(*std::move(file));
  return open_.back().get();
}

absl::Status CheckpointReader::CheckHeader(const ReadableFile& file,
                                           const ArrayFile& stored) const {
  std::vector<std::byte> header(static_cast<size_t>(stored.header_bytes));
  ACCRUE_ASSIGN_OR_RETURN(
      const uint64_t hash,
      ReadRange(file, stored.name, 0, absl::MakeSpan(header)));
  if (hash == stored.header_hash) return absl::OkStatus();
  return DamagedRange(stored.name, 0, stored.header_bytes);
}

absl::StatusOr<uint64_t> CheckpointReader::ReadRange(
    const ReadableFile& file, const std::string& name, int64_t offset,
    absl::Span<std::byte> out) const {
  const absl::Status read = file.Read(offset, out);
  if (absl::IsOutOfRange(read)) {
    return DamagedRange(name, offset, static_cast<int64_t>(out.size()));
  }
  ACCRUE_RETURN_IF_ERROR(read);
  return XXH3_64bits(out.data(), out.size());
}

absl::Status CheckpointReader::Damaged(const std::string& name,
                                       absl::string_view what) const {
  return MakeError(absl::StatusCode::kDataLoss, Reason::kDamaged,
                   absl::StrCat("\"", path_, "/", name, "\": ", what));
}

absl::Status CheckpointReader::DamagedRange(const std::string& name,
                                            int64_t offset,
                                            int64_t size_bytes) const {
  return Damaged(name,
                 absl::StrCat("bytes [", offset, ", ", offset + size_bytes,
                              ") are not what was written"));
}

absl::Status CheckpointReader::Read(StateArray array, int64_t piece,
                                    absl::Span<float> out) const {
  const int64_t begin = piece * kStatePieceElems;
  const auto count = static_cast<int64_t>(out.size());
  if (piece < 0 || piece >= PieceCount(elems_) ||
      count != std::min(kStatePieceElems, elems_ - begin)) {
    return absl::InternalError(
        absl::StrCat("piece ", piece, " of ", count, " elements"));
  }
  const auto found = arrays_.find(array);
  if (found == arrays_.end()) {
    std::fill(out.begin(), out.end(), 0.0f);
    return absl::OkStatus();
  }
  const Place& place = found->second;
  const int64_t offset = place.offset + begin * kFloatBytes;
  ACCRUE_ASSIGN_OR_RETURN(
      const uint64_t hash,
      ReadRange(*place.file, place.stored->name, offset, BytesOf(out)));
  if (hash == place.array->piece_hashes[piece]) return absl::OkStatus();
  return DamagedRange(place.stored->name, offset, count * kFloatBytes);
}

absl::StatusOr<ByteChain> CheckpointReader::ReadHeld(int64_t index) const {
  const int64_t size = manifest_.state.held[index].payload_bytes;
  const int64_t offset = held_offsets_[index];
  KeptCopy copy(size);
  kernels::PayloadHash hash;
  std::vector<std::byte> step(
      static_cast<size_t>(std::min(size, KeptCopy::kPieceBytes)));
  while (copy.size_bytes() < size) {
    const int64_t count =
        std::min(static_cast<int64_t>(step.size()), size - copy.size_bytes());
    const absl::Status read =
        ReadRange(*held_, kHeldFile, offset + copy.size_bytes(),
                  absl::MakeSpan(step).first(count))
            .status();
    ACCRUE_RETURN_IF_ERROR(read);
    hash.Update(step.data(), count);
    copy.Append(step.data(), count);
  }
  if (hash.Digest() != manifest_.held_hashes[index]) {
    return DamagedRange(kHeldFile, offset, size);
  }
  return copy.Take();
}

absl::Status CheckpointReader::Verify() const {
  std::vector<float> piece(std::min(kStatePieceElems, elems_));
  for (const auto& [array, place] : arrays_) {
    for (int64_t i = 0; i < PieceCount(elems_); ++i) {
      const int64_t count =
          std::min(kStatePieceElems, elems_ - i * kStatePieceElems);
      ACCRUE_RETURN_IF_ERROR(
          Read(array, i, absl::MakeSpan(piece).first(count)));
    }
  }
  for (size_t i = 0; i < held_offsets_.size(); ++i) {
    ACCRUE_RETURN_IF_ERROR(ReadHeld(static_cast<int64_t>(i)).status());
  }
  return absl::OkStatus();
}

std::string SpecDifference(const ModelSpec& a, const ModelSpec& b) {
  if (a == b) return "";
  const Json difference = Json::diff(ToJson(a), ToJson(b));
  return difference.empty() ? "/" : difference[0]["path"].get<std::string>();
}

}  // namespace accrue
