#include "client/examples/fashion_mnist/mlp.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace accrue::fashion_mnist {
namespace {

// Views of a flat vector.
template <typename Scalar>
using WeightMap = Eigen::Map<
    Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
template <typename Scalar>
using ConstWeightMap =
    Eigen::Map<const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic,
                                   Eigen::RowMajor>>;
template <typename Scalar>
using BiasMap = Eigen::Map<Eigen::Vector<Scalar, Eigen::Dynamic>>;
template <typename Scalar>
using ConstBiasMap = Eigen::Map<const Eigen::Vector<Scalar, Eigen::Dynamic>>;

}  // namespace

template <typename Scalar>
Mlp<Scalar>::Mlp(std::vector<int64_t> widths) {
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    const Layer layer = {
        .inputs = widths[i],
        .outputs = widths[i + 1],
        .weight_start = parameter_count_,
        .bias_start = parameter_count_ + widths[i] * widths[i + 1]};
    layers_.push_back(layer);
    parameter_count_ = layer.bias_start + layer.outputs;
    const std::string name = absl::StrCat("layer", i + 1);
    tensors_.push_back(
        {absl::StrCat(name, ".weight"), {layer.outputs, layer.inputs}});
    tensors_.push_back({absl::StrCat(name, ".bias"), {layer.outputs}});
  }
  activations_.resize(layers_.size());
}

template <typename Scalar>
void Mlp<Scalar>::Forward(absl::Span<const Scalar> parameters,
                          const Matrix& inputs) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const ConstWeightMap<Scalar> weight(parameters.data() + layer.weight_start,
                                        layer.outputs, layer.inputs);
    const ConstBiasMap<Scalar> bias(parameters.data() + layer.bias_start,
                                    layer.outputs);
    Matrix& output = activations_[i];
    output.noalias() = weight * Activation(i, inputs);
    output.colwise() += bias;
    if (i + 1 < layers_.size()) output = output.cwiseMax(Scalar{0});
  }
}

template <typename Scalar>
double Mlp<Scalar>::SoftmaxLoss(absl::Span<const uint8_t> labels) {
  Matrix& outputs = activations_.back();
  const auto count = static_cast<double>(outputs.cols());
  double loss = 0;
  for (Eigen::Index i = 0; i < outputs.cols(); ++i) {
    auto output = outputs.col(i);
    // Softmax does not change if all outputs do alike; the exponentials then
    // cannot overflow.
    output.array() -= output.maxCoeff();
    const Scalar of_label = output[labels[i]];
    output = output.array().exp();
    const Scalar sum = output.sum();
    loss += std::log(static_cast<double>(sum)) - static_cast<double>(of_label);
    output /= sum;
    output[labels[i]] -= 1;
  }
  outputs /= static_cast<Scalar>(count);
  return loss / count;
}

template <typename Scalar>
double Mlp<Scalar>::LossAndGradient(absl::Span<const Scalar> parameters,
                                    const Matrix& inputs,
                                    absl::Span<const uint8_t> labels,
                                    absl::Span<Scalar> gradient) {
  Forward(parameters, inputs);
  const double loss = SoftmaxLoss(labels);
  upstream_.swap(activations_.back());
  for (size_t i = layers_.size(); i-- > 0;) {
    const Layer& layer = layers_[i];
    const Matrix& input = Activation(i, inputs);
    WeightMap<Scalar>(gradient.data() + layer.weight_start, layer.outputs,
                      layer.inputs)
        .noalias() = upstream_ * input.transpose();
    BiasMap<Scalar>(gradient.data() + layer.bias_start, layer.outputs) =
        upstream_.rowwise().sum();
    if (i == 0) break;
    const ConstWeightMap<Scalar> weight(parameters.data() + layer.weight_start,
                                        layer.outputs, layer.inputs);
    scratch_.noalias() = weight.transpose() * upstream_;
    // Where relu let nothing through, nothing comes back.
    upstream_ = (input.array() > Scalar{0}).select(scratch_, Scalar{0});
  }
  return loss;
}

template <typename Scalar>
int64_t Mlp<Scalar>::CountCorrect(absl::Span<const Scalar> parameters,
                                  const Matrix& inputs,
                                  absl::Span<const uint8_t> labels) {
  Forward(parameters, inputs);
  const Matrix& outputs = activations_.back();
  int64_t correct = 0;
  for (Eigen::Index i = 0; i < outputs.cols(); ++i) {
    Eigen::Index best = 0;
    outputs.col(i).maxCoeff(&best);
    if (best == labels[i]) ++correct;
  }
  return correct;
}

template class Mlp<float>;
template class Mlp<double>;

}  // namespace accrue::fashion_mnist
