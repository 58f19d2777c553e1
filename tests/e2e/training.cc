#include "tests/e2e/training.h"

#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace accrue {
namespace {

using client::Client;
using client::PushResult;
using client::Reason;
using client::Worker;

// One push, and what has to follow it, as accrue/worker.h says.
absl::Status Step(Worker& worker, int number, std::vector<float>& parameters,
                  Trained& trained) {
  const client::Version at = *worker.version();
  const absl::StatusOr<PushResult> pushed =
      worker.Push(Gradient(parameters, number, at.number), {.loss = 1});
  if (!pushed.ok()) return pushed.status();
  if (pushed->accepted) {
    ++trained.accepted;
  } else if (pushed->reason != Reason::kQuota) {
    trained.refusals.push_back(pushed->reason);
    return worker.Pull(&parameters).status();
  }
  while (worker.version() == at) {
    const auto pulled = worker.PullNewer(&parameters, absl::Seconds(10));
    if (!pulled.ok()) return pulled.status();
  }
  return absl::OkStatus();
}

absl::StatusOr<Worker> OpenWorker(const std::string& target,
                                  const Training& training, int number) {
  const auto client = Client::Connect(target, training.connection);
  if (!client.ok()) return client.status();
  const auto model = client->OpenModel(Training::kModel);
  if (!model.ok()) return model.status();
  return model->OpenWorker({.name = absl::StrCat("w", number),
                            .compression = {.encoding = training.encoding}});
}

Trained TrainOne(const std::string& target, const Training& training,
                 int number, int64_t last) {
  Trained trained;
  absl::StatusOr<Worker> worker = OpenWorker(target, training, number);
  trained.status = worker.status();
  std::vector<float> parameters(static_cast<size_t>(training.elements));
  if (trained.status.ok()) trained.status = worker->Pull(&parameters).status();
  while (trained.status.ok() && worker->version()->number < last) {
    if (training.gate != nullptr) {
      training.gate->WaitAt(worker->version()->number);
    }
    trained.status = Step(*worker, number, parameters, trained);
  }
  return trained;
}

}  // namespace

void Gate::MoveTo(int64_t version) {
  MutexLock lock(&mutex_);
  version_ = version;
  moved_.SignalAll();
}

void Gate::WaitAt(int64_t version) {
  MutexLock lock(&mutex_);
  while (version >= version_) moved_.Wait(&mutex_);
}

client::Model Make(const std::string& target, const Training& training) {
  client::ModelSpec spec;
  spec.name = Training::kModel;
  spec.tensors = {{.name = "w", .shape = {training.elements}}};
  spec.groups = {{.name = "all",
                  .k = training.workers,
                  .hyperparameters = {.learning_rate = 0.01}}};
  spec.optimizer.buffering = training.buffering;
  spec.max_pushes_per_worker = 1;
  spec.durability = training.durability;
  client::Model model = Value(
      Value(Client::Connect(target, training.connection)).CreateModel(spec));
  EXPECT_TRUE(model
                  .InitializeWith(
                      {{.tensor = "w", .kind = client::ConstantInitializer{}}},
                      /*seed=*/0)
                  .ok());
  return model;
}

std::vector<float> Gradient(const std::vector<float>& parameters, int worker,
                            int64_t version) {
  std::minstd_rand noise(static_cast<uint32_t>(1 + 1000 * version + worker));
  std::vector<float> gradient(parameters.size());
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] = parameters[i] + static_cast<float>(noise()) * 0x1p-31f - 0.5f;
  }
  return gradient;
}

std::vector<Trained> Train(const std::string& target, const Training& training,
                           int64_t last, const std::function<void()>& disturb) {
  std::vector<Trained> trained(static_cast<size_t>(training.workers));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < trained.size(); ++i) {
    threads.emplace_back([&, i] {
      trained[i] = TrainOne(target, training, static_cast<int>(i), last);
    });
  }
  disturb();
  for (std::thread& thread : threads) thread.join();
  return trained;
}

std::vector<float> Parameters(const std::string& target,
                              const Training& training) {
  std::vector<float> parameters(static_cast<size_t>(training.elements));
  const client::Model model =
      Value(Value(Client::Connect(target, training.connection))
                .OpenModel(Training::kModel));
  EXPECT_TRUE(model.Pull(&parameters).ok());
  return parameters;
}

void AwaitVersion(client::Watcher& watcher, int64_t version) {
  while (true) {
    const auto notice = watcher.Next(absl::Seconds(60));
    ASSERT_TRUE(notice.ok()) << notice.status();
    if (notice->version.number >= version) return;
  }
}

}  // namespace accrue
