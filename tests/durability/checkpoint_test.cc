// What a checkpoint holds is what the model was.
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_memory.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/checkpoint_writer.h"
#include "server/durability/json_fields.h"
#include "server/durability/state_check.h"
#include "tests/durability/file_bytes.h"
#include "tests/durability/sample_model.h"
#include "tests/durability/samples.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Of two tensors that end in the middle of a piece, in groups of their own.
ModelSpec SpecOfElems(int64_t elems) {
  ModelSpec spec = SampleSpec();
  const int64_t first = elems / 2 + 7;
  spec.tensors = {{.name = "a", .shape = {first}, .group = "all"},
                  {.name = "b", .shape = {elems - first}, .group = "bias"}};
  return spec;
}

std::unique_ptr<CheckpointReader> Opened(const std::string& path) {
  auto reader = CheckpointReader::Open(*PosixFileSystem(), path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  return reader.ok() ? *std::move(reader) : nullptr;
}

TEST(CheckpointTest, TheSamplesAreValid) {
  for (const ModelSpec& spec : {SampleSpec(), GatheringSpec()}) {
    EXPECT_EQ(ValidateSpec(spec, {}), absl::OkStatus());
    EXPECT_EQ(CheckState(SampleModel(spec).Captured().state, spec),
              absl::OkStatus());
  }
}

TEST(CheckpointTest, AllThatWasCapturedIsReadBack) {
  const TemporaryDirectory place;
  for (const ModelSpec& spec : {SampleSpec(), GatheringSpec()}) {
    const SampleModel model(spec);
    const int64_t lsn = KeepsPayloads(spec) ? 18 : 17;
    const auto info = WriteSample(model, *PosixFileSystem(), place.path(), lsn);
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(info->name, CheckpointName(lsn));
    EXPECT_EQ(info->version, SampleState().version);
    EXPECT_EQ(info->folded_pushes, SampleState().folded_pushes);
    const auto reader = Opened(place / info->name);
    ASSERT_NE(reader, nullptr);
    EXPECT_EQ(reader->manifest().lsn, lsn);
    EXPECT_EQ(reader->manifest().instance, kSampleInstance);
    model.ExpectIn(*reader);
    EXPECT_EQ(reader->Verify(), absl::OkStatus());
    EXPECT_FALSE(reader->Has(StateArray::kLookAhead));
    std::vector<float> zeros(model.elems(), 1.0f);
    ASSERT_TRUE(
        reader->Read(StateArray::kLookAhead, 0, absl::MakeSpan(zeros)).ok());
    EXPECT_THAT(zeros, testing::Each(0.0f));
  }
  EXPECT_THAT(*PosixFileSystem()->List(place.path()),
              ElementsAre(CheckpointName(17), CheckpointName(18)));
}

TEST(CheckpointTest, ArraysOfAnySizeAreCutIntoPieces) {
  const TemporaryDirectory place;
  int64_t lsn = 0;
  for (const int64_t elems :
       {int64_t{17}, kStatePieceElems - 1, kStatePieceElems,
        kStatePieceElems + 1, 2 * kStatePieceElems + 3}) {
    const SampleModel model(SpecOfElems(elems));
    const auto info =
        WriteSample(model, *PosixFileSystem(), place.path(), ++lsn);
    ASSERT_TRUE(info.ok()) << info.status();
    const auto reader = Opened(place / info->name);
    ASSERT_NE(reader, nullptr);
    model.ExpectIn(*reader);
  }
}

TEST(CheckpointTest, FoldsWaitForMemoryAndNoMoreIsTaken) {
  const TemporaryDirectory place;
  const SampleModel model(SpecOfElems(3 * kStatePieceElems));
  const MemoryLedger ledger;
  const auto memory =
      std::make_shared<CheckpointMemory>(2 * kStatePieceElems * 4, &ledger);
  EXPECT_EQ(memory->block_count(), 2);
  WorkPool pool(1);
  CheckpointTarget target =
      model.Target(*PosixFileSystem(), pool, place.path(), 1);
  target.memory = memory;
  // The disk takes its time.
  std::promise<void> disk;
  pool.Post(pool.NewLane(), [&] { disk.get_future().get(); });
  std::promise<absl::StatusOr<CheckpointInfo>> done;
  CheckpointWriter writer(target,
                          [&](auto info) { done.set_value(std::move(info)); });
  writer.Begin(model.Captured());
  std::promise<void> resumed;
  EXPECT_FALSE(writer.Read(model, [&] { resumed.set_value(); }));
  EXPECT_EQ(memory->waits().count, 1);
  disk.set_value();
  resumed.get_future().get();
  ReadAll(writer, model);
  ASSERT_TRUE(done.get_future().get().ok());
  EXPECT_GE(memory->waits().count, 1);
  EXPECT_GT(memory->waits().duration, absl::ZeroDuration());
  const MemoryLedger::Row row =
      ledger.Report()[static_cast<size_t>(MemoryTag::kStaging)];
  EXPECT_EQ(row.peak_bytes, 2 * kStatePieceElems * 4);
  EXPECT_EQ(row.live_bytes, 0);
}

TEST(CheckpointTest, WhereEverythingFitsNobodyWaits) {
  const TemporaryDirectory place;
  const SampleModel model(SpecOfElems(2 * kStatePieceElems));
  WorkPool pool(2);
  CheckpointTarget target =
      model.Target(*PosixFileSystem(), pool, place.path(), 1);
  const auto memory =
      std::make_shared<CheckpointMemory>(6 * kStatePieceElems * 4, nullptr);
  target.memory = memory;
  ASSERT_TRUE(WriteSample(model, target).ok());
  EXPECT_EQ(memory->waits().count, 0);
}

TEST(CheckpointTest, SeveralModelsShareTheMemory) {
  const TemporaryDirectory place;
  WorkPool pool(2);
  const auto memory = std::make_shared<CheckpointMemory>(0, nullptr);
  std::vector<std::future<void>> models;
  for (int i = 0; i < 4; ++i) {
    models.push_back(std::async(std::launch::async, [&, i] {
      const SampleModel model(SpecOfElems(2 * kStatePieceElems), i);
      const std::string directory = place / std::to_string(i);
      ASSERT_TRUE(PosixFileSystem()->CreateDirectory(directory).ok());
      CheckpointTarget target =
          model.Target(*PosixFileSystem(), pool, directory, 1);
      target.memory = memory;
      const auto info = WriteSample(model, target);
      ASSERT_TRUE(info.ok()) << info.status();
      const auto reader = Opened(directory + "/" + info->name);
      ASSERT_NE(reader, nullptr);
      model.ExpectIn(*reader);
    }));
  }
  for (auto& model : models) model.get();
}

TEST(CheckpointTest, AModelThatBeginsHasParametersAndZeros) {
  const TemporaryDirectory place;
  const SampleModel model(GatheringSpec());
  WorkPool pool(1);
  std::promise<absl::StatusOr<CheckpointInfo>> done;
  WriteCheckpoint(model.Target(*PosixFileSystem(), pool, place.path(), 5),
                  model.Begun(),
                  [&](auto info) { done.set_value(std::move(info)); });
  const auto info = done.get_future().get();
  ASSERT_TRUE(info.ok()) << info.status();
  const auto reader = Opened(place / info->name);
  ASSERT_NE(reader, nullptr);
  EXPECT_TRUE(reader->Has(StateArray::kParameters));
  EXPECT_FALSE(reader->Has(StateArray::kMomentum));
  std::vector<float> read(model.elems());
  ASSERT_TRUE(
      reader->Read(StateArray::kParameters, 0, absl::MakeSpan(read)).ok());
  EXPECT_EQ(read, model.array(StateArray::kParameters));
}

TEST(CheckpointTest, AModelWithoutAVersionHasItsSpec) {
  const TemporaryDirectory place;
  const SampleModel model(SampleSpec());
  WorkPool pool(1);
  std::promise<absl::StatusOr<CheckpointInfo>> done;
  WriteCheckpoint(model.Target(*PosixFileSystem(), pool, place.path(), 0), {},
                  [&](auto info) { done.set_value(std::move(info)); });
  const auto info = done.get_future().get();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_THAT(*PosixFileSystem()->List(place / info->name),
              ElementsAre(kManifestFile));
  const auto reader = Opened(place / info->name);
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(reader->manifest().spec, SampleSpec());
  EXPECT_FALSE(reader->state().version.has_value());
  EXPECT_EQ(reader->state().groups[1].k, SampleSpec().groups[1].k);
  EXPECT_EQ(reader->state().groups[1].hyper, SampleSpec().groups[1].hyper);
}

TEST(CheckpointTest, AModelThatCannotBeCapturedLeavesNothing) {
  const TemporaryDirectory place;
  const SampleModel model(SpecOfElems(2 * kStatePieceElems));
  WorkPool pool(1);
  // Instead of Begin; instead of Read; in the middle; and with the writer gone.
  for (int reads = -1; reads < 3; ++reads) {
    std::promise<absl::StatusOr<CheckpointInfo>> done;
    CheckpointTarget target =
        model.Target(*PosixFileSystem(), pool, place.path(), 1);
    // Another model has it.
    const CheckpointMemory::Block memory = target.memory->Take([] {});
    auto writer = std::make_unique<CheckpointWriter>(
        target, [&](auto info) { done.set_value(std::move(info)); });
    if (reads >= 0) writer->Begin(model.Captured());
    if (reads > 0) {
      EXPECT_FALSE(writer->Read(model, [] {}));
    }
    if (reads < 2) writer->Fail(absl::NotFoundError("deleted"));
    writer.reset();
    EXPECT_EQ(
        done.get_future().get().status().code(),
        reads < 2 ? absl::StatusCode::kNotFound : absl::StatusCode::kCancelled);
    EXPECT_THAT(*PosixFileSystem()->List(place.path()), IsEmpty());
  }
}

// Whose arrays cannot be read.
class BrokenArrays : public ArrayReader {
 public:
  absl::Status Read(StateArray, int64_t, absl::Span<float>) const override {
    return absl::InternalError("device lost");
  }
};

TEST(CheckpointTest, ADeviceThatFailsEndsIt) {
  const TemporaryDirectory place;
  const SampleModel model(SampleSpec());
  WorkPool pool(1);
  std::promise<absl::StatusOr<CheckpointInfo>> done;
  CheckpointWriter writer(
      model.Target(*PosixFileSystem(), pool, place.path(), 1),
      [&](auto info) { done.set_value(std::move(info)); });
  writer.Begin(model.Captured());
  EXPECT_TRUE(writer.Read(BrokenArrays(), [] {}));
  EXPECT_EQ(done.get_future().get().status(),
            absl::InternalError("device lost"));
  EXPECT_THAT(*PosixFileSystem()->List(place.path()), IsEmpty());
}

TEST(CheckpointTest, ANameIsTakenOnce) {
  const TemporaryDirectory place;
  const SampleModel old_model(SampleSpec(), 1);
  ASSERT_TRUE(WriteSample(old_model, *PosixFileSystem(), place.path(), 7).ok());
  const auto again = WriteSample(SampleModel(SampleSpec(), 2),
                                 *PosixFileSystem(), place.path(), 7);
  EXPECT_EQ(GetErrorInfo(again.status()).reason, Reason::kCheckpointFailed);
  const auto reader = Opened(place / CheckpointName(7));
  ASSERT_NE(reader, nullptr);
  old_model.ExpectIn(*reader);
  EXPECT_EQ(PosixFileSystem()->List(place.path())->size(), 1);
}

TEST(CheckpointTest, SpecsThatDifferAreToldApartByTheirFields) {
  ModelSpec other = SampleSpec();
  EXPECT_EQ(SpecDifference(SampleSpec(), other), "");
  other.groups[1].k = 8;
  EXPECT_EQ(SpecDifference(SampleSpec(), other), "/groups/1/k");
}

}  // namespace
}  // namespace accrue
