// Program: one of Accrue's programs as a child process, its output captured.
//
// The child leads a process group of its own, so that a test can see whether
// anything that it started is left, and dies with the test's process.
//
// Errors.    reported as failures of the test that runs
// Threading. compatible

#ifndef ACCRUE_TESTS_E2E_CTL_PROGRAM_H_
#define ACCRUE_TESTS_E2E_CTL_PROGRAM_H_

#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/time/time.h"

namespace accrue {

class Program {
 public:
  static constexpr absl::Duration kPatience = absl::Seconds(300);

  // `arguments[0]` is the program: a path, or the name of one in
  // $ACCRUE_BIN_DIR. Null if it does not start.
  static std::unique_ptr<Program> Start(
      const std::vector<std::string>& arguments, const std::string& input = "");
  // Kills its group.
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Waits until `text` has appeared on its standard output.
  bool AwaitOutput(const std::string& text,
                   absl::Duration patience = kPatience);
  // To its group, as a terminal's Ctrl-C does.
  void SignalGroup(int signal) const;
  // To it alone.
  void Signal(int signal) const;
  // Waits for its end, and for everybody who holds its standard output: the
  // exit code, or minus the signal that killed it. None if time is over.
  std::optional<int> AwaitExit();
  // Whether no process of its group is left.
  bool GroupIsGone() const;
  // Waits until nothing runs that it has started, however far down.
  bool AwaitAllGone() const;

  // So far.
  const std::string& out() const { return out_; }
  std::string err() const;

 private:
  Program(int out_fd, int err_fd, int alive_fd)
      : out_fd_(out_fd), err_fd_(err_fd), alive_fd_(alive_fd) {}

  // Reads more output, waiting for it; false at its end or the deadline.
  bool Read(absl::Time deadline);

  pid_t pid_ = -1;
  const int out_fd_;
  const int err_fd_;
  const int alive_fd_;  // a pipe that it and all its children keep open
  std::string out_;
  bool out_ended_ = false;
  std::optional<int> exit_;
};

struct Finished {
  int exit_code;
  std::string out;
  std::string err;
};

// Runs it to its end.
Finished RunProgram(const std::vector<std::string>& arguments,
                    const std::string& input = "");

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_CTL_PROGRAM_H_
