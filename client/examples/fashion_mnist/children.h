// Children: processes that do not outlive their parent.
//
// However the parent ends, they end: its destructor asks them to (SIGTERM), and
// after a grace kills them; if the parent is killed the kernel kills them.
//
// Threading. compatible; all calls from the main thread, since the kernel ties
//            them to the thread that started them

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_CHILDREN_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_CHILDREN_H_

#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace accrue::fashion_mnist {

class Children {
 public:
  Children() = default;
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;
  ~Children();

  // Starts this very program with these arguments. `name` is for messages.
  absl::Status Spawn(const std::string& name,
                     const std::vector<std::string>& arguments);

  // Collects those that have ended. INTERNAL: one ended badly, and how.
  absl::Status Check();

  // Waits until all have ended well. DEADLINE_EXCEEDED; INTERNAL as Check().
  absl::Status WaitAll(absl::Duration timeout);

 private:
  struct Child {
    pid_t pid;
    std::string name;
  };

  // True once none is left.
  bool Reap(absl::Time until);

  std::vector<Child> running_;
};

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_CHILDREN_H_
