#include "tests/faults/stored_states.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/base/status_macros.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/file.h"
#include "tests/durability/model_directory.h"

namespace accrue::faults {
namespace {

absl::StatusOr<std::vector<float>> ReadArray(const CheckpointReader& reader,
                                             StateArray array) {
  std::vector<float> values;
  if (!reader.Has(array)) return values;
  values.resize(static_cast<size_t>(reader.elems()));
  for (int64_t piece = 0; piece * kStatePieceElems < reader.elems(); ++piece) {
    const auto out = absl::MakeSpan(values).subspan(
        static_cast<size_t>(piece * kStatePieceElems), kStatePieceElems);
    ACCRUE_RETURN_IF_ERROR(reader.Read(array, piece, out));
  }
  return values;
}

absl::StatusOr<FinalState> ReadState(const CheckpointReader& reader) {
  const TrainingState& stored = reader.state();
  FinalState state = {.version = {.lineage = stored.version->lineage,
                                  .number = stored.version->number},
                      .t = stored.folded_pushes};
  ACCRUE_ASSIGN_OR_RETURN(state.theta,
                          ReadArray(reader, StateArray::kParameters));
  ACCRUE_ASSIGN_OR_RETURN(state.momentum,
                          ReadArray(reader, StateArray::kMomentum));
  ACCRUE_ASSIGN_OR_RETURN(state.variance,
                          ReadArray(reader, StateArray::kVariance));
  return state;
}

}  // namespace

absl::StatusOr<std::vector<FinalState>> ReadStoredStates(
    const std::string& data_dir, const std::string& model) {
  FileSystem& files = *PosixFileSystem();
  const std::string directory = ModelDirectory(data_dir, model);
  if (directory.empty()) return absl::NotFoundError("no directory of " + model);
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListCheckpoints(files, directory));
  std::vector<FinalState> states;
  for (const std::string& name : names) {
    ACCRUE_ASSIGN_OR_RETURN(
        const auto reader,
        CheckpointReader::Open(files, absl::StrCat(directory, "/", name)));
    if (!reader->state().version.has_value()) continue;
    ACCRUE_ASSIGN_OR_RETURN(states.emplace_back(), ReadState(*reader));
  }
  return states;
}

}  // namespace accrue::faults
