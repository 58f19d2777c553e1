// Bounded: a number in double precision, and how far from it a computation in
// float can have ended up that did the same operations in the same order.
//
// Equation.  with exact value x and bound e of an operand, |float - x| <= e.
//            An operation's result r = f(x, y) gets
//              e_r = p + 2^-24*(|r| + p) + 2^-150,
//            p: the most that f changes when its operands move within their
//            bounds; the rest: one rounding to nearest of a result as large
//            as |r| + p, or of a denormal one (running forward error bound).
//              x + y   p = e_x + e_y
//              x * y   p = |x|*e_y + |y|*e_x + e_x*e_y
//              x / y   p = (|x|*e_y + |y|*e_x)/(|y|*(|y| - e_y)), e_y < |y|
//              sqrt x  p = the farther of sqrt(x + e), sqrt(max(x - e, 0))
//            Clamp(x, high) moves by no more than either of them does.
//            Sign(x) rounds nothing: it is exact, or unknown if |x| <= e_x.
// Numerics.  the values themselves carry rounding errors of double, 2^-53
//            relative an operation: 2^-24 is widened by 2^-34 for them.
// Threading. compatible.
#ifndef ACCRUE_TESTS_ORACLE_BOUNDED_H_
#define ACCRUE_TESTS_ORACLE_BOUNDED_H_

#include <algorithm>
#include <cmath>
#include <limits>

namespace accrue::oracle {

struct Bounded {
  double value = 0;
  double error = 0;

  // Exactly this number, which is a float.
  static Bounded Exact(float x) { return {static_cast<double>(x), 0.0}; }
  // The float nearest to a double that is known to within `moved`.
  static Bounded Narrowed(double x, double moved) {
    constexpr double kUnit = 0x1p-24 * (1 + 0x1p-10);
    return {x, moved + kUnit * (std::abs(x) + moved) + 0x1p-150};
  }

  bool Contains(float x) const {
    return std::abs(static_cast<double>(x) - value) <= error;
  }
};

inline Bounded operator+(const Bounded& x, const Bounded& y) {
  return Bounded::Narrowed(x.value + y.value, x.error + y.error);
}

inline Bounded operator-(const Bounded& x, const Bounded& y) {
  return Bounded::Narrowed(x.value - y.value, x.error + y.error);
}

inline Bounded operator*(const Bounded& x, const Bounded& y) {
  const double moved = std::abs(x.value) * y.error +
                       std::abs(y.value) * x.error + x.error * y.error;
  return Bounded::Narrowed(x.value * y.value, moved);
}

inline Bounded operator/(const Bounded& x, const Bounded& y) {
  const double divisor = std::abs(y.value);
  if (divisor <= y.error) {  // it might be 0
    return {x.value / y.value, std::numeric_limits<double>::infinity()};
  }
  const double moved = (std::abs(x.value) * y.error + divisor * x.error) /
                       (divisor * (divisor - y.error));
  return Bounded::Narrowed(x.value / y.value, moved);
}

// Of a number that is not negative: an error bound may reach below 0, what it
// bounds never does.
inline Bounded Sqrt(const Bounded& x) {
  const double root = std::sqrt(x.value);
  const double low = std::sqrt(std::max(x.value - x.error, 0.0));
  const double high = std::sqrt(x.value + x.error);
  return Bounded::Narrowed(root, std::max(root - low, high - root));
}

// x between 0 and `high`, which is not negative.
inline Bounded Clamp(const Bounded& x, const Bounded& high) {
  const double value =
      x.value > 0 ? std::min(x.value, std::max(high.value, 0.0)) : 0.0;
  return {value, std::max(x.error, high.error)};
}

// 1, -1 or 0. Where x may stand on both sides of 0 the bound reaches them all.
inline Bounded Sign(const Bounded& x) {
  const double sign = x.value > 0 ? 1 : (x.value < 0 ? -1 : 0);
  const bool known = std::abs(x.value) > x.error || x.error == 0;
  return {sign, known ? 0 : 1 + std::abs(sign)};
}

}  // namespace accrue::oracle

#endif  // ACCRUE_TESTS_ORACLE_BOUNDED_H_
