// Mlp: a multilayer perceptron with ReLU between its layers and softmax cross
// entropy behind them, over one flat parameter vector.
//
// Equation.  a_0 = x, a_l = relu(W_l a_(l-1) + b_l), the last without relu;
//            loss = mean over examples of -log softmax(a_L)[label]
// Shapes.    parameters, gradient: [parameter_count()], for each layer W_l
//            [out, in] row-major, then b_l [out]; inputs: [in, examples], a
//            column an example
// Memory.    keeps the activations of the last call, to reuse their memory
// Invariant. the gradient agrees with finite differences
// Threading. compatible

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_MLP_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_MLP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "Eigen/Core"
#include "absl/types/span.h"

namespace accrue::fashion_mnist {

// Scalar is float or double.
template <typename Scalar>
class Mlp {
 public:
  using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

  // What lies in the parameter vector, in its order.
  struct Tensor {
    std::string name;  // "layer1.weight", "layer1.bias", ...
    std::vector<int64_t> shape;
  };

  // Widths of the input, the hidden layers and the output: at least two.
  explicit Mlp(std::vector<int64_t> widths);

  const std::vector<Tensor>& tensors() const { return tensors_; }
  int64_t parameter_count() const { return parameter_count_; }

  // The mean loss and its gradient.
  double LossAndGradient(absl::Span<const Scalar> parameters,
                         const Matrix& inputs, absl::Span<const uint8_t> labels,
                         absl::Span<Scalar> gradient);

  // How many examples the largest output is right for.
  int64_t CountCorrect(absl::Span<const Scalar> parameters,
                       const Matrix& inputs, absl::Span<const uint8_t> labels);

 private:
  struct Layer {
    int64_t inputs;
    int64_t outputs;
    int64_t weight_start;  // in the parameter vector
    int64_t bias_start;
  };

  const Matrix& Activation(size_t layer, const Matrix& inputs) const {
    return layer == 0 ? inputs : activations_[layer - 1];
  }
  // Leaves the outputs, before softmax, in activations_.back().
  void Forward(absl::Span<const Scalar> parameters, const Matrix& inputs);
  // Makes of the outputs their gradient; returns the loss.
  double SoftmaxLoss(absl::Span<const uint8_t> labels);

  std::vector<Layer> layers_;
  std::vector<Tensor> tensors_;
  int64_t parameter_count_ = 0;
  std::vector<Matrix> activations_;  // of each layer
  Matrix upstream_;                  // gradient of a layer's outputs
  Matrix scratch_;
};

extern template class Mlp<float>;
extern template class Mlp<double>;

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_MLP_H_
