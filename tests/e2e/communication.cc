#include "tests/e2e/communication.h"

#include <cstdlib>
#include <iostream>
#include <set>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

template <typename T>
T ValueOf(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::cerr << result.status() << "\n";
    std::abort();
  }
  return *std::move(result);
}

std::string GroupOf(int64_t k) { return absl::StrCat("k", k); }

}  // namespace

std::unique_ptr<Daemon> CommunicationTest::daemon_;

void CommunicationTest::SetUpTestSuite() { daemon_ = Daemon::Start(); }

void CommunicationTest::TearDownTestSuite() { daemon_.reset(); }

void CommunicationTest::SetUp() {
  ASSERT_NE(daemon_, nullptr);
  client_ = ValueOf(client::Client::Connect(daemon_->tcp()));
  for (const auto& model : ValueOf(client_->ListModels())) {
    ASSERT_TRUE(client_->DeleteModel(model.spec.name).ok());
  }
}

client::ModelSpec CommunicationTest::PlainSgd(const std::string& name,
                                              const std::vector<int64_t>& sizes,
                                              const std::vector<int64_t>& ks) {
  client::ModelSpec spec;
  spec.name = name;
  for (size_t i = 0; i < sizes.size(); ++i) {
    spec.tensors.push_back({.name = absl::StrCat("t", i),
                            .shape = {sizes[i]},
                            .group = GroupOf(ks[i])});
  }
  for (const int64_t k : std::set<int64_t>(ks.begin(), ks.end())) {
    spec.groups.push_back(
        {.name = GroupOf(k), .k = k, .hyperparameters = {.learning_rate = 1}});
  }
  spec.optimizer.optimizer = client::Optimizer::kSgd;
  return spec;
}

client::Model CommunicationTest::Make(const client::ModelSpec& spec) {
  client::Model model = ValueOf(client_->CreateModel(spec));
  std::vector<client::Initializer> zeros;
  for (const client::TensorSpec& tensor : spec.tensors) {
    zeros.push_back(
        {.tensor = tensor.name, .kind = client::ConstantInitializer{0}});
  }
  ValueOf(model.InitializeWith(zeros, 1));
  return model;
}

}  // namespace accrue
