// The largest manifest that a model can have: some hundred megabytes.
#include <cstdint>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/durability/manifest.h"
#include "server/model/gathering.h"
#include "server/model/session_table.h"
#include "server/rule/rule_spec.h"
#include "tests/durability/sample_model.h"
#include "tests/durability/samples.h"
#include "tests/durability/stride.h"

namespace accrue {
namespace {

// Names as long as they may be, of what JSON has no shorter way to write.
std::string LongestName(int64_t number) {
  std::string name(255, '\x01');
  for (size_t i = 0; number > 0; ++i, number /= 26) {
    name[i] = static_cast<char>('a' + number % 26);
  }
  return name;
}

// Without parameters yet.
Manifest ManifestOfGroups(int64_t count) {
  Manifest manifest;
  manifest.instance = kSampleInstance;
  manifest.spec = SampleSpec();
  GroupSpec group = manifest.spec.groups[0];
  TensorSpec tensor = manifest.spec.tensors[0];
  manifest.spec.groups.clear();
  manifest.spec.tensors.clear();
  for (int64_t g = 0; g < count; ++g) {
    group.name = tensor.group = tensor.name = absl::StrCat("group", g);
    manifest.spec.groups.push_back(group);
    manifest.spec.tensors.push_back(tensor);
    GroupState& state = manifest.state.groups.emplace_back();
    state.hyper = group.hyper;
    state.k = state.update_every = group.k;
  }
  return manifest;
}

// Whose names and numbers are as long as they may be.
void AddSessions(int64_t count, TrainingState& state) {
  constexpr int64_t kLarge = int64_t{1} << 60;
  PushOutcome outcome;
  outcome.folded_pushes = outcome.version.number = kLarge;
  outcome.version.lineage = std::string(32, 'a');
  outcome.groups.assign(
      state.groups.size(),
      {.updates = kLarge, .position = rule::kMaxK - 1, .k = rule::kMaxK});
  std::set<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.insert(LongestName(i));
  for (const std::string& name : names) {
    const size_t number = state.sessions.size();
    state.sessions.push_back(
        {.worker = name,
         .id = absl::StrCat(absl::Hex(number, absl::kZeroPad16),
                            std::string(16, '0')),
         .last_sequence = kLarge,
         .last_outcome = outcome});
    state.pushes_this_version[name] = kLarge;
  }
}

// Numbers as long as they may be; each of another worker's, whose name is.
void AddHeld(int64_t count, Manifest& manifest) {
  constexpr double kLong = 1.2345678901234567e-300;
  TrainingState& state = manifest.state;
  for (int64_t i = 0; i < count; ++i) {
    const std::string name = LongestName(i);
    state.held.push_back(
        {.worker = name,
         .encoding = kernels::Encoding::kF32,
         .payload_bytes = int64_t{1} << 42,
         .facts = {.micro_steps = rule::kMaxK,
                   .weight = kLong,
                   .gain_factor = kLong,
                   .scale = kLong},
         .group_square_sums = std::vector<double>(state.groups.size(), kLong)});
    state.pushes_this_version[name] = rule::kMaxK;
    manifest.held_hashes.push_back(~uint64_t{0});
  }
}

int64_t TextBytes(const Manifest& manifest) {
  const auto text = WriteManifest(manifest);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? static_cast<int64_t>(text->size()) : 0;
}

// What one more takes, at most: it does not depend on how many there are.
template <typename Add>
int64_t BytesOfEach(int64_t groups, const Add& add) {
  constexpr int64_t kFew = 8;
  Manifest one = ManifestOfGroups(groups);
  add(1, one);
  Manifest more = ManifestOfGroups(groups);
  add(1 + kFew, more);
  return (TextBytes(more) - TextBytes(one) + kFew - 1) / kFew;
}

TEST(ManifestSizeTest, TheLongestGatheredCycleFitsIntoHalfOfIt) {
  for (const int64_t groups : {1, 40, 1000, 10'000}) {
    const int64_t push = BytesOfEach(groups, AddHeld);
    const int64_t held = push * MostHeldPushes(groups);
    EXPECT_LE(held, kLargestManifest / 2) << push;
    // With all the sessions that such a model may have.
    const int64_t session =
        BytesOfEach(groups, [](int64_t count, Manifest& manifest) {
          AddSessions(count, manifest.state);
        });
    EXPECT_LE(TextBytes(ManifestOfGroups(groups)) + held +
                  session * (MostSessions(groups) / 2),
              kLargestManifest)
        << push << " and " << session;
  }
}

TEST(ManifestSizeTest, AllTheSessionsThatAModelMayHaveCanBeReadBack) {
  for (const int64_t groups : {1, 1000}) {
    const int64_t sessions = MostSessions(groups) / kStride;
    Manifest manifest = ManifestOfGroups(groups);
    AddSessions(sessions, manifest.state);
    const auto text = WriteManifest(manifest);
    ASSERT_TRUE(text.ok()) << text.status();
    const auto read = ParseManifest(*text);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(static_cast<int64_t>(read->state.sessions.size()), sessions);
  }
}

}  // namespace
}  // namespace accrue
