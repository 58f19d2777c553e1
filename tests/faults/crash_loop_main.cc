// crash_loop: kills the daemon again and again under four workers' pushes, and
// tells whether each push that it acknowledged was kept, once, with every bit
// right.
//
//   crash_loop --kills=500 --durability=JOURNAL --seed=1
//   crash_loop --kills=50 --durability=JOURNAL --seed=1 --size=12000
//
// --size: how large the pushes are; from 1 MiB on they come on data connections
// and are written past the page cache.
//
// Ends with a line
//   kills=N acked=A lost=L unreported=U twice=T mismatched_bytes=B
// and with 0 only if the promise was kept: under JOURNAL nothing is lost, under
// MEMORY nothing that no restart has spoken of; and only if the kills came to
// every fail point [crash_loop.h].
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>

#include <CLI/CLI.hpp>

#include "tests/faults/crash_loop.h"

namespace accrue::faults {
namespace {

using client::Durability;

int Report(const CrashLoopResult& result, Durability durability) {
  std::cout << "fail points:";
  for (const auto& [point, count] : result.fail_points) {
    std::cout << " " << Name(point) << "=" << count;
  }
  std::cout << " power_cut=" << result.power_cuts
            << "\nacknowledged before each kill: at least " << result.least_acks
            << "\nbeside these: quiet_kills=" << result.quiet_kills
            << " restarts_killed=" << result.restarts_killed
            << "\nends in order: " << result.orderly_ends
            << ", checkpoints asked for: " << result.checkpoints;
  const Verdict& verdict = result.verdict;
  std::cout << "\nmoments of " << verdict.moments_compared
            << " states were compared\nduplicates=" << verdict.duplicates
            << " unknown=" << verdict.unknown;
  for (const FailPoint point : result.missed()) {
    std::cout << "\ntoo few kills at " << Name(point);
  }
  for (const std::string& complaint : verdict.complaints) {
    std::cout << "\n" << complaint;
  }
  std::cout << "\nkills=" << result.kills << " acked=" << verdict.acked
            << " lost=" << verdict.lost << " unreported=" << verdict.unreported
            << " twice=" << verdict.twice
            << " mismatched_bytes=" << verdict.mismatched_bytes << std::endl;
  return result.held(durability) && result.missed().empty() ? EXIT_SUCCESS
                                                            : EXIT_FAILURE;
}

int Main(int argc, char** argv) {
  CrashLoopOptions options;
  // The daemon beside this program, unless another is named.
  std::string bin =
      std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::string details;
  CLI::App app("Kills accrued_faulty and asks what became of its pushes");
  app.add_option("--kills", options.kills,
                 "how many while workers push; those with no push on its way, "
                 "and in the middle of a restart, come beside them")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--durability", options.durability,
                 "of the models: JOURNAL (the default) or MEMORY")
      ->transform(CLI::Transformer(std::map<std::string, Durability>{
          {"JOURNAL", Durability::kJournal}, {"MEMORY", Durability::kMemory}}));
  app.add_option("--seed", options.seed,
                 "what the models are, and when kills come, depends on it")
      ->capture_default_str();
  app.add_option("--workers", options.workers, "that push at the same time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--size", options.size,
                 "of the replayed model, in 45 elements; at 12000 its pushes "
                 "are larger than 1 MiB")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--bin", bin,
                 "where accrued_faulty is; else beside this program");
  app.add_option("--data_dir", options.data_dir,
                 "an empty directory for its models; else one for the while");
  app.add_option("--details", details,
                 "a file to write the workers' history and the daemon's log "
                 "to");
  CLI11_PARSE(app, argc, argv);
  setenv("ACCRUE_BIN_DIR", bin.c_str(), /*overwrite=*/1);

  CrashLoop loop(options);
  const absl::StatusOr<CrashLoopResult> result = loop.Run();
  std::cout << "seed " << options.seed << ": " << loop.description() << "\n";
  if (!details.empty()) {
    std::ofstream(details) << loop.History() << loop.Log();
  }
  if (!result.ok()) {
    std::cout << result.status().ToString() << std::endl;
    return EXIT_FAILURE;
  }
  return Report(*result, options.durability);
}

}  // namespace
}  // namespace accrue::faults

int main(int argc, char** argv) { return accrue::faults::Main(argc, argv); }
