#include "tests/fuzz/world.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "server/kernels/convert.h"

namespace accrue::fuzz {
namespace {

constexpr SpecLimits kLimits = {.max_tensors = 6,
                                .max_groups = 4,
                                .max_elements = 6000,
                                .max_payload_bytes = 24'000};

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() ||
          std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

bool Finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](float x) { return std::isfinite(x); });
}

IngestOptions Impatient(int64_t ingest_memory_bytes) {
  return {.ingest_memory_bytes = ingest_memory_bytes,
          .max_push_streams = 6,
          .header_timeout = absl::ZeroDuration(),
          .push_idle_timeout = absl::ZeroDuration(),
          .push_base_time = absl::ZeroDuration(),
          .admission_timeout = absl::ZeroDuration()};
}

}  // namespace

bool Image::finite() const {
  return Finite(momentum) && Finite(variance) && Finite(accumulation) &&
         Finite(parameters);
}

bool operator==(const Image& a, const Image& b) {
  return SameBits(a.momentum, b.momentum) && SameBits(a.variance, b.variance) &&
         SameBits(a.accumulation, b.accumulation) &&
         SameBits(a.parameters, b.parameters) && a.cycles == b.cycles &&
         a.version == b.version && a.folded_pushes == b.folded_pushes &&
         a.accumulation_bytes == b.accumulation_bytes;
}

World::World(int64_t ingest_memory_bytes)
    : pool_(std::make_unique<WorkPool>(1)) {
  ModelEnvironment environment;
  environment.device = &device_;
  environment.pool = pool_.get();
  environment.timers = &timers_;
  environment.ledger = &ledger_;
  environment.max_sessions = 4;
  environment.session_ttl = absl::InfiniteDuration();
  store_ = std::make_unique<ModelStore>(
      ModelStore::Options{.environment = environment, .limits = kLimits});
  ingest_ = std::make_unique<Ingest>(Impatient(ingest_memory_bytes),
                                     store_.get(), &timers_, &ledger_);
}

World::~World() {
  RunQueued();
  Require(ingest_->stream_count() == 0, "no stream is left");
  Require(ingest_->reserved_bytes() == 0, "no ingest memory is left reserved");
  Require(ledger_.live_bytes(MemoryTag::kIngest) == 0,
          "no ingest memory is left charged");
}

absl::StatusOr<std::shared_ptr<Model>> World::Create(const ModelSpec& spec) {
  auto created = Await<absl::StatusOr<ModelStore::Created>>(
      [&](auto done) { store_->Create(spec, std::move(done)); });
  if (!created.ok()) return created.status();
  return created->model;
}

absl::StatusOr<Version> World::Initialize(Model& model) {
  Initialization initialization;
  for (const TensorSpec& tensor : model.spec().tensors) {
    initialization.initializers.push_back({.tensor = tensor.name, .a = 0.5});
  }
  return Await<absl::StatusOr<Version>>([&](auto done) {
    model.Initialize(std::move(initialization), std::move(done));
  });
}

absl::StatusOr<OpenedSession> World::Open(Model& model,
                                          const std::string& worker,
                                          const std::string& id) {
  return Await<absl::StatusOr<OpenedSession>>([&](auto done) {
    model.OpenSession({.worker = worker, .session_id = id}, std::move(done));
  });
}

absl::StatusOr<EndedCycle> World::EndCycle(Model& model,
                                           std::optional<Version> version) {
  return Await<absl::StatusOr<EndedCycle>>(
      [&](auto done) { model.EndCycle(std::move(version), std::move(done)); });
}

std::vector<float> World::Parameters(Model& model, kernels::Encoding encoding) {
  std::vector<float> result;
  const std::shared_ptr<const Publication> newest = model.newest();
  if (newest == nullptr) return result;
  using Ranges = absl::StatusOr<std::vector<Publication::Range>>;
  const Ranges ranges = Await<Ranges>([&](auto done) {
    newest->Ranges({}, encoding, pool_.get(), model.lane(), std::move(done));
  });
  Require(ranges.status(), "parameters can be read");
  for (const Publication::Range& range : *ranges) {
    const int64_t count = range.size_bytes / kernels::EncodedBytes(encoding);
    const size_t old = result.size();
    result.resize(old + static_cast<size_t>(count));
    kernels::Decode(range.data, count, encoding, result.data() + old);
  }
  return result;
}

Image World::Look(Model& model) {
  Image image;
  const auto elems = static_cast<size_t>(model.layout()->elems());
  bool looked = false;
  model.Inspect(
      [&](kernels::Shard* shard, const std::vector<rule::CycleState>& cycles) {
        using Array = kernels::Shard::Array;
        const auto read = [&](Array array, std::vector<float>& out) {
          out.resize(elems);
          if (!shard->Read(array, 0, absl::MakeSpan(out)).ok()) out.clear();
        };
        read(Array::kMomentum, image.momentum);
        read(Array::kVariance, image.variance);
        read(Array::kAccumulation, image.accumulation);
        image.cycles = cycles;
        looked = true;
      });
  RunQueued();
  Require(looked, "the executor has come to the look at its state");
  image.parameters = Parameters(model, kernels::Encoding::kF32);
  const ModelDescription description = model.Describe();
  Require(description.state != ModelState::kPoisoned, "it is not poisoned");
  image.version = description.version;
  image.folded_pushes = description.folded_pushes;
  image.accumulation_bytes = description.accumulation_buffer_bytes;
  return image;
}

}  // namespace accrue::fuzz
