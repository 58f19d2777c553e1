// Display: how training goes, as it goes.
//
// On a terminal one line is redrawn in place; elsewhere a line is printed for
// every epoch.

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_DISPLAY_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_DISPLAY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

namespace accrue::fashion_mnist {

struct Progress {
  int64_t epoch = 0;  // epochs done
  int64_t epochs = 0;
  int64_t version = 0;
  std::optional<double> loss = {};  // of the newest version's pushes
  std::optional<double> train_accuracy =
      {};  // after the last epoch, of a sample
  std::optional<double> test_accuracy = {};  // the same, of the whole test set
  double pushes_per_second = 0;
};

// "epoch 3/12  loss 0.3121  train 0.892  test 0.871  version 702  1204
// pushes/s"
std::string ProgressLine(const Progress& progress);

class Display {
 public:
  Display(std::ostream& out, bool is_terminal)
      : out_(out), is_terminal_(is_terminal) {}

  // Something moved.
  void Update(const Progress& progress);
  // An epoch is over: its line stays.
  void EpochDone(const Progress& progress);

 private:
  void Draw(const std::string& line);

  std::ostream& out_;
  const bool is_terminal_;
  size_t drawn_width_ = 0;
};

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_DISPLAY_H_
