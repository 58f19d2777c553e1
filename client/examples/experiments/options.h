// Options: what every experiment is told.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_OPTIONS_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_OPTIONS_H_

#include <cstdint>
#include <string>

#include "client/examples/experiments/interface_bytes.h"
#include "client/examples/fashion_mnist/dataset.h"

namespace accrue::experiments {

struct Options {
  std::string target = "127.0.0.1:7700";
  // The folder for the tables; it is there.
  std::string out = ".";
  // Less of everything: fewer seeds, pushes and settings.
  bool quick = false;
  std::string dataset = fashion_mnist::kDefaultFolder;
  // Of the images: so many seeds from the first on; 0: 6, or 3 if quick. Parts
  // of a long run are put together by appending their tables.
  int64_t first_seed = 1;
  int64_t seeds = 0;
  // Runs at once; workers of the link.
  int64_t threads = 2;
  // What the link's bytes are counted at; empty: they are not.
  std::string interface = {};
  // What it is shaped to; more than that coming through is an error.
  Shape shape = {};
};

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_OPTIONS_H_
