// A small model's files, of which one byte is another, or one ends too early:
// every byte of every file, and every length. A start refuses the model, or has
// it exactly as it was; what it says is lost is right, or not said.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/logging.h"
#include "server/durability/progress.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/stride.h"
#include "tests/durability/temporary_directory.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

namespace fs = std::filesystem;

// In memory where it can be: a sync costs nothing there.
std::string Place() {
  const std::string memory = "/dev/shm/";
  return fs::is_directory(memory) ? memory : ::testing::TempDir();
}

using Files = std::map<fs::path, std::string>;

Files ReadAll(const std::string& directory) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    files[entry.path()] = std::string(std::istreambuf_iterator<char>(file), {});
  }
  return files;
}

void Write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

// These, and no others.
void Lay(const std::string& directory, const Files& files) {
  fs::remove_all(directory);
  for (const auto& [path, bytes] : files) Write(path, bytes);
}

// Lays the files, and calls look(path) for each damage of one of them, which
// has been done. It says whether it left them alone.
template <typename Look>
void ForEachDamage(const std::string& directory, const Files& sound,
                   Look look) {
  bool as_laid = false;
  for (const auto& file : sound) {
    const fs::path& path = file.first;
    const std::string& bytes = file.second;
    const auto damage = [&](const std::string& damaged, const char* what,
                            size_t at) {
      if (!as_laid) Lay(directory, sound);
      Write(path, damaged);
      SCOPED_TRACE(absl::StrCat(path.string(), what, at));
      as_laid = look(path);
      Write(path, bytes);
    };
    for (size_t at = 0; at < bytes.size(); at += kStride) {
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
      damage(flipped, ", another byte ", at);
      damage(bytes.substr(0, at), ", cut to ", at);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// What a start finds. Nothing: it refuses the model, as damaged.
struct Found {
  StateImage image;
  int64_t lost_pushes = 0;
  bool loss_uncertain = false;
};

class DamageTest : public ::testing::TestWithParam<Durability> {
 protected:
  DamageTest() { EXPECT_TRUE(InitLogging("off").ok()); }
  ~DamageTest() override { EXPECT_TRUE(InitLogging("info").ok()); }

  // Three pushes, a checkpoint, and two more.
  void Train() {
    ModelSpec spec = SimpleSpec(5, 2);
    spec.name = "m";
    spec.groups[0].hyper.beta1 = 0.5;
    // Amid a cycle there is a push that is held.
    spec.optimizer.buffering = rule::Buffering::kGather;
    spec.durability = GetParam();
    FillDefaults(spec);
    DurabilityOptions options;
    options.checkpoint_keep = 1;
    KeepingProcess process(data_.path(), options);
    ASSERT_TRUE(process.Start().ok());
    const auto model = *process.Create(spec);
    ASSERT_TRUE(process.harness().Initialize(*model, 1).ok());
    const std::string session = process.harness().Open(*model, "w")->id;
    for (int64_t i = 1; i <= 5; ++i) {
      const auto g = static_cast<float>(i);
      const auto pushed =
          process.harness().PushNow(*model, session, i, {g, 2, -g, 0, 1 / g});
      ASSERT_TRUE(pushed.ok()) << pushed.status();
      if (i != 3) continue;
      ASSERT_TRUE(process.Checkpoint("m").ok());
    }
  }
  std::optional<Found> Start() {
    KeepingProcess process(data_.path());
    EXPECT_EQ(process.Start(), absl::OkStatus());
    const auto model = process.store().Find("m");
    if (!model.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(model.status())) << model.status();
      return std::nullopt;
    }
    const ModelDescription is = (*model)->Describe();
    Found found = {process.harness().Image(**model), is.lost_pushes,
                   is.loss_uncertain};
    // Of its own after a loss.
    if (GetParam() == Durability::kMemory) found.image = Anonymous(found.image);
    return found;
  }

  const TemporaryDirectory data_{Place()};
};

TEST_P(DamageTest, IsRefusedOrHarmless) {
  Train();
  const Files sound = ReadAll(data_.path());
  const std::optional<Found> whole = Start();
  ASSERT_TRUE(whole.has_value());
  const bool journals = GetParam() == Durability::kJournal;
  ASSERT_EQ(whole->image.folded_pushes, journals ? 5 : 3);
  ASSERT_EQ(whole->lost_pushes, journals ? 0 : 2);
  int64_t refused = 0, harmless = 0;
  ForEachDamage(data_.path(), sound, [&](const fs::path& path) {
    const std::optional<Found> found = Start();
    if (!found.has_value()) {
      ++refused;
      return true;
    }
    ++harmless;
    EXPECT_EQ(found->image, whole->image);
    // Nobody knows.
    const bool unknown = path.filename() == kProgressFile;
    EXPECT_EQ(found->lost_pushes, unknown ? 0 : whole->lost_pushes);
    EXPECT_EQ(found->loss_uncertain, unknown);
    return false;
  });
  std::cout << refused << " refused, " << harmless << " harmless\n";
  EXPECT_GT(refused, 0);
}

INSTANTIATE_TEST_SUITE_P(All, DamageTest,
                         ::testing::Values(Durability::kMemory,
                                           Durability::kJournal),
                         [](const auto& info) {
                           return info.param == Durability::kMemory ? "Memory"
                                                                    : "Journal";
                         });

class DamagedProgressTest : public ::testing::Test {
 protected:
  DamagedProgressTest() { EXPECT_TRUE(InitLogging("off").ok()); }
  ~DamagedProgressTest() override { EXPECT_TRUE(InitLogging("info").ok()); }

  std::optional<Progress::Facts> Read() {
    return *Progress::Read(*PosixFileSystem(), place_.path());
  }

  const TemporaryDirectory place_{Place()};
};

TEST_F(DamagedProgressTest, KnowsNothingOrWhatWasNoted) {
  const Version version = {.lineage = "0123456789abcdef0123456789abcdef",
                           .number = 0x0102030405060708};
  {
    const auto progress = *Progress::Open(*PosixFileSystem(), place_.path());
    ASSERT_TRUE(progress->Begin(version, 7).ok());
    progress->Note(version, 9);
    ASSERT_TRUE(progress->End(version, 9).ok());
  }
  ASSERT_TRUE(Read()->clean);
  const Files sound = ReadAll(place_.path());
  ASSERT_EQ(sound.size(), 2);
  ForEachDamage(place_.path(), sound, [&](const fs::path& path) {
    const auto facts = Read();
    EXPECT_EQ(facts.has_value(), path.filename() == kEndFile);
    if (!facts.has_value()) return true;
    EXPECT_EQ(facts->version, version);
    EXPECT_EQ(facts->folded_pushes, 9);
    EXPECT_FALSE(facts->clean);
    return true;
  });
}

}  // namespace
}  // namespace accrue
