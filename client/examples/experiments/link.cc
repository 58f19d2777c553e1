#include "client/examples/experiments/link.h"

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "accrue/compression.h"
#include "accrue/local_accumulation.h"
#include "client/examples/experiments/classifier.h"
#include "client/examples/experiments/csv.h"
#include "client/examples/experiments/interface_bytes.h"
#include "client/examples/experiments/method.h"
#include "client/examples/experiments/moments.h"
#include "client/examples/experiments/run.h"
#include "client/examples/fashion_mnist/share.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

const std::vector<int64_t> kHidden = {256};  // 0.8 MB a push
constexpr int64_t kBatchSize = 64;
constexpr int kRepetitions = 4;
constexpr absl::Duration kWait = absl::Seconds(60);

struct LinkSetting {
  Method method = Method::kStandard;
  int64_t k = 1;
  bool local = false;
  client::Encoding encoding = client::Encoding::kF32;
};

constexpr LinkSetting kLinkSettings[] = {
    {Method::kStandard, 1, false},
    {Method::kAccumulation, 2, false},
    {Method::kAccumulation, 4, false},
    {Method::kAccumulation, 8, false},
    {Method::kAccumulation, 2, true},
    {Method::kAccumulation, 4, true},
    {Method::kAccumulation, 8, true},
    // With the standard method 6.3's four rows.
    {Method::kBetaOnly, 4, false},
    {Method::kSparseOnly, 4, false},
    {Method::kSparseOnly, 4, true},
    {Method::kFull, 4, false},
    {Method::kFull, 4, true},
    // 8.3: with the tenth of the elements that is largest, and the others.
    {Method::kStandard, 1, false, client::Encoding::kTopK},
    {Method::kAccumulation, 4, false, client::Encoding::kTopK},
    {Method::kAccumulation, 4, true, client::Encoding::kTopK},
    {Method::kAccumulation, 4, true, client::Encoding::kInt8},
    {Method::kAccumulation, 4, true, client::Encoding::kBf16},
};

// What 6.3 says of time, where no link is in the way.
constexpr LinkSetting kLoopbackSettings[] = {
    {Method::kStandard, 1, false},
    {Method::kSparseOnly, 4, false},
    {Method::kSparseOnly, 4, true},
};

// One worker: a thread with a connection of its own.
class LinkWorker {
 public:
  static absl::StatusOr<std::unique_ptr<LinkWorker>> Open(
      const Options& options, const std::string& model_name,
      const client::Compression& compression, int64_t index,
      const Images& images, uint64_t seed) {
    ACCRUE_ASSIGN_OR_RETURN(const client::Client client,
                            client::Client::Connect(options.target));
    ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                            client.OpenModel(model_name));
    ACCRUE_ASSIGN_OR_RETURN(
        client::Worker worker,
        model.OpenWorker({.name = absl::StrCat("worker-", index),
                          .compression = compression}));
    std::unique_ptr<LinkWorker> opened(new LinkWorker(
        std::move(worker), images, options.threads, index, seed));
    ACCRUE_RETURN_IF_ERROR(opened->worker_.Pull(&opened->parameters_).status());
    return opened;
  }

  absl::Status Train(const LinkSetting& setting, int64_t micro_batches) {
    client::LocalAccumulation sum(network_.parameter_count());
    fashion_mnist::Batch batch;
    for (int64_t i = 0; i < micro_batches; ++i) {
      const absl::Time start = absl::Now();
      fashion_mnist::Gather(images_.train, share_.Batch(i), &batch);
      const double loss = network_.LossAndGradient(
          parameters_, batch.inputs, batch.labels, absl::MakeSpan(gradient_));
      if (i >= micro_batches - micro_batches / 4) losses_.Add(loss);
      if (setting.local) ACCRUE_RETURN_IF_ERROR(sum.Add(gradient_));
      compute_ += absl::Now() - start;
      if (!setting.local) {
        ACCRUE_RETURN_IF_ERROR(Judge(worker_.Push(gradient_)));
      } else if (sum.count() == setting.k) {
        ACCRUE_RETURN_IF_ERROR(Judge(sum.PushTo(worker_)));
      }
      if ((i + 1) % UpdateEvery(setting) != 0) continue;
      ACCRUE_RETURN_IF_ERROR(PullNext());
    }
    return worker_.Close();
  }

  static int64_t UpdateEvery(const LinkSetting& setting) {
    return PushesPerUpdate({.method = setting.method, .k = setting.k});
  }

  double loss() const { return losses_.mean(); }
  absl::Duration compute() const { return compute_; }

 private:
  LinkWorker(client::Worker worker, const Images& images, int64_t workers,
             int64_t index, uint64_t seed)
      : worker_(std::move(worker)),
        images_(images),
        network_(MakeNetwork(kHidden)),
        share_(images.train.count(), workers, index,
               fashion_mnist::BatchesPerEpoch(images.train.count(), workers,
                                              kBatchSize),
               seed),
        parameters_(static_cast<size_t>(network_.parameter_count())),
        gradient_(parameters_.size()) {}

  static absl::Status Judge(const absl::StatusOr<client::PushResult>& pushed) {
    if (!pushed.ok() || pushed->accepted) return pushed.status();
    return absl::InternalError(
        absl::StrCat("a push was refused: ", client::ReasonName(pushed->reason),
                     ": ", pushed->message));
  }

  absl::Status PullNext() {
    ACCRUE_ASSIGN_OR_RETURN(const client::PullResult pulled,
                            worker_.PullNewer(&parameters_, kWait));
    return pulled.unchanged ? absl::DeadlineExceededError(
                                  "no new version: another worker is missing")
                            : absl::OkStatus();
  }

  client::Worker worker_;
  const Images& images_;
  Network network_;
  fashion_mnist::Share share_;
  std::vector<float> parameters_;
  std::vector<float> gradient_;
  Moments losses_;
  absl::Duration compute_;
};

absl::StatusOr<InterfaceBytes> Counted(const Options& options) {
  if (options.interface.empty()) return InterfaceBytes{};
  return ReadInterfaceBytes(options.interface);
}

// All of them at once; the first failure.
absl::Status TrainTogether(
    const std::vector<std::unique_ptr<LinkWorker>>& workers,
    const LinkSetting& setting, int64_t micro_batches) {
  std::vector<absl::Status> ends(workers.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < workers.size(); ++i) {
    threads.emplace_back(
        [&, i] { ends[i] = workers[i]->Train(setting, micro_batches); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& end : ends) ACCRUE_RETURN_IF_ERROR(end);
  return absl::OkStatus();
}

absl::Status Measure(const client::Client& client, const Options& options,
                     const Images& images, const LinkSetting& setting,
                     uint64_t seed, Csv* table) {
  const int64_t micro_batches = options.quick ? 16 : 96;
  const Network network = MakeNetwork(kHidden);
  const std::string name = UniqueModelName("link");
  client::ModelSpec spec = MakeSpec({.method = setting.method,
                                     .k = setting.k,
                                     .learning_rate = 0.1,
                                     .workers = options.threads},
                                    name, TensorsOf(network));
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model, client.CreateModel(spec));
  ACCRUE_RETURN_IF_ERROR(
      model.InitializeValues(FirstParameters(network, seed)).status());
  std::vector<std::unique_ptr<LinkWorker>> workers;
  for (int64_t i = 0; i < options.threads; ++i) {
    ACCRUE_ASSIGN_OR_RETURN(
        workers.emplace_back(),
        LinkWorker::Open(options, name, {.encoding = setting.encoding}, i,
                         images, seed));
  }
  ACCRUE_ASSIGN_OR_RETURN(const auto before, model.Describe());
  // The clock starts before the first count and stops after the last: no byte
  // counted is of a time that is not.
  const absl::Time start = absl::Now();
  ACCRUE_ASSIGN_OR_RETURN(const InterfaceBytes before_it, Counted(options));
  ACCRUE_RETURN_IF_ERROR(TrainTogether(workers, setting, micro_batches));
  ACCRUE_ASSIGN_OR_RETURN(const InterfaceBytes after_it, Counted(options));
  const absl::Duration elapsed = absl::Now() - start;
  const InterfaceBytes carried = {.in = after_it.in - before_it.in,
                                  .out = after_it.out - before_it.out};
  ACCRUE_RETURN_IF_ERROR(CheckShaped(carried, elapsed, options.shape));
  ACCRUE_ASSIGN_OR_RETURN(const auto after, model.Describe());
  const int64_t pushes = options.threads * micro_batches /
                         (setting.local ? setting.k : int64_t{1});
  table->Row(seed, Name(setting.method), setting.k, setting.local ? 1 : 0,
             client::Name(setting.encoding), options.threads * micro_batches,
             pushes, after.groups[0].updates,
             after.received_bytes - before.received_bytes,
             after.sent_bytes - before.sent_bytes, carried.out, carried.in,
             absl::ToDoubleSeconds(elapsed),
             absl::ToDoubleSeconds(workers[0]->compute()), workers[0]->loss());
  return client.DeleteModel(name);
}

// Turn and turn about, each repetition with a seed of its own.
absl::Status MeasureAll(const Options& options,
                        absl::Span<const LinkSetting> settings,
                        const std::string& name) {
  ACCRUE_ASSIGN_OR_RETURN(const Images images, LoadImages(options.dataset));
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client,
                          client::Client::Connect(options.target));
  Csv table({"seed", "method", "k", "local", "encoding", "micro_batches",
             "pushes", "updates", "received_bytes", "sent_bytes",
             "link_out_bytes", "link_in_bytes", "seconds", "compute_seconds",
             "loss"});
  for (uint64_t seed = 1; seed <= kRepetitions; ++seed) {
    for (const LinkSetting& setting : settings) {
      ACCRUE_RETURN_IF_ERROR(
          Measure(client, options, images, setting, seed, &table));
    }
  }
  return table.WriteTo(absl::StrCat(options.out, "/", name, ".csv"));
}

}  // namespace

absl::Status LinkExperiment(const Options& options) {
  return MeasureAll(options, kLinkSettings, "link");
}

absl::Status LoopbackExperiment(const Options& options) {
  return MeasureAll(options, kLoopbackSettings, "loopback");
}

}  // namespace accrue::experiments
