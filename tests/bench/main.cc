// accrue_bench: measures Accrue against the machine it runs on.
//
//   accrue_bench [--json] [--filter=REGEX] [--min_time=SECONDS] [--threads=N]
//   accrue_bench --list
//
// With --json one object a line: name, value, unit, and baseline and ratio
// where there is something to compare with; more is better in every ratio. Of a
// case for which the machine lacks something: name, and in `skipped` what.
#include <cstdio>
#include <exception>
#include <iostream>
#include <regex>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tests/bench/bench_case.h"
#include "tests/bench/context_peer.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/raw_sockets.h"
#include "tests/bench/worker_peer.h"

namespace accrue::bench {
namespace {

void PrintJson(const BenchCase& bench_case, const BenchResult& result) {
  if (!result.skipped.empty()) {
    std::cout << nlohmann::ordered_json{{"name", bench_case.name},
                                        {"skipped", result.skipped}}
                     .dump()
              << std::endl;
    return;
  }
  nlohmann::ordered_json line = {{"name", bench_case.name},
                                 {"value", result.value},
                                 {"unit", result.unit}};
  if (result.baseline) {
    line["baseline"] = *result.baseline;
    line["ratio"] = *result.ratio();
  }
  std::cout << line.dump() << std::endl;
}

void PrintRow(const BenchCase& bench_case, const BenchResult& result) {
  std::printf("%-25s ", bench_case.name.c_str());
  if (!result.skipped.empty()) {
    std::printf("skipped: %s\n", result.skipped.c_str());
    return;
  }
  std::printf("%10.3f %-16s", result.value, result.unit.c_str());
  if (result.baseline) {
    std::printf(" baseline %10.3f  ratio %6.3f", *result.baseline,
                *result.ratio());
  }
  std::printf("\n");
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  BenchOptions options;
  bool json = false;
  bool list = false;
  std::string filter;
  CLI::App app("Measures Accrue against the machine it runs on");
  app.add_flag("--json", json, "one JSON object a line");
  app.add_flag("--list", list, "names the cases and what each measures");
  app.add_option("--filter", filter, "regular expression found in the name");
  app.add_option("--min_time", options.min_seconds, "seconds for each case")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", options.threads, "compute threads; 0: all")
      ->check(CLI::NonNegativeNumber);
  CLI11_PARSE(app, argc, argv);

  std::regex wanted;
  try {
    wanted = std::regex(filter);
  } catch (const std::regex_error& error) {
    std::cerr << "accrue_bench: --filter=" << filter << ": " << error.what()
              << "\n";
    return 2;
  }
  int ran = 0;
  for (const BenchCase& bench_case : AllCases()) {
    if (!std::regex_search(bench_case.name, wanted)) continue;
    ++ran;
    if (list) {
      std::printf("%-25s %s\n", bench_case.name.c_str(),
                  bench_case.what.c_str());
      continue;
    }
    const BenchResult result = bench_case.run(options);
    json ? PrintJson(bench_case, result) : PrintRow(bench_case, result);
  }
  if (ran == 0) {
    std::cerr << "accrue_bench: no case matches --filter=" << filter << "\n";
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace accrue::bench

int main(int argc, char** argv) {
  const auto peer = accrue::bench::PeerArguments(argc, argv);
  if (peer.empty()) return accrue::bench::Main(argc, argv);
  if (peer[0] == accrue::bench::kRawPeer) {
    return accrue::bench::RunRawPeer(peer);
  }
  if (peer[0] == accrue::bench::kContextPeer) {
    return accrue::bench::RunContextPeer();
  }
  return accrue::bench::RunWorker(peer);
}
