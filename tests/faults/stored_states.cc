#include "tests/faults/stored_states.h"

#include <cstddef>
#include <cstdint>

#include <gtest/gtest.h>

#include "absl/types/span.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/file.h"
#include "tests/durability/model_directory.h"

namespace accrue::faults {
namespace {

std::vector<float> ReadArray(const CheckpointReader& reader, StateArray array) {
  if (!reader.Has(array)) return {};
  std::vector<float> values(static_cast<size_t>(reader.elems()));
  for (int64_t piece = 0; piece * kStatePieceElems < reader.elems(); ++piece) {
    const auto out = absl::MakeSpan(values).subspan(
        static_cast<size_t>(piece * kStatePieceElems), kStatePieceElems);
    EXPECT_TRUE(reader.Read(array, piece, out).ok());
  }
  return values;
}

}  // namespace

std::vector<FinalState> ReadStoredStates(const std::string& data_dir,
                                         const std::string& model) {
  std::vector<FinalState> states;
  FileSystem& files = *PosixFileSystem();
  const std::string directory = ModelDirectory(data_dir, model);
  const auto names = ListCheckpoints(files, directory);
  EXPECT_TRUE(names.ok()) << names.status();
  if (!names.ok()) return states;
  for (const std::string& name : *names) {
    const auto reader = CheckpointReader::Open(files, directory + "/" + name);
    EXPECT_TRUE(reader.ok()) << reader.status();
    if (!reader.ok() || !(*reader)->state().version.has_value()) continue;
    const TrainingState& state = (*reader)->state();
    states.push_back({.version = {.lineage = state.version->lineage,
                                  .number = state.version->number},
                      .t = state.folded_pushes,
                      .theta = ReadArray(**reader, StateArray::kParameters),
                      .momentum = ReadArray(**reader, StateArray::kMomentum),
                      .variance = ReadArray(**reader, StateArray::kVariance)});
  }
  return states;
}

}  // namespace accrue::faults
