// Manifest: what is in a checkpoint's directory, and all of the model's state
// that is not in arrays (FORMAT.md).
//
// Invariant. WriteManifest's text is JSON, ends with a hash of all that comes
//            before it, and reads back as it was. ParseManifest refuses a text
//            with any byte of it changed, and a manifest whose parts do not fit
//            together: what it returns can be used unchecked.
// Errors.    DATA_LOSS kDamaged: damaged, or not written by this program.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_MANIFEST_H_
#define ACCRUE_SERVER_DURABILITY_MANIFEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/durability/spec_fields.h"
#include "server/model/spec.h"
#include "server/model/training_state.h"

namespace accrue {

inline constexpr int64_t kCheckpointFormat = 1;

inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kParametersFile[] = "parameters.safetensors";
inline constexpr char kStateFile[] = "state.safetensors";
inline constexpr char kHeldFile[] = "gathered.bin";

// Hashes are XXH3-64.
struct StoredArray {
  StateArray array = StateArray::kParameters;
  std::vector<uint64_t> piece_hashes;
};

// A header, then its arrays, one behind the other.
struct ArrayFile {
  std::string name;
  int64_t size_bytes = 0;
  int64_t header_bytes = 0;
  uint64_t header_hash = 0;
  std::vector<StoredArray> arrays;
};

struct Manifest {
  int64_t format = kCheckpointFormat;
  std::string instance;  // of the model, whose journal has it too
  int64_t lsn = 0;       // the journal's last record that is in here
  int64_t made_at_unix_nanos = 0;
  ModelSpec spec;
  TrainingState state;
  std::vector<ArrayFile> files;
  std::vector<uint64_t> held_hashes;  // as state.held
};

// RESOURCE_EXHAUSTED: too large to be read back.
absl::StatusOr<std::string> WriteManifest(const Manifest& manifest);
absl::StatusOr<Manifest> ParseManifest(absl::string_view text);

// The largest that is read, in bytes.
inline constexpr int64_t kLargestManifest = int64_t{1} << 28;

// Elements, or bytes, that `held` of a manifest, or an array of `elems`, have.
int64_t HeldBytes(const std::vector<HeldPushState>& held);
int64_t PieceCount(int64_t elems);

template <typename V, FieldsOf<StoredArray> T>
void VisitFields(V& visit, T& array) {
  visit("array", array.array);
  visit("piece_hashes", array.piece_hashes);
}

template <typename V, FieldsOf<ArrayFile> T>
void VisitFields(V& visit, T& file) {
  visit("name", file.name);
  visit("size_bytes", file.size_bytes);
  visit("header_bytes", file.header_bytes);
  visit("header_hash", file.header_hash);
  visit("arrays", file.arrays);
}

template <typename V, FieldsOf<Manifest> T>
void VisitFields(V& visit, T& manifest) {
  visit("format", manifest.format);
  visit("instance", manifest.instance);
  visit("lsn", manifest.lsn);
  visit("made_at_unix_nanos", manifest.made_at_unix_nanos);
  visit("spec", manifest.spec);
  visit("state", manifest.state);
  visit("files", manifest.files);
  visit("held_hashes", manifest.held_hashes);
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_MANIFEST_H_
