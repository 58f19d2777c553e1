#include "tests/e2e/acked_pushes.h"

#include <random>

#include <gtest/gtest.h>

namespace accrue {
namespace {

constexpr char kWorker[] = "w";
// Where nothing is refused at last.
constexpr int kMostPushes = 10'000;

v1::ModelSpec SpecOf(const std::string& model, v1::Durability durability,
                     v1::Buffering buffering) {
  v1::ModelSpec spec = Wire::Spec(model, AckedPushes::kElems, /*k=*/2);
  spec.set_durability(durability);
  spec.mutable_optimizer()->set_buffering(buffering);
  return spec;
}

std::vector<float> Gradient(int64_t seed) {
  std::minstd_rand random(static_cast<uint32_t>(seed));
  std::vector<float> gradient(static_cast<size_t>(AckedPushes::kElems));
  for (float& g : gradient) {
    g = static_cast<float>(random()) * 0x1p-31f - 0.5f;
  }
  return gradient;
}

}  // namespace

AckedPushes::AckedPushes(const Daemon& daemon, const std::string& model,
                         v1::Durability durability, v1::Buffering buffering)
    : daemon_(daemon), spec_(SpecOf(model, durability, buffering)) {
  wire().Make(spec_);
  session_ = wire().Open(model, kWorker);
}

Wire& AckedPushes::wire() {
  if (connected_ != daemon_.pid()) {
    wire_ = std::make_unique<Wire>(daemon_.tcp());
    connected_ = daemon_.pid();
  }
  return *wire_;
}

void AckedPushes::Resume() {
  v1::OpenSessionResponse opened;
  if (!wire().TryOpen(model(), kWorker, session_, &opened).status.ok()) {
    session_ = wire().Open(model(), kWorker);
    sequence_ = 0;
    return;
  }
  sequence_ = opened.last_sequence();
}

Ending AckedPushes::Push() {
  const std::vector<float> gradient = Gradient(++attempts_);
  Ending ending =
      wire().Push(wire().Header(model(), session_, sequence_ + 1, gradient),
                  FloatBytes(gradient));
  if (!ending.status.ok()) return ending;
  ++sequence_;
  acked_.push_back(gradient);
  return ending;
}

void AckedPushes::PushAll(int count) {
  for (int i = 0; i < count; ++i) {
    const Ending ending = Push();
    ASSERT_TRUE(ending.status.ok()) << ending.status.error_message();
  }
}

Ending AckedPushes::PushUntilRefused() {
  for (int i = 0; i < kMostPushes; ++i) {
    Ending ending = Push();
    if (!ending.status.ok()) return ending;
  }
  ADD_FAILURE() << "no push is refused";
  return {};
}

void AckedPushes::TakeBackTo(int64_t count) {
  acked_.resize(static_cast<size_t>(count));
}

void AckedPushes::ExpectHolds() {
  const v1::Model described = wire().Describe(model());
  EXPECT_EQ(described.folded_pushes(), count());
  const auto daemon = Daemon::Start();
  Wire twin(daemon->tcp());
  twin.Make(
      SpecOf(model(), v1::DURABILITY_MEMORY, spec_.optimizer().buffering()));
  const std::string session = twin.Open(model(), kWorker);
  int64_t sequence = 0;
  for (const std::vector<float>& gradient : acked_) {
    const Ending ending =
        twin.Push(twin.Header(model(), session, ++sequence, gradient),
                  FloatBytes(gradient));
    ASSERT_TRUE(ending.status.ok()) << ending.status.error_message();
  }
  EXPECT_TRUE(wire().Parameters(model()) == twin.Parameters(model()));
}

Ending AckedPushes::Checkpoint(std::string* name) {
  BoundedContext context;
  v1::CheckpointRequest request;
  request.set_model(model());
  v1::CheckpointResponse response;
  Ending ending =
      EndOf(wire().models().Checkpoint(&context, request, &response), context);
  if (name != nullptr) *name = response.checkpoint().name();
  return ending;
}

Ending AckedPushes::Restore(const std::string& checkpoint) {
  BoundedContext context;
  v1::RestoreRequest request;
  request.set_model(model());
  request.set_checkpoint(checkpoint);
  v1::RestoreResponse response;
  return EndOf(wire().models().Restore(&context, request, &response), context);
}

std::vector<std::string> AckedPushes::Checkpoints() {
  BoundedContext context;
  v1::ListCheckpointsRequest request;
  request.set_model(model());
  v1::ListCheckpointsResponse response;
  const grpc::Status status =
      wire().models().ListCheckpoints(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  std::vector<std::string> names;
  for (const v1::Checkpoint& checkpoint : response.checkpoints()) {
    names.push_back(checkpoint.name());
  }
  return names;
}

Ending AckedPushes::Describe() {
  BoundedContext context;
  v1::GetModelRequest request;
  request.set_model(model());
  v1::GetModelResponse response;
  return EndOf(wire().models().GetModel(&context, request, &response), context);
}

}  // namespace accrue
