#include "tests/gpu/sides.h"

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <gtest/gtest.h>

namespace accrue {

std::vector<float> Gradient(int64_t elems, int64_t seed) {
  std::vector<float> gradient(static_cast<size_t>(elems));
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] =
        std::sin(static_cast<float>(seed) + static_cast<float>(i) * 0.37f);
  }
  return gradient;
}

client::ModelSpec Spec(const std::string& name, int64_t elems,
                       client::Optimizer optimizer,
                       client::Buffering buffering) {
  client::ModelSpec spec;
  spec.name = name;
  spec.tensors = {{.name = "w", .shape = {elems - 77}},
                  {.name = "b", .shape = {77}, .group = "often"}};
  const client::Hyperparameters hyper = {.learning_rate = 0.01,
                                         .beta1 = 0.9,
                                         .beta2 = 0.9,  // lion folds one by one
                                         .weight_decay = 0.01,
                                         .clip_norm = 1};
  spec.groups = {{.name = "all", .k = kCycle, .hyperparameters = hyper},
                 {.name = "often", .k = kCycle / 2, .hyperparameters = hyper}};
  spec.optimizer.optimizer = optimizer;
  spec.optimizer.buffering = buffering;
  return spec;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

Side::Side(const Daemon& daemon, const client::ModelSpec& spec,
           const client::Compression& compression)
    : client_(*client::Client::Connect(daemon.tcp())),
      model_(*client_.CreateModel(spec)) {
  Initialize();
  worker_.emplace(
      *model_.OpenWorker({.name = "w", .compression = compression}));
  parameters_.resize(static_cast<size_t>(model_.parameter_count()));
}

void Side::Initialize(bool restore) {
  const client::NormalInitializer normal;
  std::vector<client::Initializer> initializers;
  for (const client::TensorSpec& tensor : model_.spec().tensors) {
    initializers.push_back({tensor.name, normal});
  }
  const auto initialized =
      model_.InitializeWith(initializers, /*seed=*/5, {.restore = restore});
  ASSERT_TRUE(initialized.ok()) << initialized.status();
}

absl::StatusOr<client::PushResult> Side::Push(
    const std::vector<float>& gradient) {
  Pull();
  return worker_->Push(gradient);
}

const std::vector<float>& Side::Pull() {
  const auto pulled = worker_->Pull(&parameters_);
  EXPECT_TRUE(pulled.ok()) << pulled.status();
  return parameters_;
}

Sides::Sides(const Daemon& gpu, const Daemon& cpu,
             const client::ModelSpec& spec,
             const client::Compression& compression)
    : gpu_(gpu, spec, compression),
      cpu_(cpu, spec, compression),
      elems_(client::ElementCount(spec)) {}

void Sides::Train(int64_t pushes) {
  for (int64_t i = 0; i < pushes; ++i) {
    const std::vector<float> gradient = Gradient(elems_, ++pushed_);
    for (Side* side : {&gpu_, &cpu_}) {
      const auto pushed = side->Push(gradient);
      ASSERT_TRUE(pushed.ok()) << pushed.status();
      ASSERT_TRUE(pushed->accepted) << pushed->message;
    }
    ASSERT_TRUE(SameBits(gpu_.Pull(), cpu_.Pull())) << "after push " << pushed_;
    const auto described = gpu_.Describe(), expected = cpu_.Describe();
    EXPECT_EQ(described.version->number, expected.version->number);
    EXPECT_EQ(described.folded_pushes, expected.folded_pushes);
    for (size_t g = 0; g < expected.groups.size(); ++g) {
      EXPECT_EQ(described.groups[g].clip_norm_seen,
                expected.groups[g].clip_norm_seen);
    }
  }
}

const char* FakeProgram() { return std::getenv("ACCRUE_FAKE_GPU_PROGRAM"); }

}  // namespace accrue
