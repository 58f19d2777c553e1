// EmptyCall: the least that a call to the daemon can cost, a health check, over
// a connection of its own.
#ifndef ACCRUE_TESTS_BENCH_EMPTY_CALL_H_
#define ACCRUE_TESTS_BENCH_EMPTY_CALL_H_

#include <memory>
#include <string>

namespace accrue::bench {

class EmptyCall {
 public:
  explicit EmptyCall(const std::string& target);
  ~EmptyCall();

  // One call, there and back. Ends the program if it fails.
  void Run();

 private:
  struct Stub;
  std::unique_ptr<Stub> stub_;
};

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_EMPTY_CALL_H_
