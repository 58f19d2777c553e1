// Scrape: what a daemon's /metrics shows.
//
// Errors.    reported as failures of the test that runs; then it is empty
#ifndef ACCRUE_TESTS_E2E_SCRAPE_H_
#define ACCRUE_TESTS_E2E_SCRAPE_H_

#include <map>
#include <string>

#include "tests/e2e/daemon.h"

namespace accrue {

struct Scrape {
  std::map<std::string, std::string> types;  // "accrue_version": "gauge"
  std::map<std::string, double> samples;     // "accrue_version{model=\"m\"}"

  // Of a metric without labels, or a model's: it must be there.
  double At(const std::string& name, const std::string& model = "") const;
};

Scrape ScrapeOf(const Daemon& daemon);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_SCRAPE_H_
