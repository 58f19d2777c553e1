// FORMAT.md's example of a checkpoint is what the code writes.
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>
#include <xxhash.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_files.h"
#include "server/durability/checkpoint_reader.h"
#include "tests/durability/file_bytes.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

std::string Page() {
  std::ifstream file(ACCRUE_FORMAT_PAGE, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

ModelSpec Spec() {
  ModelSpec spec;
  spec.name = "mnist";
  spec.tensors = {{.name = "w", .shape = {2}, .group = "all"}};
  spec.groups.resize(1);
  spec.groups[0].name = "all";
  spec.groups[0].k = spec.groups[0].update_every = 4;
  spec.groups[0].hyper.learning_rate = 0.1;
  spec.optimizer.optimizer = rule::Optimizer::kSgd;
  return spec;
}

// After five pushes of one worker.
TrainingState State(const ModelSpec& spec) {
  TrainingState state;
  state.version =
      Version{.lineage = "00112233445566778899aabbccddeeff", .number = 1};
  state.folded_pushes = 5;
  state.published_folded_pushes = 4;
  GroupState& group = state.groups.emplace_back();
  group.hyper = group.cycle.active = spec.groups[0].hyper;
  group.k = group.update_every = 4;
  group.cycle.position = group.cycle.since_update = 1;
  group.cycle.updates = 1;
  group.cycle.micro_steps = 1;
  group.version = 1;
  SessionState& session = state.sessions.emplace_back();
  session.worker = "worker-0";
  session.id = "ffeeddccbbaa99887766554433221100";
  session.last_sequence = 5;
  session.last_outcome = PushOutcome{
      .folded_pushes = 5, .version = *state.version, .groups = {{1, 1, 4}}};
  session.last_hash = 0x0123456789abcdef;
  state.pushes_this_version = {{"worker-0", 1}};
  state.window = 1;
  state.window_pushes = 1;
  state.last_loss = 2.25;
  state.received_bytes = 40;
  state.recent_micro_steps = {{1, 1}};
  return state;
}

void AppendFile(CheckpointFiles& files, const std::string& name,
                const ModelSpec& spec, StateArray array,
                const std::vector<float>& values) {
  const auto file = files.BeginArrays(name, ArrayFileHeader(spec, {array}));
  ASSERT_TRUE(file.ok()) << file.status();
  (*file)->BeginArray(array);
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  const CheckpointFiles::Bytes run(bytes, values.size() * sizeof(float));
  const uint64_t hash = XXH3_64bits(run.data(), run.size());
  ASSERT_TRUE((*file)->AppendPiece({run}, hash).ok());
  ASSERT_TRUE((*file)->End().ok());
}

TEST(CheckpointFormatTest, TheExampleIsWhatIsWritten) {
  const TemporaryDirectory place;
  auto files = CheckpointFiles::Create(PosixFileSystem(), place.path());
  ASSERT_TRUE(files.ok()) << files.status();
  const ModelSpec spec = Spec();
  AppendFile(**files, kStateFile, spec, StateArray::kMomentum, {0.5F, -2});
  AppendFile(**files, kParametersFile, spec, StateArray::kParameters, {1, 3});
  Manifest manifest;
  manifest.instance = "0123456789abcdeffedcba9876543210";
  manifest.lsn = 17;
  manifest.made_at_unix_nanos = 1700000000000000000;
  manifest.spec = spec;
  manifest.state = State(spec);
  const absl::Status committed = (*files)->Commit(manifest);
  ASSERT_TRUE(committed.ok()) << committed;

  const std::string path = place / CheckpointName(17);
  const std::string text =
      *ReadWhole(*PosixFileSystem(), path + "/" + kManifestFile);
  const bool same =
      Page().find("```json\n" + text + "```\n") != std::string::npos;
  EXPECT_TRUE(same) << "want in FORMAT.md:\n" << text;
  for (const char* name : {kStateFile, kParametersFile}) {
    std::string header = *ReadWhole(*PosixFileSystem(), path + "/" + name);
    EXPECT_EQ(header.size(), 4096 + 8);
    header = header.substr(8, header.find_last_of('}') + 1 - 8);
    EXPECT_THAT(Page(), HasSubstr("\n    " + header + "\n"));
  }
  EXPECT_TRUE(
      (*CheckpointReader::Open(*PosixFileSystem(), path))->Verify().ok());
}

}  // namespace
}  // namespace accrue
