#include "tests/model/harness.h"

#include <cstring>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "server/kernels/arrival_scan.h"
#include "server/kernels/convert.h"
#include "server/kernels/payload_hash.h"

namespace accrue {
namespace {

template <typename T>
std::function<void(T)> Fulfil(std::shared_ptr<std::promise<T>> promise) {
  return [promise = std::move(promise)](T value) {
    promise->set_value(std::move(value));
  };
}

// Calls start(done) and waits for what done is given.
template <typename T, typename Start>
T Await(Start start) {
  auto promise = std::make_shared<std::promise<T>>();
  std::future<T> future = promise->get_future();
  start(Fulfil<T>(std::move(promise)));
  return future.get();
}

std::vector<std::byte> Encoded(const std::vector<float>& values,
                               kernels::Encoding encoding) {
  const auto count = static_cast<int64_t>(values.size());
  std::vector<std::byte> bytes(
      static_cast<size_t>(count * kernels::EncodedBytes(encoding)));
  kernels::Encode(values.data(), count, encoding, bytes.data());
  return bytes;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() ||
          std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace

std::vector<float> Rounded(const std::vector<float>& values,
                           kernels::Encoding encoding) {
  std::vector<float> rounded(values.size());
  kernels::Decode(Encoded(values, encoding).data(),
                  static_cast<int64_t>(values.size()), encoding,
                  rounded.data());
  return rounded;
}

bool operator==(const StateImage& a, const StateImage& b) {
  return SameBits(a.momentum, b.momentum) && SameBits(a.variance, b.variance) &&
         SameBits(a.accumulation, b.accumulation) &&
         SameBits(a.parameters, b.parameters) && a.cycles == b.cycles &&
         a.version == b.version && a.folded_pushes == b.folded_pushes &&
         a.accumulation_bytes == b.accumulation_bytes &&
         a.sessions == b.sessions;
}

StateImage Anonymous(StateImage image) {
  if (image.version.has_value()) image.version->lineage.clear();
  for (auto& session : image.sessions) std::get<1>(session).clear();
  return image;
}

Hold::Hold(Model& model) {
  std::promise<void> held;
  const std::shared_future<void> released = released_.get_future().share();
  model.Inspect([&held, released](auto*, auto&) {
    held.set_value();
    released.wait();
  });
  held.get_future().wait();
}

ModelSpec SimpleSpec(int64_t elems, int64_t k) {
  ModelSpec spec;
  spec.name = "m";
  spec.tensors = {{"w", {elems}, "all"}};
  GroupSpec group;
  group.name = "all";
  group.k = k;
  group.hyper.learning_rate = 1;
  group.hyper.beta1 = 0;
  spec.groups = {group};
  spec.optimizer.optimizer = rule::Optimizer::kSgd;
  FillDefaults(spec);
  return spec;
}

Harness::Harness(int threads) : device_(MakeCpuDevice()), pool_(threads) {
  environment_.device = device_.get();
  environment_.pool = &pool_;
  environment_.timers = &timers_;
  environment_.ledger = &ledger_;
}

// No timer may queue work while the pool ends.
Harness::~Harness() { timers_.Stop(); }

absl::StatusOr<std::shared_ptr<Model>> Harness::TryMake(ModelSpec spec) {
  FillDefaults(spec);
  absl::Status valid = ValidateSpec(spec, SpecLimits());
  if (!valid.ok()) return valid;
  return Model::Create(spec, environment_);
}

std::shared_ptr<Model> Harness::Make(ModelSpec spec, double value) {
  absl::StatusOr<std::shared_ptr<Model>> model = TryMake(std::move(spec));
  EXPECT_TRUE(model.ok()) << model.status();
  absl::StatusOr<Version> version = Initialize(**model, value);
  EXPECT_TRUE(version.ok()) << version.status();
  return *model;
}

absl::StatusOr<Version> Harness::Initialize(Model& model, double value,
                                            bool restore) {
  Initialization initialization;
  initialization.restore = restore;
  for (const TensorSpec& tensor : model.spec().tensors) {
    Initializer initializer;
    initializer.tensor = tensor.name;
    initializer.a = value;
    initialization.initializers.push_back(initializer);
  }
  return Await<absl::StatusOr<Version>>([&](auto done) {
    model.Initialize(std::move(initialization), std::move(done));
  });
}

absl::StatusOr<OpenedSession> Harness::Open(Model& model,
                                            const std::string& worker,
                                            const std::string& id,
                                            const std::string& opening) {
  return Await<absl::StatusOr<OpenedSession>>([&](auto done) {
    model.OpenSession({.worker = worker, .session_id = id, .opening = opening},
                      std::move(done));
  });
}

absl::Status Harness::CloseSession(Model& model, const std::string& id) {
  return Await<absl::Status>(
      [&](auto done) { model.CloseSession(id, std::move(done)); });
}

absl::StatusOr<EndedCycle> Harness::EndCycle(Model& model,
                                             std::optional<Version> version) {
  return Await<absl::StatusOr<EndedCycle>>(
      [&](auto done) { model.EndCycle(std::move(version), std::move(done)); });
}

absl::Status Harness::Update(Model& model,
                             std::vector<HyperparameterUpdate> updates) {
  return Await<absl::Status>([&](auto done) {
    model.UpdateHyperparameters(std::move(updates), std::move(done));
  });
}

std::unique_ptr<Push> Harness::NewPush(Model& model, const std::string& session,
                                       int64_t sequence,
                                       const std::vector<float>& gradient,
                                       kernels::Encoding encoding) {
  auto push = std::make_unique<Push>();
  push->header.model = model.name();
  push->header.session_id = session;
  push->header.sequence = sequence;
  push->header.encoding = encoding;
  if (auto newest = model.newest()) {
    push->header.version = newest->facts().version;
  }
  const std::vector<std::byte> payload = Encoded(gradient, encoding);
  const auto bytes = static_cast<int64_t>(payload.size());
  push->header.payload_bytes = bytes;
  push->payload = ByteChain::CopyOf(absl::string_view(
      reinterpret_cast<const char*>(payload.data()), payload.size()));
  kernels::ArrivalScan scan(model.layout()->blocks(), encoding);
  scan.Update(payload.data(), bytes);
  push->first_non_finite = scan.first_non_finite();
  push->max_abs = scan.finite() ? scan.max_abs() : 0;
  push->group_square_sums = scan.group_square_sums();
  kernels::PayloadHash hash;
  hash.Update(payload.data(), bytes);
  push->hash = hash.Digest();
  return push;
}

std::future<absl::StatusOr<PushOutcome>> Harness::Send(
    Model& model, std::unique_ptr<Push> push) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<PushOutcome>>>();
  auto future = promise->get_future();
  auto arrival = std::make_shared<NotedArrival>();
  absl::StatusOr<BegunPush> begun = model.Begin(push->header, arrival);
  if (!begun.ok()) {
    promise->set_value(begun.status());
  } else if (begun->duplicate.has_value()) {
    promise->set_value(*begun->duplicate);
  } else {
    push->done = Fulfil(std::move(promise));
    model.Submit(std::move(push), arrival.get());
  }
  return future;
}

std::vector<float> Harness::Parameters(Model& model) {
  std::vector<float> result;
  std::shared_ptr<const Publication> newest = model.newest();
  if (newest == nullptr) return result;
  newest->Ranges(
      {}, kernels::Encoding::kF32, &pool_, model.lane(), [&](auto ranges) {
        for (const Publication::Range& range : *ranges) {
          const size_t old = result.size();
          result.resize(old + range.size_bytes / 4);
          std::memcpy(result.data() + old, range.data, range.size_bytes);
        }
      });
  return result;
}

StateImage Harness::Image(Model& model) {
  StateImage image;
  std::promise<void> looked;
  const int64_t elems = model.layout()->elems();
  model.Inspect(
      [&](kernels::Shard* shard, const std::vector<rule::CycleState>& cycles) {
        using Array = kernels::Shard::Array;
        auto read = [&](Array array, std::vector<float>& out) {
          out.resize(elems);
          if (!shard->Read(array, 0, absl::MakeSpan(out)).ok()) out.clear();
        };
        read(Array::kMomentum, image.momentum);
        read(Array::kVariance, image.variance);
        read(Array::kAccumulation, image.accumulation);
        image.cycles = cycles;
        looked.set_value();
      });
  looked.get_future().wait();
  image.parameters = Parameters(model);
  const ModelDescription description = model.Describe();
  image.version = description.version;
  image.folded_pushes = description.folded_pushes;
  image.accumulation_bytes = description.accumulation_buffer_bytes;
  for (const SessionDescription& session : model.Sessions()) {
    image.sessions.emplace_back(session.worker, session.id,
                                session.last_sequence,
                                session.pushes_this_version);
  }
  return image;
}

}  // namespace accrue
