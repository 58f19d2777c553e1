// Trains one step of a model of two tensors, at the daemon given.

#include <cstdio>
#include <vector>

#include "accrue/client.h"
#include "accrue/receive_pages.h"

namespace ac = accrue::client;

#define RETURN_IF_ERROR(expression)                            \
  do {                                                         \
    const absl::Status status = (expression);                  \
    if (!status.ok()) {                                        \
      std::fprintf(stderr, "%s\n", status.ToString().c_str()); \
      return 1;                                                \
    }                                                          \
  } while (false)

int main(int argc, char** argv) {
  ac::KeepReceivePages();
  if (argc != 2) {
    std::fprintf(stderr, "usage: consumer host:port\n");
    return 2;
  }
  const ac::ModelSpec spec = {
      .name = "consumer",
      .tensors = {{.name = "w", .shape = {3, 4}}, {.name = "b", .shape = {5}}},
      .groups = {
          {.name = "all", .k = 1, .hyperparameters = {.learning_rate = 0.1}}}};
  const auto client =
      ac::Client::Connect(argv[1], {.connect_timeout = absl::Seconds(20)});
  RETURN_IF_ERROR(client.status());
  const auto model = client->CreateOrOpen(spec);
  RETURN_IF_ERROR(model.status());
  std::vector<float> parameters(model->parameter_count(), 0.5f);
  RETURN_IF_ERROR(model->InitializeValues(parameters).status());
  auto worker = model->OpenWorker({.name = "consumer-0"});
  RETURN_IF_ERROR(worker.status());
  RETURN_IF_ERROR(worker->Pull(&parameters).status());
  const std::vector<float> gradient(parameters.size(), 0.25f);
  const auto pushed = worker->Push(gradient, {.loss = 1.5});
  RETURN_IF_ERROR(pushed.status());
  RETURN_IF_ERROR(worker->Close());
  std::printf("parameters=%zu accepted=%d folded=%lld\n", parameters.size(),
              pushed->accepted, static_cast<long long>(pushed->folded_pushes));
  return 0;
}
