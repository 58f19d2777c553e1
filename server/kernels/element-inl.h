// The arithmetic of one element, written once for every backend.
//
// Included inside a backend's own namespace, after it has defined
//   ACCRUE_ELEMENT   how a function is declared here (inline, __device__, ...)
//   N                a number: N(float), + - * /, Sqrt(N); Sign(N), which is 1
//                    above 0, -1 below it and else 0; Clamp(x, high), which is
//                    0 unless x is above 0, and then high unless x is below
//                    it. A float, or a vector of floats that does the same in
//                    every lane.
// and has made rule/cycle.h's structs visible as rule::.
//
// Symbols.  m, v: moments; a: accumulation buffer; g: gradient; theta:
//           parameter; one element of each. D2: mass of v [rule/cycle.h].
// Numerics. Every operator rounds once, to nearest, in float: no contraction,
//           no reassociation. bit_exact_cpu_gpu.
// No include guard: a source that is compiled for several SIMD targets includes
// this once for each.

// m <- keep*m + gain*g.
template <class N>
ACCRUE_ELEMENT N FoldMomentum(float keep, float gain, N g, N m) {
  return N(keep) * m + N(gain) * g;
}

// v <- keep*v + gain*g^2.
template <class N>
ACCRUE_ELEMENT N FoldVariance(float keep, float gain, N g, N v) {
  return N(keep) * v + N(gain) * (g * g);
}

// Both with keep = 1, whose product is exact: the same bits for less.
template <class N>
ACCRUE_ELEMENT N AddMomentum(float gain, N g, N m) {
  return m + N(gain) * g;
}
template <class N>
ACCRUE_ELEMENT N AddVariance(float gain, N g, N v) {
  return v + N(gain) * (g * g);
}

// a <- first ? weight*g : a + weight*g.
template <class N>
ACCRUE_ELEMENT N Accumulate(const rule::PushScalars& push, N g, N a) {
  const N term = N(push.weight) * g;
  return push.first ? term : a + term;
}

// Coupled L2: x + l2*theta. Without L2 theta has no say, not even by a NaN.
template <class N>
ACCRUE_ELEMENT N AddL2(float l2, N theta, N x) {
  return l2 == 0 ? x : x + N(l2) * theta;
}

// Nesterov's first half: theta + ahead*m.
template <class N>
ACCRUE_ELEMENT N StepAhead(float ahead, N theta, N m) {
  return theta + N(ahead) * m;
}

// sgd: from - lr*m, where `from` is theta or Nesterov's halfway point.
template <class N>
ACCRUE_ELEMENT N StepSgd(const rule::UpdateScalars& update, N from, N m) {
  return from - N(update.lr) * m;
}

// signum, lion: theta*decay - lr*sign(c).
template <class N>
ACCRUE_ELEMENT N StepSign(const rule::UpdateScalars& update, N theta, N c) {
  return theta * N(update.decay) - N(update.lr) * Sign(c);
}

// adam, adamw, lamb: v/D2; corrected, what that is of mean gradients.
template <class N>
ACCRUE_ELEMENT N VarianceHat(const rule::UpdateScalars& update, N m, N v) {
  const N v_hat = v * N(update.inv_mass2);
  const rule::Correction& correction = update.correction;
  if (correction.noise_share == 1) return v_hat;
  const N mean = m * N(correction.inv_weight);
  // Cut off first, so that no square that overflows can become a NaN.
  const N square = Clamp(mean * mean, v_hat);
  const N signal =
      Clamp(square + N(correction.noise_gain) * (square - v_hat), v_hat);
  return signal + (v_hat - signal) * N(correction.noise_share);
}

// adam, adamw, lamb: m / (sqrt(v_hat) + eps).
template <class N>
ACCRUE_ELEMENT N Normalize(const rule::UpdateScalars& update,
                           bool epsilon_inside, N m, N v_hat) {
  const N epsilon = N(update.epsilon);
  const N denominator =
      epsilon_inside ? Sqrt(v_hat + epsilon) : Sqrt(v_hat) + epsilon;
  return m / denominator;
}

// adam, adamw: theta*decay - lr*(m / (sqrt(v_hat) + eps)).
template <class N>
ACCRUE_ELEMENT N StepAdam(const rule::UpdateScalars& update,
                          bool epsilon_inside, N theta, N m, N v_hat) {
  return theta * N(update.decay) -
         N(update.lr) * Normalize(update, epsilon_inside, m, v_hat);
}

// lamb: r = (m/D1) / (sqrt(v_hat) + eps) + weight_decay*theta.
template <class N>
ACCRUE_ELEMENT N DirectLamb(const rule::UpdateScalars& update,
                            bool epsilon_inside, N theta, N m, N v_hat) {
  const N m_hat =
      N(update.inv_mass1) * Normalize(update, epsilon_inside, m, v_hat);
  return AddL2(update.weight_decay, theta, m_hat);
}

// lamb: theta - rate*r, of the tensor's rate.
template <class N>
ACCRUE_ELEMENT N StepLamb(float rate, N theta, N r) {
  return theta - N(rate) * r;
}
