// Plan: what coordinator and workers must agree on.

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_PLAN_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "accrue/compression.h"
#include "accrue/model.h"
#include "accrue/spec.h"
#include "client/examples/fashion_mnist/dataset.h"
#include "client/examples/fashion_mnist/mlp.h"

namespace accrue::fashion_mnist {

struct Plan {
  std::string target = "127.0.0.1:7700";
  std::string model = "fashion_mnist";
  std::string dataset = kDefaultFolder;
  int64_t workers = 4;
  int64_t epochs = 10;
  int64_t batch_size = 64;  // of one gradient
  int64_t examples = 0;     // train on the first so many only; 0: on all
  double learning_rate = 3e-3;
  uint64_t seed = 1;
  client::Buffering buffering = client::Buffering::kEmbedded;
  // Minibatches that a worker goes through for each version, and whether it
  // adds them up itself or pushes every one.
  int64_t micro_steps = 1;
  bool local_accumulation = false;
  client::Compression compression;
};

// 784-256-128-10.
Mlp<float> MakeNetwork();

// adamw, synchronous: k pushes make a version, micro_steps from each worker.
// Warm-up over half an epoch, then a cosine down to nearly nothing.
client::ModelSpec MakeSpec(const Plan& plan, int64_t batches_per_epoch);

// He et al.: normal weights of variance 2 / fan-in, biases of 0.
std::vector<client::Initializer> MakeInitializers();

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_PLAN_H_
