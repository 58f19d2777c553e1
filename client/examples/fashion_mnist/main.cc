// fashion_mnist: trains a multilayer perceptron on Fashion-MNIST, the optimizer
// being an Accrue daemon. Worker processes, each with its own share of the
// data, push gradients; the daemon does all the rest.

#include <csignal>
#include <cstdint>
#include <iostream>
#include <signal.h>
#include <string>
#include <unistd.h>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/examples/fashion_mnist/coordinator.h"
#include "client/examples/fashion_mnist/plan.h"
#include "client/examples/fashion_mnist/worker.h"

namespace accrue::fashion_mnist {
namespace {

// The signal that asked for the end.
volatile std::sig_atomic_t interrupted = 0;

void Interrupt(int signal) { interrupted = signal; }

// What the program was asked to do.
struct Request {
  Plan plan;
  CoordinatorOptions options;
  std::string buffering = "embedded";
  std::string compression = "f32";
  std::string patience = "1m";
  int64_t worker = -1;  // of a worker process
};

void AddFlags(CLI::App& app, Request* request) {
  Plan& plan = request->plan;
  app.add_option("--target", plan.target, "the daemon")
      ->envname("ACCRUE_TARGET")
      ->capture_default_str();
  app.add_option("--model", plan.model, "the model's name on the daemon")
      ->capture_default_str();
  app.add_option("--dataset", plan.dataset, "folder of Fashion-MNIST")
      ->capture_default_str();
  app.add_option("--workers", plan.workers, "worker processes")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--epochs", plan.epochs)
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--batch_size", plan.batch_size, "of one gradient")
      ->check(CLI::Range(1, 60000))
      ->capture_default_str();
  app.add_option("--examples", plan.examples,
                 "train on the first so many examples only; 0: on all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--learning_rate", plan.learning_rate)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--seed", plan.seed, "of first values and of the shuffling")
      ->capture_default_str();
  app.add_option("--buffering", request->buffering,
                 "embedded: gradients accumulate in the moments; classic: in "
                 "a buffer of 4 bytes a parameter")
      ->check(CLI::IsMember({"embedded", "classic"}))
      ->capture_default_str();
  app.add_option("--micro_steps", plan.micro_steps,
                 "minibatches that a worker goes through for a version; k is "
                 "workers times this")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--local_accumulation", plan.local_accumulation,
               "a worker adds its minibatches up and pushes their mean, once");
  app.add_option("--compression", request->compression,
                 "of pushes: f32 (none), bf16, f16, int8 or topk")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "int8", "topk"}))
      ->capture_default_str();
  app.add_option("--top_fraction", plan.compression.top_fraction,
                 "of the elements that topk sends")
      ->check(CLI::Range(0.0, 0.5))
      ->capture_default_str();
  app.add_option("--error_feedback", plan.compression.error_feedback,
                 "what a push leaves out is added to the next")
      ->capture_default_str();
  app.add_flag("--replace", request->options.replace,
               "delete a model of this name that is there; else training goes "
               "on with it");
  app.add_option("--patience", request->patience,
                 "without a new version for this long, training has failed")
      ->capture_default_str();
  // For the processes that it starts itself.
  app.add_option("--worker", request->worker)->group("");
}

absl::Status RunAsCoordinator(Request& request) {
  struct sigaction action = {};
  action.sa_handler = Interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  if (!absl::ParseDuration(request.patience, &request.options.patience)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--patience: expected a duration such as 30s, got \"",
                     request.patience, "\""));
  }
  request.plan.buffering =
      *client::ParseName<client::Buffering>(request.buffering);
  Display display(std::cout, isatty(STDOUT_FILENO) == 1);
  const absl::StatusOr<Outcome> outcome =
      RunCoordinator(request.plan, request.options, &interrupted, display);
  if (!outcome.ok()) return outcome.status();
  std::cout << TimeLine(*outcome) << "\n" << OutcomeLine(*outcome) << std::endl;
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Trains a multilayer perceptron on Fashion-MNIST with worker processes "
      "and an Accrue daemon as the optimizer.",
      "fashion_mnist");
  Request request;
  AddFlags(app, &request);
  CLI11_PARSE(app, argc, argv);
  request.plan.compression.encoding =
      *client::ParseName<client::Encoding>(request.compression);
  const bool is_worker = request.worker >= 0;
  const absl::Status status = is_worker
                                  ? RunWorker(request.plan, request.worker)
                                  : RunAsCoordinator(request);
  if (status.ok()) return 0;
  std::cerr << (is_worker ? absl::StrCat("worker-", request.worker)
                          : std::string("fashion_mnist"))
            << ": " << status << std::endl;
  // As a shell reports a process that a signal ended.
  return interrupted != 0 ? 128 + interrupted : 1;
}

}  // namespace
}  // namespace accrue::fashion_mnist

int main(int argc, char** argv) {
  return accrue::fashion_mnist::Main(argc, argv);
}
