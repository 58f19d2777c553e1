#include "tests/durability/sample_model.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <random>
#include <utility>

#include <gtest/gtest.h>

#include "server/durability/json_fields.h"
#include "tests/durability/samples.h"

namespace accrue {
namespace {

constexpr StateArray kMoments[] = {StateArray::kMomentum, StateArray::kVariance,
                                   StateArray::kAccumulation};

std::string Text(const ByteChain& chain) {
  std::string text;
  for (const ByteChain::Span& span : chain.spans()) {
    text.append(reinterpret_cast<const char*>(span.data), span.size);
  }
  return text;
}

Held MakeHeld(const std::string& worker, kernels::Encoding encoding,
              int64_t payload_bytes) {
  auto held = std::make_shared<HeldPush>();
  held->worker = worker;
  held->encoding = encoding;
  held->facts.weight = 0.5;
  held->group_square_sums = {1.0, 0.25};
  // In two spans.
  const std::string payload(payload_bytes - 1, worker[0]);
  held->payload = ByteChain::CopyOf(payload);
  held->payload.Append(ByteChain::CopyOf("z"));
  return held;
}

}  // namespace

SampleModel::SampleModel(ModelSpec spec, uint32_t seed)
    : spec_(std::move(spec)),
      layout_(std::make_shared<const Layout>(spec_)),
      state_(SampleState()) {
  FillArrays(seed);
  if (KeepsPayloads(spec_)) HoldPushes();
}

void SampleModel::FillArrays(uint32_t seed) {
  std::mt19937 random(seed);
  const auto fill = [&](StateArray array) {
    std::vector<float>& values = arrays_[array];
    values.resize(elems());
    for (float& value : values) value = static_cast<float>(random());
  };
  fill(StateArray::kParameters);
  for (const StateArray array : kMoments) fill(array);
  for (const int64_t size : layout_->group_elems()) {
    auto buffer =
        device_->AllocateHost(size * 4, MemoryTag::kParameters, nullptr);
    groups_.push_back(std::make_shared<GroupBuffer>(
        *std::move(buffer), size, nullptr, device_.get(), nullptr));
  }
  for (const TensorPlace& tensor : layout_->tensors()) {
    std::copy_n(arrays_[StateArray::kParameters].begin() + tensor.offset,
                tensor.elems,
                groups_[tensor.group]->floats() + tensor.group_offset);
  }
}

void SampleModel::HoldPushes() {
  held_ = {MakeHeld("ann", kernels::Encoding::kF32, elems() * 4),
           MakeHeld("bob", kernels::Encoding::kTopK, 16)};
  for (const Held& held : held_) {
    state_.held.push_back({held->worker, held->encoding,
                           held->payload.size_bytes(), held->facts,
                           held->group_square_sums});
  }
  // Of the longer cycle both, of the shorter one the second.
  state_.groups[0].gather_begin = 1;
  state_.groups[1].cycle.position = state_.groups[1].cycle.since_update = 2;
  for (GroupState& group : state_.groups) group.cycle.weight_sum = 0;
}

CapturedState SampleModel::Captured() const {
  CapturedState captured;
  captured.state = state_;
  Publication::Facts facts;
  facts.version = *state_.version;
  captured.newest = std::make_shared<const Publication>(
      std::move(facts), layout_, groups_, [] {});
  captured.held = held_;
  captured.arrays.assign(std::begin(kMoments), std::end(kMoments));
  return captured;
}

BeginChange SampleModel::Begun() const {
  BeginChange begun{.state = state_, .parameters = groups_};
  begun.state.held.clear();
  for (GroupState& group : begun.state.groups) {
    group.gather_begin = 0;
    const int64_t updates = group.cycle.updates;
    group.cycle = {};
    group.cycle.updates = updates;
  }
  return begun;
}

absl::Status SampleModel::Read(StateArray array, int64_t piece,
                               absl::Span<float> out) const {
  std::copy_n(arrays_.at(array).begin() + piece * kStatePieceElems, out.size(),
              out.begin());
  return absl::OkStatus();
}

CheckpointTarget SampleModel::Target(FileSystem& files, WorkPool& pool,
                                     const std::string& directory,
                                     int64_t lsn) const {
  return {.files = &files,
          .pool = &pool,
          .memory = std::make_shared<CheckpointMemory>(0, nullptr),
          .directory = directory,
          .instance = kSampleInstance,
          .lsn = [lsn] { return lsn; },
          .spec = spec_,
          .layout = layout_};
}

void SampleModel::ExpectIn(const CheckpointReader& reader) const {
  EXPECT_EQ(reader.manifest().spec, spec_);
  EXPECT_EQ(ToJson(reader.state()), ToJson(state_));
  for (const auto& [array, values] : arrays_) {
    EXPECT_TRUE(reader.Has(array));
    std::vector<float> read(kStatePieceElems);
    for (int64_t i = 0; i < elems(); i += kStatePieceElems) {
      const int64_t count = std::min(kStatePieceElems, elems() - i);
      const absl::Status status = reader.Read(
          array, i / kStatePieceElems, absl::MakeSpan(read).first(count));
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(std::memcmp(read.data(), values.data() + i, count * 4), 0)
          << static_cast<int>(array) << " from " << i;
    }
  }
  for (size_t i = 0; i < held_.size(); ++i) {
    const auto payload = reader.ReadHeld(static_cast<int64_t>(i));
    ASSERT_TRUE(payload.ok()) << payload.status();
    EXPECT_EQ(Text(*payload), Text(held_[i]->payload));
  }
}

void ReadAll(CheckpointWriter& writer, const SampleModel& model) {
  while (true) {
    auto resumed = std::make_shared<std::promise<void>>();
    if (writer.Read(model, [resumed] { resumed->set_value(); })) return;
    resumed->get_future().get();
  }
}

absl::StatusOr<CheckpointInfo> WriteSample(const SampleModel& model,
                                           CheckpointTarget target) {
  std::promise<absl::StatusOr<CheckpointInfo>> done;
  CheckpointWriter writer(std::move(target),
                          [&](absl::StatusOr<CheckpointInfo> info) {
                            done.set_value(std::move(info));
                          });
  writer.Begin(model.Captured());
  ReadAll(writer, model);
  return done.get_future().get();
}

absl::StatusOr<CheckpointInfo> WriteSample(const SampleModel& model,
                                           FileSystem& files,
                                           const std::string& directory,
                                           int64_t lsn) {
  WorkPool pool(2);
  return WriteSample(model, model.Target(files, pool, directory, lsn));
}

}  // namespace accrue
