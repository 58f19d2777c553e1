// accruectl: everything the API can do, from the command line.

#include <iostream>
#include <unistd.h>

#include "client/ctl/command.h"

int main(int argc, char** argv) {
  return accrue::ctl::RunCommandLine(
      argc, argv,
      {.in = std::cin,
       .out = std::cout,
       .err = std::cerr,
       .in_is_terminal = isatty(STDIN_FILENO) == 1,
       .err_is_terminal = isatty(STDERR_FILENO) == 1});
}
