#include "client/examples/experiments/effective_batch.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/examples/experiments/classifier.h"
#include "client/examples/experiments/csv.h"
#include "client/examples/experiments/method.h"
#include "client/examples/experiments/run.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

constexpr int64_t kK = 4;
constexpr int64_t kSmallBatch = 16;
constexpr int64_t kUpdates = 100;

// The parameters in the end; the images are those that the seed draws, `batch`
// at a time.
absl::StatusOr<std::vector<float>> TrainOn(const client::Client& client,
                                           const Images& images,
                                           const Setting& setting,
                                           int64_t batch_size, uint64_t seed) {
  Network network = MakeNetwork({64});
  ACCRUE_ASSIGN_OR_RETURN(Run run,
                          Run::Start(client,
                                     MakeSpec(setting, UniqueModelName("batch"),
                                              TensorsOf(network)),
                                     FirstParameters(network, seed)));
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int64_t> any(0, images.train.count() - 1);
  std::vector<int64_t> indices(static_cast<size_t>(batch_size));
  std::vector<float> gradient(run.parameters().size());
  fashion_mnist::Batch batch;
  for (int64_t i = 0; i < kUpdates * kK * kSmallBatch; i += batch_size) {
    for (int64_t& index : indices) index = any(random);
    fashion_mnist::Gather(images.train, indices, &batch);
    network.LossAndGradient(run.parameters(), batch.inputs, batch.labels,
                            absl::MakeSpan(gradient));
    ACCRUE_RETURN_IF_ERROR(run.Push(gradient).status());
  }
  std::vector<float> parameters = run.parameters();
  ACCRUE_RETURN_IF_ERROR(run.Finish().status());
  return parameters;
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  }
  return std::sqrt(sum);
}

}  // namespace

absl::Status EffectiveBatchExperiment(const Options& options) {
  ACCRUE_ASSIGN_OR_RETURN(const Images images, LoadImages(options.dataset));
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client,
                          client::Client::Connect(options.target));
  Csv table({"method", "k", "seed", "difference"});
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    ACCRUE_ASSIGN_OR_RETURN(
        const std::vector<float> large,
        TrainOn(client, images, {}, kK * kSmallBatch, seed));
    const double way =
        Distance(large, FirstParameters(MakeNetwork({64}), seed));
    for (const Method method : {Method::kAccumulation, Method::kSparseOnly}) {
      ACCRUE_ASSIGN_OR_RETURN(
          const std::vector<float> small,
          TrainOn(client, images, {.method = method, .k = kK}, kSmallBatch,
                  seed));
      table.Row(Name(method), kK, seed, Distance(small, large) / way);
    }
  }
  return table.WriteTo(absl::StrCat(options.out, "/batch.csv"));
}

}  // namespace accrue::experiments
