#include "tests/e2e/twin.h"

#include <cmath>

namespace accrue {
namespace {

constexpr const char* kModels[] = {Twin::kModel, "twin"};

v1::ModelSpec Momentum(const std::string& model) {
  v1::ModelSpec spec = Wire::Spec(model, Twin::kElems, Twin::kCycle);
  spec.set_max_pushes_per_worker(Twin::kCycle);
  return spec;
}

v1::ModelSpec AdamW(const std::string& model) {
  v1::ModelSpec spec = Momentum(model);
  spec.mutable_optimizer()->set_optimizer(v1::OPTIMIZER_ADAMW);
  spec.mutable_groups(0)->mutable_hyperparameters()->set_weight_decay(0.01);
  return spec;
}

v1::ModelSpec ClassicAdam(const std::string& model) {
  v1::ModelSpec spec = AdamW(model);
  spec.mutable_optimizer()->set_optimizer(v1::OPTIMIZER_ADAM);
  spec.mutable_optimizer()->set_buffering(v1::BUFFERING_CLASSIC);
  return spec;
}

v1::ModelSpec GatherAdam(const std::string& model) {
  v1::ModelSpec spec = ClassicAdam(model);
  spec.mutable_optimizer()->set_buffering(v1::BUFFERING_GATHER);
  return spec;
}

v1::ModelSpec Nesterov(const std::string& model) {
  v1::ModelSpec spec = Momentum(model);
  spec.mutable_optimizer()->set_nesterov(true);
  return spec;
}

v1::ModelSpec TwoGroups(const std::string& model) {
  v1::ModelSpec spec = AdamW(model);
  spec.mutable_tensors(0)->set_shape(0, 5'000);
  v1::TensorSpec& tensor = *spec.add_tensors();
  tensor.set_name("b");
  tensor.add_shape(Twin::kElems - 5'000);
  tensor.set_group("often");
  v1::GroupSpec& group = *spec.add_groups();
  group = spec.groups(0);
  group.set_name("often");
  group.set_k(Twin::kCycle / 2);
  return spec;
}

// What may be compared with another model: all but names, and what only
// readers and the allocator see.
std::string Comparable(v1::Model model) {
  model.mutable_spec()->clear_name();
  model.mutable_version()->clear_lineage();
  model.clear_memory();
  model.clear_sent_bytes();
  model.clear_traffic();
  return model.DebugString();
}

std::string Comparable(v1::PushResponse response) {
  response.mutable_version()->clear_lineage();
  return response.DebugString();
}

std::string Comparable(std::vector<v1::Session> sessions) {
  std::string text;
  for (v1::Session& session : sessions) {
    session.clear_id_prefix();
    session.clear_last_active_time();
    text += session.DebugString();
  }
  return text;
}

}  // namespace

void ExpectRefused(const Ending& ending, grpc::StatusCode code,
                   v1::ErrorDetail::Reason reason) {
  EXPECT_EQ(ending.status.error_code(), code) << ending.status.error_message();
  EXPECT_EQ(ending.detail.reason(), reason) << ending.status.error_message();
  EXPECT_FALSE(ending.status.error_message().empty());
}

const std::vector<TwinState>& Twin::States() {
  static const auto* const states = new std::vector<TwinState>{
      {"Momentum", Momentum},       {"AdamW", AdamW},
      {"ClassicAdam", ClassicAdam}, {"GatherAdam", GatherAdam},
      {"Nesterov", Nesterov},       {"TwoGroups", TwoGroups}};
  return *states;
}

Twin::Twin(Wire& wire, const TwinState& state) : wire_(wire) {
  for (const char* model : kModels) wire_.Make(state.spec(model));
  Reopen();
  Push();
}

std::vector<float> Twin::Gradient(int64_t seed) {
  std::vector<float> gradient(kElems);
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] =
        std::sin(static_cast<float>(seed) + static_cast<float>(i) * 0.37f);
  }
  return gradient;
}

v1::PushHeader Twin::Next() {
  return wire_.Header(kModel, session(), sequence_ + 1, Gradient(0));
}

void Twin::Push(DataSocket* data) {
  ++sequence_;
  const std::vector<float> gradient = Gradient(sequence_);
  v1::PushResponse responses[2];
  for (int i = 0; i < 2; ++i) {
    const v1::PushHeader header =
        wire_.Header(kModels[i], sessions_[i], sequence_, gradient);
    if (i == 0) last_header_ = header;
    const std::string payload = FloatBytes(gradient);
    const Ending ending =
        data != nullptr && i == 0
            ? data->Push(wire_, header, payload, &responses[i])
            : wire_.Push(header, payload, &responses[i]);
    ASSERT_TRUE(ending.status.ok())
        << kModels[i] << ": " << ending.status.error_message();
  }
  EXPECT_EQ(Comparable(responses[0]), Comparable(responses[1]));
  last_response_ = responses[0];
}

void Twin::PushToUpdate() {
  do {
    ASSERT_NO_FATAL_FAILURE(Push());
  } while (last_response_.groups(0).position() > 0);
}

std::string Twin::Open(const std::string& worker) {
  wire_.Open(kModels[1], worker);
  return wire_.Open(kModels[0], worker);
}

void Twin::Reopen() {
  for (int i = 0; i < 2; ++i) sessions_[i] = wire_.Open(kModels[i], "w");
  sequence_ = 0;
}

void Twin::ExpectUntouched() {
  wire_.AwaitIngest(0);
  ExpectSame();
  for (int i = 0; i < 2 * kCycle; ++i) ASSERT_NO_FATAL_FAILURE(Push());
  ExpectSame();
}

void Twin::ExpectSame() {
  EXPECT_EQ(Comparable(wire_.Describe(kModels[0])),
            Comparable(wire_.Describe(kModels[1])));
  EXPECT_EQ(Comparable(wire_.Sessions(kModels[0])),
            Comparable(wire_.Sessions(kModels[1])));
  // Not EXPECT_EQ: nobody reads 50 kB of bytes.
  EXPECT_TRUE(wire_.Parameters(kModels[0]) == wire_.Parameters(kModels[1]));
}

}  // namespace accrue
