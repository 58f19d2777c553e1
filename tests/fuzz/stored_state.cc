#include "tests/fuzz/stored_state.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/durability/json_fields.h"
#include "server/durability/json_text.h"
#include "server/durability/spec_fields.h"
#include "server/durability/state_check.h"
#include "tests/fuzz/chain_bytes.h"

namespace accrue::fuzz {
namespace {

// `value`, as it is read of what was written of it.
template <typename T>
T ThroughJson(const T& value) {
  const std::string text = ToJson(value).dump();
  const absl::StatusOr<Json> json = ParseJson(text, {});
  Require(json.status(), "what was written is JSON");
  T read;
  Require(FromJson(*json, &read), "what was written is read");
  Require(ToJson(read).dump() == text, "what is read is what was written");
  return read;
}

}  // namespace

void StoredState::Begin(CapturedState captured) {
  state_ = std::move(captured.state);
  for (const Held& push : captured.held) {
    held_.push_back(BytesOf(push->payload));
  }
  for (const StateArray array : captured.arrays) {
    arrays_[array].resize(static_cast<size_t>(elems_));
  }
}

bool StoredState::Read(const ArrayReader& arrays, std::function<void()>) {
  for (auto& [array, values] : arrays_) {
    Require(arrays.Read(array, 0, absl::MakeSpan(values)),
            "a captured array is read");
  }
  return true;
}

void StoredState::Fail(const absl::Status& why) {
  Require(why, "a model that is not deleted is captured");
}

absl::Status StoredState::Read(StateArray array, int64_t,
                               absl::Span<float> out) const {
  const std::vector<float>& values = arrays_.at(array);
  std::copy_n(values.begin(), out.size(), out.begin());
  return absl::OkStatus();
}

absl::StatusOr<ByteChain> StoredState::ReadHeld(int64_t index) const {
  return ByteChain::CopyOf(held_[static_cast<size_t>(index)]);
}

void StoredState::PassThroughJson(const ModelSpec& spec) {
  state_ = ThroughJson(state_);
  Require(ThroughJson(spec) == spec, "a spec stays as it is");
  Require(CheckState(state_, spec),
          "a state that a model was in is one that can be");
}

std::shared_ptr<StoredState> Store(World& world, Model& model) {
  auto stored = std::make_shared<StoredState>(model.layout()->elems());
  model.CaptureState(stored);
  RunQueued();
  stored->arrays_[StateArray::kParameters] =
      world.Parameters(model, kernels::Encoding::kF32);
  return stored;
}

std::shared_ptr<Model> Restore(World& world, const ModelSpec& spec,
                               const std::shared_ptr<StoredState>& stored) {
  auto model = world.Create(spec);
  Require(model.status(), "a model is made once more");
  const StoredModel from = {.source = stored,
                            .version = *stored->state().version};
  Require(Await<absl::Status>(
              [&](auto done) { (*model)->Restore(from, std::move(done)); }),
          "it takes what was stored");
  return *std::move(model);
}

}  // namespace accrue::fuzz
