#include "server/model/initializer.h"

#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace accrue {
namespace {

absl::Status Invalid(const std::string& message) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
                   message);
}

// SplitMix64's finalizer: a bijection that spreads every bit.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// In [0, 1), on a grid of 2^-53.
double Unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

// ln(x) for x in (0, 1], from +, -, * and / alone: libm's last bit differs
// between hosts. ln(m) = 2 atanh((m-1)/(m+1)) with m in [sqrt(1/2), sqrt(2)).
double Log(double x) {
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // exact
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double z = (m - 1) / (m + 1);
  const double z2 = z * z;
  double sum = 0;
  for (int n = 23; n >= 1; n -= 2) sum = sum * z2 + 1.0 / n;
  return 2 * z * sum + exponent * 0.69314718055994531;
}

// Marsaglia's polar method; each element has a stream of its own, so that
// rejections do not shift the others.
double StandardNormal(uint64_t stream) {
  for (uint64_t draw = 0;; draw += 2) {
    const double u = 2 * Unit(Mix(stream + draw)) - 1;
    const double v = 2 * Unit(Mix(stream + draw + 1)) - 1;
    const double s = u * u + v * v;
    if (s > 0 && s < 1) return u * std::sqrt(-2 * Log(s) / s);
  }
}

}  // namespace

absl::StatusOr<std::vector<Initializer>> SortInitializers(
    const std::vector<Initializer>& initializers, const ModelSpec& spec,
    const Layout& layout) {
  std::vector<std::optional<Initializer>> found(spec.tensors.size());
  for (const Initializer& initializer : initializers) {
    const int index = layout.FindTensor(initializer.tensor);
    if (index < 0) {
      return Invalid(absl::StrCat("initializer: model \"", spec.name,
                                  "\" has no tensor \"", initializer.tensor,
                                  "\""));
    }
    if (found[index].has_value()) {
      return Invalid(absl::StrCat("initializer: tensor \"", initializer.tensor,
                                  "\" is named twice"));
    }
    const float a = static_cast<float>(initializer.a);
    const float b = static_cast<float>(initializer.b);
    const bool finite = std::isfinite(a) && std::isfinite(b) &&
                        std::isfinite(initializer.b - initializer.a);
    const bool ordered =
        initializer.kind == Initializer::Kind::kConstant ||
        (initializer.kind == Initializer::Kind::kUniform
             ? initializer.a < initializer.b
             : initializer.b > 0 && std::isfinite(std::abs(a) + 40 * b));
    if (!finite || !ordered) {
      return Invalid(absl::StrCat(
          "initializer of tensor \"", initializer.tensor, "\": ", initializer.a,
          ", ", initializer.b,
          "; want finite numbers, low below high, standard deviation above 0"));
    }
    found[index] = initializer;
  }
  std::vector<Initializer> sorted;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i].has_value()) {
      return Invalid(absl::StrCat("initializer: none for tensor \"",
                                  spec.tensors[i].name, "\""));
    }
    sorted.push_back(*found[i]);
  }
  return sorted;
}

void FillTensor(const Initializer& initializer, int64_t seed, int index,
                int64_t begin, absl::Span<float> out) {
  const uint64_t tensor_stream =
      Mix(Mix(static_cast<uint64_t>(seed)) ^ static_cast<uint64_t>(index));
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t stream =
        Mix(tensor_stream ^ static_cast<uint64_t>(begin + i));
    double value = initializer.a;
    if (initializer.kind == Initializer::Kind::kUniform) {
      value += (initializer.b - initializer.a) * Unit(stream);
    } else if (initializer.kind == Initializer::Kind::kNormal) {
      value += initializer.b * StandardNormal(stream);
    }
    out[i] = static_cast<float>(value);
  }
}

}  // namespace accrue
