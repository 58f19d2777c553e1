// The fake daemon as a process of its own, which a test can stop. Prints where
// it listens and runs until its standard input ends.

#include <cstdio>

#include "tests/client/fake_daemon.h"

int main() {
  const accrue::client::FakeDaemon daemon;
  std::printf("%s\n", daemon.target().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
