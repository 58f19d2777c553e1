// Bytes as a checkpoint's manifest: an error, or a manifest that is written as
// what was read, and that a model can go on from, whatever it says. The bytes
// are all that comes before the manifest's hash, which is the right one. Half
// of the mutations change a value of the JSON.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "server/base/logging.h"
#include "server/durability/manifest.h"
#include "server/kernels/encoding.h"
#include "tests/fuzz/allocation_meter.h"
#include "tests/fuzz/json_mutation.h"
#include "tests/fuzz/world.h"

namespace accrue::fuzz {
namespace {

// Of a model that is made to go on from it.
constexpr int64_t kMostElems = 2000;
constexpr size_t kMostHeld = 16;
// What a JSON value, or one that is made of it, may take for each of its bytes.
constexpr int64_t kBytesPerByte = 256;

std::string WithHash(std::string text) {
  text += ",\n \"xxh3\": \"";
  const uint64_t hash = XXH3_64bits(text.data(), text.size());
  absl::StrAppend(&text, absl::Hex(hash, absl::kZeroPad16), "\"\n}\n");
  return text;
}

absl::StatusOr<Manifest> ParseMetered(const std::string& text) {
  const AllocationMeter meter;
  absl::StatusOr<Manifest> manifest = ParseManifest(text);
  Require(meter.peak_bytes() <=
              4096 + kBytesPerByte * static_cast<int64_t>(text.size()),
          "memory is bounded by the text's size");
  return manifest;
}

// Arrays of small numbers, and what a manifest says is held, of zeros.
class PlainSource final : public StateSource {
 public:
  explicit PlainSource(TrainingState state) : state_(std::move(state)) {}

  const TrainingState& state() const override { return state_; }
  bool Has(StateArray) const override { return true; }
  absl::Status Read(StateArray, int64_t, absl::Span<float> out) const override {
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<float>(i % 8) / 8;
    }
    return absl::OkStatus();
  }
  absl::StatusOr<ByteChain> ReadHeld(int64_t index) const override {
    const HeldPushState& held = state_.held[static_cast<size_t>(index)];
    std::string bytes(static_cast<size_t>(held.payload_bytes), '\0');
    if (held.encoding == kernels::Encoding::kTopK) {
      for (size_t i = 0; i < bytes.size() / kernels::kPairBytes; ++i) {
        const auto element = static_cast<uint32_t>(i);
        bytes.replace(i * kernels::kPairBytes, sizeof(element),
                      reinterpret_cast<const char*>(&element), sizeof(element));
      }
    }
    return ByteChain::CopyOf(bytes);
  }

 private:
  const TrainingState state_;
};

bool IsSmall(const Manifest& manifest) {
  int64_t elems = 0;
  for (const TensorSpec& tensor : manifest.spec.tensors) {
    elems += ElementCount(tensor);
  }
  return elems <= kMostElems && manifest.spec.groups.size() <= 4 &&
         manifest.state.held.size() <= kMostHeld;
}

void GoOn(const Manifest& manifest) {
  World world;
  ModelSpec spec = manifest.spec;
  spec.durability = Durability::kMemory;  // there is no disk
  const auto made = world.store().MakeAgain(spec);
  Require(made.status(), "a model is made of a spec that was accepted");
  Model& model = **made;
  const StoredModel stored = {
      .source = std::make_shared<PlainSource>(manifest.state),
      .version = manifest.state.version.value_or(Version())};
  const absl::Status restored = Await<absl::Status>(
      [&](auto done) { model.Restore(stored, std::move(done)); });
  Require(restored, "a model takes a state that was accepted");
  model.Attach(nullptr);
  RunQueued();
  Require(model.Describe().folded_pushes == manifest.state.folded_pushes,
          "a model goes on from where it was");
  if (manifest.state.version.has_value()) {
    Require(world.EndCycle(model).status(), "its cycle can be ended");
    Require(world.EndCycle(model).status(), "so can the next");
  }
  world.Look(model);
}

void Read(const std::string& text) {
  const auto manifest = ParseMetered(text);
  if (!manifest.ok()) return;
  const auto written = WriteManifest(*manifest);
  Require(written.status(), "what was read can be written");
  const auto again = ParseManifest(*written);
  Require(again.status(), "what was written can be read");
  Require(*WriteManifest(*again) == *written, "it is the same");
  if (IsSmall(*manifest)) GoOn(*manifest);
}

}  // namespace
}  // namespace accrue::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  accrue::fuzz::Require(accrue::InitLogging("off"), "logging can be off");
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size,
                                   size_t most_bytes);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t most_bytes,
                                          unsigned int seed) {
  if (seed % 2 == 0) return LLVMFuzzerMutate(data, size, most_bytes);
  std::string text(reinterpret_cast<const char*>(data), size);
  text = accrue::fuzz::MutateJson(text + "}", seed);
  if (text.empty() || text.size() - 1 > most_bytes) {
    return LLVMFuzzerMutate(data, size, most_bytes);
  }
  std::memcpy(data, text.data(), text.size() - 1);
  return text.size() - 1;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  accrue::fuzz::Read(accrue::fuzz::WithHash(
      std::string(reinterpret_cast<const char*>(data), size)));
  return 0;
}
