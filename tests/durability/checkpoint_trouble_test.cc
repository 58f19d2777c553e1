// Checkpoints on disks that fail, forget and change what they were given.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_reader.h"
#include "tests/durability/file_bytes.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/sample_model.h"
#include "tests/durability/samples.h"
#include "tests/durability/stride.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

const char* const kFiles[] = {kManifestFile, kParametersFile, kStateFile,
                              kHeldFile};

// What is found of a checkpoint by who reads all of it.
absl::Status Verified(FileSystem& files, const std::string& path) {
  const auto reader = CheckpointReader::Open(files, path);
  return reader.ok() ? (*reader)->Verify() : reader.status();
}

// One checkpoint on a disk of its own, whose bytes can be changed.
class DamagedCheckpoint {
 public:
  DamagedCheckpoint() {
    const auto info = WriteSample(SampleModel(GatheringSpec()),
                                  *PosixFileSystem(), place_.path(), 3);
    EXPECT_TRUE(info.ok()) << info.status();
  }

  std::string path() const { return place_ / CheckpointName(3); }
  std::string file(const std::string& name) const {
    return path() + "/" + name;
  }
  std::string Bytes(const std::string& name) const {
    return *ReadWhole(*PosixFileSystem(), file(name));
  }
  void Put(const std::string& name, size_t offset, char byte) const {
    std::fstream stream(file(name),
                        std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.put(byte);
  }
  absl::Status Verify() const { return Verified(*PosixFileSystem(), path()); }

 private:
  TemporaryDirectory place_;
};

TEST(CheckpointTroubleTest, EveryFlippedByteIsFound) {
  const DamagedCheckpoint checkpoint;
  ASSERT_EQ(checkpoint.Verify(), absl::OkStatus());
  for (const char* name : kFiles) {
    const std::string bytes = checkpoint.Bytes(name);
    for (size_t i = 0; i < bytes.size(); i += kStride) {
      const char flipped = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
      checkpoint.Put(name, i, flipped);
      const absl::Status status = checkpoint.Verify();
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss)
          << name << " byte " << i << ": " << status;
      ASSERT_EQ(GetErrorInfo(status).reason, Reason::kDamaged);
      ASSERT_THAT(std::string(status.message()), HasSubstr(name));
      checkpoint.Put(name, i, bytes[i]);
    }
  }
  ASSERT_EQ(checkpoint.Verify(), absl::OkStatus());
}

TEST(CheckpointTroubleTest, ADamagedRangeIsNamed) {
  const DamagedCheckpoint checkpoint;
  const auto message = [&](const char* name, size_t offset) {
    const char byte = checkpoint.Bytes(name)[offset];
    checkpoint.Put(name, offset, static_cast<char>(~byte));
    const absl::Status status = checkpoint.Verify();
    checkpoint.Put(name, offset, byte);
    return std::string(status.message());
  };
  // Ten elements an array.
  EXPECT_EQ(message(kParametersFile, 9),
            absl::StrCat("\"", checkpoint.file(kParametersFile),
                         "\": bytes [0, 4096) are not what was written"));
  EXPECT_THAT(message(kParametersFile, 4096),
              HasSubstr("bytes [4096, 4136) are not"));
  EXPECT_THAT(message(kStateFile, 4096 + 85),
              HasSubstr("bytes [4176, 4216) are not"));
  EXPECT_THAT(message(kHeldFile, 41), HasSubstr("bytes [40, 56) are not"));
}

TEST(CheckpointTroubleTest, EveryOtherLengthIsFound) {
  const DamagedCheckpoint checkpoint;
  for (const char* name : kFiles) {
    const std::string bytes = checkpoint.Bytes(name);
    const std::string path = checkpoint.file(name);
    const auto expect_found = [&](size_t size) {
      std::filesystem::resize_file(path, size);
      const absl::Status status = checkpoint.Verify();
      ASSERT_EQ(GetErrorInfo(status).reason, Reason::kDamaged)
          << name << " of " << size << ": " << status;
    };
    expect_found(bytes.size() + 1);
    for (size_t less = 1; less <= bytes.size(); less += kStride) {
      expect_found(bytes.size() - less);
    }
    std::ofstream(path, std::ios::binary) << bytes;
    ASSERT_EQ(checkpoint.Verify(), absl::OkStatus());
  }
}

TEST(CheckpointTroubleTest, AMissingFileIsFound) {
  for (const char* name : kFiles) {
    const DamagedCheckpoint checkpoint;
    ASSERT_TRUE(std::filesystem::remove(checkpoint.file(name)));
    const absl::Status status = checkpoint.Verify();
    EXPECT_EQ(GetErrorInfo(status).reason, Reason::kDamaged);
    EXPECT_THAT(std::string(status.message()), HasSubstr("is not there"));
  }
}

TEST(CheckpointTroubleTest, ACheckpointInAnothersPlaceIsFound) {
  const DamagedCheckpoint checkpoint;
  const std::string other = checkpoint.path() + "/" + CheckpointName(4);
  std::filesystem::create_directory(other);
  for (const char* name : kFiles) {
    std::filesystem::copy(checkpoint.file(name), other + "/" + name);
  }
  EXPECT_EQ(GetErrorInfo(Verified(*PosixFileSystem(), other)).reason,
            Reason::kDamaged);
}

// A disk that can fail and forget, with a model's directory on it.
class Disk {
 public:
  Disk() {
    std::filesystem::create_directory(live());
    Restart();
  }

  std::string live() const { return place_ / "live"; }
  ForgetfulFiles& files() { return *files_; }
  void CutPower(uint64_t seed) {
    files_.reset();
    ForgetfulFiles::CutPower(place_ / "shadow", seed);
    Restart();
  }

 private:
  void Restart() {
    files_ = std::make_unique<ForgetfulFiles>(place_ / "shadow");
  }

  TemporaryDirectory place_;
  std::unique_ptr<ForgetfulFiles> files_;
};

std::vector<std::string> Listed(Disk& disk) {
  auto names = disk.files().List(disk.live());
  EXPECT_TRUE(names.ok()) << names.status();
  return *std::move(names);
}

void ExpectHolds(Disk& disk, const std::string& name,
                 const SampleModel& model) {
  const auto reader =
      CheckpointReader::Open(disk.files(), disk.live() + "/" + name);
  ASSERT_TRUE(reader.ok()) << reader.status();
  model.ExpectIn(**reader);
}

TEST(CheckpointTroubleTest, AProcessThatDiesAnywhereLeavesAllOrNothing) {
  const SampleModel older(GatheringSpec(), 1);
  const SampleModel newer(GatheringSpec(), 2);
  bool whole = false;
  int64_t seen_without = 0;
  for (int64_t steps = 0; !whole; ++steps) {
    for (uint64_t seed = 0; seed < 4; ++seed) {
      Disk disk;
      ASSERT_TRUE(WriteSample(older, disk.files(), disk.live(), 1).ok());
      // It does nothing more after so many steps.
      disk.files().faults().Add({.operation = "change",
                                 .path_part = "",
                                 .after = steps,
                                 .times = kAlways});
      whole = WriteSample(newer, disk.files(), disk.live(), 2).ok();
      disk.CutPower(seed);
      ASSERT_TRUE(RemoveLeftovers(disk.files(), disk.live()).ok());
      const std::vector<std::string> names = Listed(disk);
      ASSERT_THAT(names, testing::Contains(CheckpointName(1)));
      ASSERT_THAT((std::vector{CheckpointName(1), CheckpointName(2)}),
                  IsSupersetOf(names));
      ExpectHolds(disk, CheckpointName(1), older);
      if (names.size() == 2) {
        ExpectHolds(disk, CheckpointName(2), newer);
      } else {
        ASSERT_FALSE(whole) << "seed " << seed;
        ++seen_without;
      }
    }
    ASSERT_LT(steps, 100);
  }
  EXPECT_GT(seen_without, 30);
}

TEST(CheckpointTroubleTest, AStepThatFailsLeavesTheOlderOnesAndNothingElse) {
  const SampleModel older(GatheringSpec(), 1);
  const SampleModel newer(GatheringSpec(), 2);
  for (const absl::StatusCode code :
       {absl::StatusCode::kUnavailable, absl::StatusCode::kResourceExhausted}) {
    bool whole = false;
    for (int64_t steps = 0; !whole; ++steps) {
      Disk disk;
      ASSERT_TRUE(WriteSample(older, disk.files(), disk.live(), 1).ok());
      disk.files().faults().Add({.operation = "change",
                                 .path_part = "",
                                 .after = steps,
                                 .code = code});
      const auto info = WriteSample(newer, disk.files(), disk.live(), 2);
      ExpectHolds(disk, CheckpointName(1), older);
      whole = info.ok();
      if (whole) {
        EXPECT_GE(steps, 12);
        break;
      }
      EXPECT_EQ(info.status().code(), absl::StatusCode::kUnavailable);
      EXPECT_EQ(GetErrorInfo(info.status()).reason, Reason::kCheckpointFailed);
      ASSERT_THAT(Listed(disk), ElementsAre(CheckpointName(1)))
          << "after " << steps << " steps";
      ASSERT_LT(steps, 100);
      // And the next one is as if nothing had been.
      disk.files().faults().Clear();
      ASSERT_TRUE(WriteSample(newer, disk.files(), disk.live(), 2).ok());
      ExpectHolds(disk, CheckpointName(2), newer);
    }
  }
}

TEST(CheckpointTroubleTest, WhatMayStillHaveItsNameIsLeftWholeForTheNextStart) {
  const SampleModel model(GatheringSpec());
  Disk disk;
  disk.files().faults().Add({.operation = "sync directory",
                             .path_part = "/live",
                             .after = 1,
                             .times = 2});
  ASSERT_FALSE(WriteSample(model, disk.files(), disk.live(), 2).ok());
  ASSERT_EQ(Listed(disk).size(), 1);
  const std::string left = Listed(disk)[0];
  EXPECT_EQ(left.rfind("tmp-", 0), 0) << left;
  // As if the disk had kept the first of its two renames alone.
  ASSERT_TRUE(disk.files()
                  .Rename(disk.live() + "/" + left,
                          disk.live() + "/" + CheckpointName(2))
                  .ok());
  ExpectHolds(disk, CheckpointName(2), model);
}

TEST(CheckpointTroubleTest, ALeftoverGoesOnceItsNameIsDurable) {
  Disk disk;
  ASSERT_TRUE(disk.files().CreateDirectory(disk.live() + "/tmp-a").ok());
  disk.files().faults().Add({.operation = "sync directory"});
  EXPECT_FALSE(RemoveLeftovers(disk.files(), disk.live()).ok());
  EXPECT_THAT(Listed(disk), ElementsAre("tmp-a"));
  EXPECT_TRUE(RemoveLeftovers(disk.files(), disk.live()).ok());
  EXPECT_THAT(Listed(disk), ElementsAre());
}

TEST(CheckpointTroubleTest, AFullDiskIsAnErrorThatSaysSo) {
  const SampleModel model(GatheringSpec());
  for (const int64_t room : {0, 1, 4096, 5000, 9000, 12000}) {
    Disk disk;
    disk.files().faults().SetRoom(room);
    const auto info = WriteSample(model, disk.files(), disk.live(), 2);
    EXPECT_THAT(std::string(info.status().message()),
                HasSubstr("checkpoint of model \"mnist-1.2_b\": "));
    EXPECT_THAT(Listed(disk), ElementsAre());
  }
}

TEST(CheckpointTroubleTest, TheNewestStayAndOlderOnesGo) {
  Disk disk;
  for (int64_t lsn = 1; lsn <= 5; ++lsn) {
    ASSERT_TRUE(WriteSample(SampleModel(SampleSpec(), lsn), disk.files(),
                            disk.live(), lsn)
                    .ok());
  }
  const auto kept = RetireCheckpoints(disk.files(), disk.live(), 5, 2);
  ASSERT_TRUE(kept.ok()) << kept.status();
  ASSERT_EQ(kept->size(), 2);
  EXPECT_EQ((*kept)[0].lsn, 5);
  EXPECT_EQ((*kept)[1].lsn, 4);
  EXPECT_EQ(*ListCheckpoints(disk.files(), disk.live()),
            (std::vector{CheckpointName(5), CheckpointName(4)}));
}

// A beginning that is on its way may come to nothing.
TEST(CheckpointTroubleTest, WhatIsNewerThanTheNewestKeepsNoneFromStaying) {
  Disk disk;
  for (int64_t lsn = 1; lsn <= 3; ++lsn) {
    ASSERT_TRUE(
        WriteSample(SampleModel(SampleSpec()), disk.files(), disk.live(), lsn)
            .ok());
  }
  const auto kept = RetireCheckpoints(disk.files(), disk.live(), 2, 1);
  ASSERT_TRUE(kept.ok()) << kept.status();
  ASSERT_EQ(kept->size(), 1);
  EXPECT_EQ((*kept)[0].lsn, 2);
  EXPECT_EQ(*ListCheckpoints(disk.files(), disk.live()),
            (std::vector{CheckpointName(3), CheckpointName(2)}));
}

TEST(CheckpointTroubleTest, TheOnlySoundOneNeverGoes) {
  Disk disk;
  for (int64_t lsn = 1; lsn <= 3; ++lsn) {
    ASSERT_TRUE(
        WriteSample(SampleModel(SampleSpec()), disk.files(), disk.live(), lsn)
            .ok());
    if (lsn == 1) continue;
    ASSERT_TRUE(disk.files()
                    .Remove(absl::StrCat(disk.live(), "/", CheckpointName(lsn),
                                         "/", kStateFile))
                    .ok());
  }
  auto kept = RetireCheckpoints(disk.files(), disk.live(), 3, 1);
  ASSERT_TRUE(kept.ok()) << kept.status();
  ASSERT_EQ(kept->size(), 1);
  EXPECT_EQ((*kept)[0].lsn, 1);
  EXPECT_EQ(Listed(disk).size(), 3);
  // With none that is sound, all stay.
  ASSERT_TRUE(disk.files()
                  .Remove(absl::StrCat(disk.live(), "/", CheckpointName(1), "/",
                                       kManifestFile))
                  .ok());
  kept = RetireCheckpoints(disk.files(), disk.live(), 3, 1);
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_TRUE(kept->empty());
  EXPECT_EQ(Listed(disk).size(), 3);
}

TEST(CheckpointTroubleTest, WhoDiesWhileItRetiresLeavesWholeCheckpoints) {
  const SampleModel model(GatheringSpec());
  bool whole = false;
  for (int64_t steps = 0; !whole; ++steps) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      Disk disk;
      for (int64_t lsn = 1; lsn <= 3; ++lsn) {
        ASSERT_TRUE(WriteSample(model, disk.files(), disk.live(), lsn).ok());
      }
      disk.files().faults().Add({.operation = "change",
                                 .path_part = "",
                                 .after = steps,
                                 .times = kAlways});
      whole = RetireCheckpoints(disk.files(), disk.live(), 3, 1).ok();
      disk.CutPower(seed);
      ASSERT_TRUE(RemoveLeftovers(disk.files(), disk.live()).ok());
      for (const std::string& name : Listed(disk)) {
        ExpectHolds(disk, name, model);
      }
      ASSERT_THAT(Listed(disk), testing::Contains(CheckpointName(3)));
    }
    ASSERT_LT(steps, 100);
  }
}

TEST(CheckpointTroubleTest, OnlyWholeNamesAreCheckpoints) {
  EXPECT_EQ(CheckpointName(17), "checkpoint-00000000000000000017");
  EXPECT_EQ(ParseCheckpointName(CheckpointName(INT64_MAX)), INT64_MAX);
  for (const char* name :
       {"", "checkpoint-", "checkpoint-17", "checkpoint--0000000000000000017",
        "checkpoint-99999999999999999999", "checkpoint-+0000000000000000017",
        "checkpoint-000000000000000000170", "tmp-00000000000000000017",
        "checkpoint-0000000000000000001x"}) {
    EXPECT_EQ(ParseCheckpointName(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace accrue
