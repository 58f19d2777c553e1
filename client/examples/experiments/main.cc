// experiments: the experiments of the article on gradient accumulation hidden
// in momentum, with an Accrue daemon as the optimizer. Each writes tables;
// deploy/experiments.sh runs them all and makes of the tables plots, verdicts
// and a page.

#include <iostream>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/examples/experiments/effective_batch.h"
#include "client/examples/experiments/images.h"
#include "client/examples/experiments/link.h"
#include "client/examples/experiments/quadratic.h"
#include "client/examples/experiments/rule.h"

namespace accrue::experiments {
namespace {

struct Experiment {
  const char* name;
  const char* about;
  absl::Status (*run)(const Options&);
};

constexpr Experiment kExperiments[] = {
    {"rule", "the decays, rates and variances of sections 3 to 5",
     RuleExperiment},
    {"quadratic", "6.1: the quadratic diag(10, 1), all methods",
     QuadraticExperiment},
    {"batch", "5.3: k pushes of B images and one of k*B",
     EffectiveBatchExperiment},
    {"images", "5.1 and 6.2: classification, several seeds", ImagesExperiment},
    {"link", "6.3 and 8.3: bytes and time over a link", LinkExperiment},
    {"loopback", "the time of 6.3 without a link", LoopbackExperiment},
};

int Main(int argc, char** argv) {
  CLI::App app("The article's experiments, through an Accrue daemon.",
               "experiments");
  Options options;
  app.add_option("--target", options.target, "the daemon")
      ->envname("ACCRUE_TARGET")
      ->capture_default_str();
  app.add_option("--out", options.out, "folder for the tables")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  app.add_option("--dataset", options.dataset, "folder of Fashion-MNIST")
      ->capture_default_str();
  app.add_option("--threads", options.threads,
                 "runs at once; of the link: workers")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--first_seed", options.first_seed, "of the images")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--seeds", options.seeds,
                 "of the images; 0: 6, or 3 with --quick")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--interface", options.interface,
                 "the link's network interface, to count its bytes");
  app.add_option("--interface_rate", options.shape.bytes_per_second,
                 "bytes a second that it is shaped to: more is an error; 0: "
                 "it is not shaped")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  app.add_option("--interface_burst", options.shape.burst_bytes,
                 "bytes that it may carry at once")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  app.add_flag("--quick", options.quick, "fewer seeds, pushes and settings");
  app.require_subcommand(1);
  app.fallthrough();
  absl::Status status;
  for (const Experiment& experiment : kExperiments) {
    app.add_subcommand(experiment.name, experiment.about)
        ->callback([&status, &options, &experiment] {
          status = experiment.run(options);
        });
  }
  CLI11_PARSE(app, argc, argv);
  if (status.ok()) return 0;
  std::cerr << "experiments: " << status << std::endl;
  return 1;
}

}  // namespace
}  // namespace accrue::experiments

int main(int argc, char** argv) {
  return accrue::experiments::Main(argc, argv);
}
