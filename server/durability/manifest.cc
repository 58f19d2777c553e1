#include "server/durability/manifest.h"

#include <algorithm>
#include <set>
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/durability/json_fields.h"
#include "server/durability/json_text.h"
#include "server/durability/state_check.h"

namespace accrue {
namespace {

constexpr JsonLimits kManifestLimits = {.max_depth = 12,
                                        .max_values = int64_t{1} << 24};

// The text's end, with the digits of the hash of all before them between.
constexpr char kHashKey[] = "xxh3";
constexpr char kBeforeHash[] = ",\n \"xxh3\": \"";
constexpr char kBehindHash[] = "\"\n}\n";
constexpr size_t kHashDigits = 16;

std::string HashText(absl::string_view bytes) {
  return absl::StrCat(
      absl::Hex(XXH3_64bits(bytes.data(), bytes.size()), absl::kZeroPad16));
}

absl::Status Damaged(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, Reason::kDamaged,
                   absl::StrCat(kManifestFile, ": ", what));
}

absl::Status CheckHash(absl::string_view text) {
  absl::string_view rest = text;
  if (!absl::ConsumeSuffix(&rest, kBehindHash) || rest.size() < kHashDigits) {
    return Damaged("is cut off");
  }
  const absl::string_view hashed = rest.substr(0, rest.size() - kHashDigits);
  if (HashText(hashed) != rest.substr(hashed.size())) {
    return Damaged(absl::StrCat("its ", hashed.size(),
                                " bytes do not have the hash at its end"));
  }
  return absl::OkStatus();
}

absl::Status CheckFile(const ArrayFile& file, int64_t elems,
                       std::set<StateArray>& arrays) {
  const bool has_parameters = file.name == kParametersFile;
  if (!has_parameters && file.name != kStateFile) {
    return Damaged(absl::StrCat("names an unknown file \"", file.name, "\""));
  }
  for (const StoredArray& array : file.arrays) {
    if ((array.array == StateArray::kParameters) != has_parameters ||
        !arrays.insert(array.array).second) {
      return Damaged("an array is in the wrong file, or twice");
    }
    if (static_cast<int64_t>(array.piece_hashes.size()) != PieceCount(elems)) {
      return Damaged(absl::StrCat(array.piece_hashes.size(),
                                  " pieces of an array, want ",
                                  PieceCount(elems)));
    }
  }
  const int64_t array_bytes = static_cast<int64_t>(file.arrays.size()) * elems *
                              static_cast<int64_t>(sizeof(float));
  if (file.arrays.empty() || file.header_bytes < 1 ||
      file.size_bytes < array_bytes ||
      file.size_bytes - array_bytes != file.header_bytes) {
    return Damaged(absl::StrCat("sizes of ", file.name, " that do not fit"));
  }
  return absl::OkStatus();
}

absl::Status CheckFiles(const Manifest& manifest) {
  int64_t elems = 0;
  for (const TensorSpec& tensor : manifest.spec.tensors) {
    elems += ElementCount(tensor);
  }
  std::set<StateArray> arrays;
  for (const ArrayFile& file : manifest.files) {
    ACCRUE_RETURN_IF_ERROR(CheckFile(file, elems, arrays));
  }
  const TrainingState& state = manifest.state;
  if (arrays.contains(StateArray::kParameters) != state.version.has_value()) {
    return Damaged("a version without parameters, or parameters without one");
  }
  const bool looks_ahead =
      std::any_of(state.groups.begin(), state.groups.end(),
                  [](const GroupState& group) { return group.looks_ahead; });
  if (looks_ahead && !arrays.contains(StateArray::kLookAhead)) {
    return Damaged("a group looks ahead, but the array is missing");
  }
  if (manifest.held_hashes.size() != state.held.size()) {
    return Damaged(absl::StrCat(manifest.held_hashes.size(),
                                " hashes of payloads, want ",
                                state.held.size()));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t HeldBytes(const std::vector<HeldPushState>& held) {
  int64_t bytes = 0;
  for (const HeldPushState& push : held) bytes += push.payload_bytes;
  return bytes;
}

int64_t PieceCount(int64_t elems) {
  return (elems + kStatePieceElems - 1) / kStatePieceElems;
}

absl::StatusOr<std::string> WriteManifest(const Manifest& manifest) {
  std::string text =
      ToJson(manifest).dump(1, ' ', false, Json::error_handler_t::replace);
  text.resize(text.size() - 2);  // "\n}"
  text += kBeforeHash;
  text += HashText(text);
  text += kBehindHash;
  if (static_cast<int64_t>(text.size()) > kLargestManifest) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kManifestFile, ": ", text.size(), " bytes, at most ",
                     kLargestManifest));
  }
  return text;
}

absl::StatusOr<Manifest> ParseManifest(absl::string_view text) {
  ACCRUE_RETURN_IF_ERROR(CheckHash(text));
  absl::StatusOr<Json> json = ParseJson(text, kManifestLimits);
  if (!json.ok()) return Damaged(json.status().message());
  if (!json->is_object()) return Damaged("is no object");
  json->erase(kHashKey);
  // First: a later format may have other fields.
  const auto format = json->find("format");
  if (format != json->end() && *format != kCheckpointFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat(kManifestFile, ": is of another format than ",
                     kCheckpointFormat, ", which this program knows"));
  }
  Manifest manifest;
  absl::Status status = FromJson(*json, &manifest);
  if (status.ok()) status = ValidateSpec(manifest.spec, {});
  if (status.ok()) status = CheckState(manifest.state, manifest.spec);
  if (!status.ok()) return Damaged(status.message());
  if (!IsId(manifest.instance) || manifest.lsn < 0 ||
      manifest.made_at_unix_nanos < 0) {
    return Damaged("instance, lsn, made_at_unix_nanos: want an id, and counts");
  }
  ACCRUE_RETURN_IF_ERROR(CheckFiles(manifest));
  return manifest;
}

}  // namespace accrue
